"""A convolutional network over a patch, with its channels as they are."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from hsi_diffusion.networks.base import PatchClassifier
from hsi_diffusion.options import check_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class CNN2D(PatchClassifier):
    """Classify the centre pixel of a patch by convolutions over the patch.

    The 2-D CNN of the comparison tables of SpectralDiff (Chen et al., TGRS 2023): three blocks of
    3x3 convolution, BatchNorm and ReLU with 8, 16 and 32 filters. What follows is our choice: the
    mean over the patch and a linear layer.

    Args:
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        channels: Filters of each block.

    Raises:
        ConfigurationError: A size is below 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int = 9,
        *,
        channels: Sequence[int] = (8, 16, 32),
    ) -> None:
        super().__init__(in_channels, num_classes, patch_size)
        check_sizes(channels=channels)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding=1, bias=False),
                    nn.BatchNorm2d(after),  # takes away what a bias would add
                    nn.ReLU(),
                )
                for before, after in pairwise((in_channels, *channels))
            )
        )
        self.head = nn.Linear(channels[-1], num_classes)

    def _logits(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(image).mean(dim=(2, 3)))
        return logits
