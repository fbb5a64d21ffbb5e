"""Two views of the same place, as contrastive learning compares them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least
from hsi_diffusion.patches.augment import Augmentation, Compose, build_augmentation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Generator, Tensor


@dataclass(frozen=True)
class TwoViews:
    """Two crops of each patch that almost cover each other, each changed in its own way.

    First both are turned alike, so that a place in one view and the same place in the other stay
    together. Then each view is a square of side P - shift at a random offset of its own, from 0 to
    ``shift`` pixels down and right: the pixels that should look alike are neighbours, up to
    ``shift`` apart (ours). Then each view is augmented on its own.

    Args:
        shift: Pixels by which the side of a view is less than that of a patch, at least 0; 0 = no
            crops, both views hold the same pixels.
        shared: Done to the patches before they become two.
        own: Done to each view by itself.

    Raises:
        ConfigurationError: ``shift`` is negative.
    """

    shift: int = 0
    shared: Augmentation = field(default_factory=Compose)
    own: Augmentation = field(default_factory=Compose)

    def __post_init__(self) -> None:
        check_at_least(0, shift=self.shift)

    def __call__(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Images (N, C, P, P) to two views, each (N, C, P - shift, P - shift).

        Everything random comes from ``generator``; the device and dtype of the images are kept, and
        the images themselves too.

        Raises:
            ConfigurationError: ``shift`` leaves nothing of the patches.
        """
        images = self.shared(images, generator)
        first = self.own(self._crop(images, generator), generator)
        second = self.own(self._crop(images, generator), generator)
        return first, second

    def _crop(self, images: Tensor, generator: Generator) -> Tensor:
        """Squares at a random offset per patch; bands stay together in memory."""
        if self.shift == 0:
            return images
        number, _, height, width = images.shape
        if self.shift >= min(height, width):
            raise ConfigurationError(
                f"shift must be below the side of the patches, got {self.shift} for patches of "
                f"{height} x {width}"
            )
        offsets = torch.randint(
            self.shift + 1, (2, number, 1), generator=generator, device=generator.device
        ).to(images.device)
        rows = offsets[0] + torch.arange(height - self.shift, device=images.device)
        columns = offsets[1] + torch.arange(width - self.shift, device=images.device)
        patch = torch.arange(number, device=images.device)[:, None, None]
        crops = images.permute(0, 2, 3, 1)[patch, rows[:, :, None], columns[:, None, :]]
        return crops.permute(0, 3, 1, 2)


def build_two_views(strengths: Mapping[str, float | Augmentation], *, shift: int = 0) -> TwoViews:
    """Views from augmentations by name, for settings that come from a file or a command line.

    Args:
        strengths: Strength of each augmentation, or one of your own, see
            :func:`~hsi_diffusion.patches.build_augmentation`. ``dihedral`` is drawn once for both
            views, everything else for each view by itself.
        shift: See :class:`TwoViews`.

    Returns:
        The views.

    Raises:
        ConfigurationError: No such augmentation, or an impossible strength or shift.
    """
    turned = {name: value for name, value in strengths.items() if name == "dihedral"}
    changed = {name: value for name, value in strengths.items() if name != "dihedral"}
    return TwoViews(shift, build_augmentation(turned), build_augmentation(changed))
