"""Random changes of whole batches of patches, drawn from a given generator.

An augmentation is any callable ``(images, generator) -> images`` over shape (N, C, P, P). Calling
it twice with one generator changes a patch in two ways, see :mod:`hsi_diffusion.patches.views`. All
work on the batch at once, on its device, and keep its shape and dtype; the generator may be on
another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

Augmentation = Callable[[Tensor, Generator], Tensor]


@dataclass(frozen=True)
class Compose:
    """One augmentation after the other; none at all gives the images back.

    Args:
        steps: The augmentations, first one first.
    """

    steps: tuple[Augmentation, ...] = ()

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Images (N, C, P, P) to images of the same shape."""
        for step in self.steps:
            images = step(images, generator)
        return images


@dataclass(frozen=True)
class Dihedral:
    """Turn and mirror each patch by one of the 8 symmetries of the square, all equally likely.

    Scenes seen from above have no up. The centre pixel of an odd patch stays; that of an even patch
    moves by one pixel.

    Args:
        share: Probability that a patch is drawn for it, 0 to 1.
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings."""
        _check_probability("share", self.share)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Images (N, C, P, P) to images of the same shape.

        Raises:
            ConfigurationError: The patches are not square.
        """
        if images.shape[-1] != images.shape[-2]:
            raise ConfigurationError(
                f"dihedral needs square patches, got {images.shape[-2]} x {images.shape[-1]}"
            )
        draws = _uniform((4, len(images), 1, 1, 1), images, generator)
        # mirroring both ways, each or not, then swapping rows and columns or not: 8 symmetries
        chosen = (draws[:3] < 0.5) & (draws[3] < self.share)
        images = torch.where(chosen[0], images.flip(-1), images)
        images = torch.where(chosen[1], images.flip(-2), images)
        return torch.where(chosen[2], images.transpose(-1, -2), images)


@dataclass(frozen=True)
class Gain:
    """Multiply each patch by one normal factor around 1, as light that changes over the scene.

    The factor acts on transformed values: around 0, which is the mean of standardised bands, PCA
    and MNF, and the middle of the range of min-max.

    Args:
        deviation: Standard deviation of the factor, at least 0.
    """

    deviation: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        _check_deviation("deviation", self.deviation)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Images (N, C, P, P) to images of the same shape; one draw per patch."""
        factors = 1 + self.deviation * _normal((len(images), 1, 1, 1), images, generator)
        return images * factors.to(images.dtype)


@dataclass(frozen=True)
class BandNoise:
    """Add independent normal noise to every value, of one size in all bands.

    In MNF components this has the shape of the sensor's noise.

    Args:
        deviation: Standard deviation in units of the transformed values, at least 0.
    """

    deviation: float = 0.05

    def __post_init__(self) -> None:
        """Check the settings."""
        _check_deviation("deviation", self.deviation)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Images (N, C, P, P) to images of the same shape; one draw per value."""
        noise = self.deviation * _normal(tuple(images.shape), images, generator)
        return images + noise.to(images.dtype)


@dataclass(frozen=True)
class BandDropout:
    """Set whole bands of a patch to 0, so that no few bands decide alone.

    What is left is not scaled up: a band that is missing is not noise of the rest.

    Args:
        probability: Probability for each band of each patch, 0 to 1.
    """

    probability: float = 0.1

    def __post_init__(self) -> None:
        """Check the settings."""
        _check_probability("probability", self.probability)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Images (N, C, P, P) to images of the same shape; one draw per patch and band."""
        dropped = _uniform((*images.shape[:2], 1, 1), images, generator) < self.probability
        return images.masked_fill(dropped, 0)


def build_augmentation(strengths: Mapping[str, float]) -> Compose:
    """Augmentations by name, for settings that come from a file or a command line.

    They act in the order of this list, whatever the order of ``strengths``:

    - ``dihedral``: share of patches, see :class:`Dihedral`
    - ``gain``: standard deviation, see :class:`Gain`
    - ``band_noise``: standard deviation, see :class:`BandNoise`
    - ``band_dropout``: probability, see :class:`BandDropout`

    Args:
        strengths: Strength of each augmentation; those at 0 are left out.

    Returns:
        All of them as one; the identity for an empty mapping.

    Raises:
        ConfigurationError: No such augmentation, or an impossible strength.
    """
    classes: dict[str, Callable[[float], Augmentation]] = {
        "dihedral": Dihedral,
        "gain": Gain,
        "band_noise": BandNoise,
        "band_dropout": BandDropout,
    }
    if unknown := sorted(strengths.keys() - classes.keys()):
        raise ConfigurationError(
            f"augmentation must name {', '.join(classes)}, got {', '.join(unknown)}"
        )
    return Compose(
        tuple(make(strengths[name]) for name, make in classes.items() if strengths.get(name))
    )


def _uniform(shape: tuple[int, ...], images: Tensor, generator: Generator) -> Tensor:
    # not in the usual dtype, which a Trainer with precision "bf16-true" changes
    draws = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return draws.to(images.device)


def _normal(shape: tuple[int, ...], images: Tensor, generator: Generator) -> Tensor:
    draws = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return draws.to(images.device)


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigurationError(f"{name} must lie between 0 and 1, got {value}")


def _check_deviation(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ConfigurationError(f"{name} must be at least 0 and finite, got {value}")
