"""A convolutional network along the spectrum of one pixel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks.base import PatchClassifier

if TYPE_CHECKING:
    from torch import Tensor


class CNN1D(PatchClassifier):
    """Classify a pixel from its own spectrum: the rest of the patch plays no part.

    The 1-D CNN of the comparison tables of SpectralDiff (Chen et al., TGRS 2023): one block of
    convolution, BatchNorm, ReLU and average pooling, then a linear layer. The sizes, and the
    pooling of neighbouring bands instead of the whole spectrum, are our choice: the place of a
    feature in the spectrum distinguishes the classes.

    Args:
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        channels: Filters of the convolution.
        kernel_size: Bands that a filter spans, odd.
        pool: Bands that are averaged.

    Raises:
        ConfigurationError: A size is below 1, or ``kernel_size`` is even.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int = 1,
        *,
        channels: int = 20,
        kernel_size: int = 11,
        pool: int = 5,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes,
            patch_size,
            channels=channels,
            kernel_size=kernel_size,
            pool=pool,
        )
        if kernel_size % 2 == 0:
            raise ConfigurationError(f"kernel_size must be odd, got {kernel_size}")
        pooled = math.ceil(in_channels / pool)
        self.layers = nn.Sequential(
            nn.Conv1d(1, channels, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm1d(channels),  # takes away what a bias would add
            nn.ReLU(),
            # the last bands may be fewer than ``pool``: their mean is of those that there are
            nn.AvgPool1d(pool, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(channels * pooled, num_classes),
        )

    def _logits(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.centre_spectrum(image)[:, None])
        return logits
