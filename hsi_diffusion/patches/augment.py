"""Random changes of whole batches of patches, drawn from a given generator.

An augmentation is any callable ``(images, generator) -> images`` over shape (N, C, P, P). Calling
it twice with one generator changes a patch in two ways, see :mod:`hsi_diffusion.patches.views`. All
work on the batch at once, on its device, and keep its shape and dtype; the generator may be on
another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_range
from hsi_diffusion.parts import refuse_foreign

Augmentation = Callable[[Tensor, Generator], Tensor]

if TYPE_CHECKING:
    AugmentationPart = Mapping[str, float | Augmentation] | Augmentation
else:  # what a command line offers
    AugmentationPart = dict[str, float | Callable[..., Any]]


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
        check_range("from 0 to 1", share=self.share)

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
        check_range("at least 0 and finite", deviation=self.deviation)

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
        check_range("at least 0 and finite", deviation=self.deviation)

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
        check_range("from 0 to 1", probability=self.probability)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Images (N, C, P, P) to images of the same shape; one draw per patch and band."""
        dropped = _uniform((*images.shape[:2], 1, 1), images, generator) < self.probability
        return images.masked_fill(dropped, 0)


def build_augmentation(given: AugmentationPart | None) -> Augmentation:
    """Make an augmentation of what a user gave: one of his own, which is used as it is, or names.

    Those of the library act in the order of this list, whatever the order of their names:

    - ``dihedral``: share of patches, see :class:`Dihedral`
    - ``gain``: standard deviation, see :class:`Gain`
    - ``band_noise``: standard deviation, see :class:`BandNoise`
    - ``band_dropout``: probability, see :class:`BandDropout`

    Args:
        given: An augmentation; or the strength of each by its name, where those at 0 are left out,
            and your own under names of their own, which act after those of the library; None: none.

    Returns:
        All of them as one; the identity where there are none.

    Raises:
        ConfigurationError: No such augmentation, or an impossible strength.
    """
    if callable(given):
        return given
    strengths: Mapping[str, Any] = given or {}
    refuse_foreign(strengths, "augmentation")
    classes: dict[str, Callable[[float], Augmentation]] = {
        "dihedral": Dihedral,
        "gain": Gain,
        "band_noise": BandNoise,
        "band_dropout": BandDropout,
    }
    for name, one in strengths.items():
        if isinstance(one, Mapping):  # the note of a checkpoint
            refuse_foreign(one, f"augmentation[{name!r}]")
    own = {name: one for name, one in strengths.items() if callable(one)}
    if unknown := sorted(strengths.keys() - classes.keys() - own.keys()):
        raise ConfigurationError(
            f"augmentation must name {', '.join(classes)}, or hold functions (images, generator) "
            f"-> images of your own, got {', '.join(unknown)}"
        )
    if taken := sorted(own.keys() & classes.keys()):
        raise ConfigurationError(
            f"an augmentation of your own needs a name of its own, got {taken[0]!r}, which is taken"
        )
    ours = [make(strengths[name]) for name, make in classes.items() if strengths.get(name)]
    return Compose((*ours, *own.values()))


def check_turned_patches(patch_size: int, given: AugmentationPart | None, where: str = "") -> None:
    """Raise a ConfigurationError where patches of even side are turned: their centre would move.

    In the message, names of settings begin with ``where``.
    """
    if isinstance(given, Compose):
        for step in given.steps:
            check_turned_patches(patch_size, step, where)
    turned = isinstance(given, Dihedral) or (isinstance(given, Mapping) and given.get("dihedral"))
    if turned and patch_size % 2 == 0:
        raise ConfigurationError(
            f"{where}patch_size must be odd where patches are turned ({where}augmentation: "
            f"dihedral), since the pixel to classify then stays in the middle, got {patch_size}"
        )


def _uniform(shape: tuple[int, ...], images: Tensor, generator: Generator) -> Tensor:
    # not in the usual dtype, which a Trainer with precision "bf16-true" changes
    draws = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return draws.to(images.device)


def _normal(shape: tuple[int, ...], images: Tensor, generator: Generator) -> Tensor:
    draws = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return draws.to(images.device)
