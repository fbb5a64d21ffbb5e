"""How far a network's output is from its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_range
from hsi_diffusion.parts import FOREIGN, refuse_foreign


def lae(output: Tensor, target: Tensor, scale: float = 1.0) -> Tensor:
    """Logarithmic absolute error: mean of log(1 + |output - target| / scale) over all elements.

    The loss that the abstract of DiffCRN (Zhu & Xu, arXiv 2502.19699) names; the form, with its
    scale, is our reading. The gradient by an element with the difference d is sign(d) /
    (scale + |d|), divided by the number of elements: the larger an error is against the scale, the
    less it pulls, so that outliers (a mixed pixel, a defect line) don't rule. With a scale far
    above all errors it is L1 / scale; with a small one it counts relative errors, and the pull of
    nearly perfect elements grows to 1 / scale.

    It computes in float32 at least.

    Args:
        output: Any shape.
        target: Shape of ``output``.
        scale: The error from which on the loss grows logarithmically, above 0, in units of the
            target (1 is one standard deviation of the noise, and of standardised or MNF bands).

    Returns:
        Scalar.

    Raises:
        ConfigurationError: ``scale`` is not above 0, or the shapes differ.

    Example:
        >>> round(float(lae(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 5.0]))), 4)  # log(4) / 2
        0.6931
    """
    check_range("above 0 and finite", scale=scale)
    _check_shapes(output, target)
    difference = at_least_float32(output) - at_least_float32(target)
    # log1p keeps the digits of small errors, which 1 + x would lose
    return torch.log1p(difference.abs() / scale).mean()


Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From output and target to a scalar."""

LOSSES: dict[str, Loss] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "lae": lae,
}
"""The losses by name, as a configuration names them.

``"l1"`` is the mean absolute error of SpectralDiff (Chen et al. 2023), ``"l2"`` the mean squared
error of DDPM (Ho et al. 2020, eq. 14), ``"lae"`` the logarithmic absolute error of DiffCRN.
"""


class DenoisingLoss(nn.Module):
    """A weighted sum of losses between output and target.

    It computes in float32 at least, also under autocast.

    Args:
        weights: Weight of each loss by its name in ``LOSSES``; all at least 0, one above 0. A loss
            with weight 0 is left out. A loss of your own, a callable ``(output, target) ->
            scalar``, stands under a name of its own in the place of a weight, and has weight 1.
        lae_scale: The scale of :func:`lae`.

    Raises:
        ConfigurationError: An unknown name, a negative weight, an impossible scale, or nothing to
            add up.

    Attributes:
        weights: The weights above 0.
        own: Losses of your own that are modules.
        lae_scale: As given.
        names: Keys of the result: "loss", then every name in ``weights``.

    Example:
        >>> loss = DenoisingLoss({"l1": 1.0, "l2": 0.5})
        >>> parts = loss(torch.zeros(2), torch.full((2,), 2.0))
        >>> {name: float(value) for name, value in parts.items()}
        {'loss': 4.0, 'l1': 2.0, 'l2': 4.0}
    """

    if TYPE_CHECKING:

        def __call__(  # noqa: D102
            self, output: Tensor, target: Tensor
        ) -> dict[str, Tensor]: ...

    def __init__(self, weights: Mapping[str, float | Loss], *, lae_scale: float = 1.0) -> None:
        super().__init__()
        check_range("above 0 and finite", lae_scale=lae_scale)
        given: Mapping[str, Any] = weights
        own: dict[str, Loss] = {name: one for name, one in given.items() if callable(one)}
        for name, one in given.items():
            # the note of a checkpoint, whose network can be used without the loss
            if isinstance(one, Mapping) and FOREIGN in one:
                own[name] = partial(_missing, one, name)
        named = {name: one for name, one in given.items() if name not in own}
        if unknown := sorted(named.keys() - LOSSES.keys()):
            raise ConfigurationError(
                f"weights may name {', '.join(LOSSES)}, got {', '.join(unknown)}"
            )
        if taken := sorted(own.keys() & {"loss", *LOSSES}):
            raise ConfigurationError(
                f"a loss of your own needs a name of its own, got {taken[0]!r}, which is taken"
            )
        check_range("at least 0 and finite", **{f"weights.{name}": named[name] for name in named})
        self.weights = {name: 1.0 if name in own else float(named[name]) for name in weights}
        self.weights = {name: weight for name, weight in self.weights.items() if weight > 0}
        if not self.weights:
            raise ConfigurationError(
                f"weights must give at least one of {', '.join(LOSSES)} a weight above 0, "
                f"got {dict(weights)}"
            )
        self.lae_scale = lae_scale
        self.names = ("loss", *self.weights)
        self._parts: dict[str, Loss] = {**LOSSES, "lae": partial(lae, scale=lae_scale), **own}
        # modules move to the device with this one
        self.own = nn.ModuleDict({n: one for n, one in own.items() if isinstance(one, nn.Module)})

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare.

        Args:
            output: Any shape.
            target: Shape of ``output``.

        Returns:
            "loss", the weighted sum, and each loss before weighting, without gradient: scalars.

        Raises:
            ConfigurationError: The shapes differ.
        """
        _check_shapes(output, target)
        output, target = at_least_float32(output), at_least_float32(target)
        losses = {name: self._parts[name](output, target) for name in self.weights}
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total} | {name: loss.detach() for name, loss in losses.items()}


def _missing(note: Mapping[str, Any], name: str, *_: Tensor) -> Tensor:
    """Stands for a loss that a checkpoint could not keep; raises a ConfigurationError."""
    refuse_foreign(note, f"losses[{name!r}]")
    raise AssertionError(f"{note} must name a class")  # it does: __init__ has looked


def _check_shapes(output: Tensor, target: Tensor) -> None:
    """Refuse what would broadcast, each number of one against many of the other."""
    if output.shape != target.shape:
        raise ConfigurationError(
            f"output and target must have one shape, got {tuple(output.shape)} and "
            f"{tuple(target.shape)}; give one target for every number of the output"
        )


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` with the precision that losses compute in: half precision becomes float32."""
    return x.float() if x.element_size() < 4 else x
