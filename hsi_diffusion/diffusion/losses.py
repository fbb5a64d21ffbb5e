"""How far a network's output is from its target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over all elements, the loss of SpectralDiff (Chen et al. 2023).

    Args:
        output: Any shape.
        target: Shape of ``output``.

    Returns:
        Scalar.
    """
    return F.l1_loss(output, target)


def l2(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over all elements, the simple loss of DDPM (Ho et al. 2020, eq. 14).

    Args:
        output: Any shape.
        target: Shape of ``output``.

    Returns:
        Scalar.
    """
    return F.mse_loss(output, target)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": l1, "l2": l2}
"""The losses by name, as a configuration names them."""


class DenoisingLoss(nn.Module):
    """A weighted sum of losses between output and target.

    It computes in float32 at least, also under autocast.

    Args:
        weights: Weight of each loss by its name in ``LOSSES``; all at least 0, one above 0. A loss
            with weight 0 is left out.

    Raises:
        ConfigurationError: An unknown name, a negative weight, or nothing to add up.

    Attributes:
        weights: The weights above 0.
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

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        unknown = sorted(set(weights) - set(LOSSES))
        if unknown:
            raise ConfigurationError(
                f"weights may name {', '.join(LOSSES)}, but {', '.join(unknown)} was given"
            )
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()):
            raise ConfigurationError(
                f"weights must be finite and at least 0, but {dict(weights)} was given"
            )
        self.weights = {name: float(weight) for name, weight in weights.items() if weight > 0}
        if not self.weights:
            raise ConfigurationError(
                f"weights must give at least one of {', '.join(LOSSES)} a weight above 0, "
                f"but {dict(weights)} was given"
            )

        self.names = ("loss", *self.weights)

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Compare.

        Args:
            output: Any shape.
            target: Shape of ``output``.

        Returns:
            "loss", the weighted sum, and each loss before weighting, without gradient: scalars.
        """
        if output.shape != target.shape:
            raise ConfigurationError(
                f"output and target must have one shape, but {tuple(output.shape)} and "
                f"{tuple(target.shape)} were given"
            )
        output, target = _at_least_float32(output), _at_least_float32(target)
        losses = {name: LOSSES[name](output, target) for name in self.weights}
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        return {"loss": total} | {name: loss.detach() for name, loss in losses.items()}

    def extra_repr(self) -> str:
        """Show the weights."""
        return ", ".join(f"{name}={weight:g}" for name, weight in self.weights.items())


def build_loss(spec: str | Mapping[str, float]) -> DenoisingLoss:
    """A loss from what a configuration holds: one name, or weights by name.

    Args:
        spec: "l1", "l2", or for instance ``{"l1": 1.0, "l2": 0.1}``.

    Returns:
        The loss.
    """
    return DenoisingLoss({spec: 1.0} if isinstance(spec, str) else spec)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.element_size() < 4 else x
