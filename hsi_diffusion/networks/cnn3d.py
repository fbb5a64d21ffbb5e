"""A convolutional network over a patch and its bands alike."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from hsi_diffusion.convolution import Conv3d
from hsi_diffusion.networks.base import PatchClassifier
from hsi_diffusion.options import check_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class CNN3D(PatchClassifier):
    """Classify the centre pixel of a patch by convolutions over band, row and column.

    The 3-D CNN of the comparison tables of SpectralDiff (Chen et al., TGRS 2023): three blocks of
    3x3x3 convolution, BatchNorm, ReLU and average pooling with 8, 16 and 32 filters, then a linear
    layer. Our choice: every pooling halves bands, rows and columns, and the linear layer sees all
    that is left, in its place.

    Args:
        in_channels: Channels of a patch; neighbours should be alike, as bands are.
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
        blocks = []
        bands, side = in_channels, patch_size
        for before, after in pairwise((1, *channels)):
            halving = (min(2, bands), min(2, side), min(2, side))  # what is 1 stays 1
            blocks.append(
                nn.Sequential(
                    Conv3d(before, after, 3, padding=1, bias=False),
                    nn.BatchNorm3d(after),  # takes away what a bias would add
                    nn.ReLU(),
                    # the last plane of an odd side is averaged by itself, and not left out
                    nn.AvgPool3d(halving, ceil_mode=True),
                )
            )
            bands, side = math.ceil(bands / 2), math.ceil(side / 2)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels[-1] * bands * side**2, num_classes)

    def _logits(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(image[:, None]).flatten(1))
        return logits
