"""Small networks that the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.denoisers import Denoiser, FeatureLevel, UNet3D
from hsi_diffusion.features import iter_feature_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

BANDS = 4


def extract_features(*given: Any, **settings: Any) -> Tensor:
    """All tiles of :func:`iter_feature_tiles` in one tensor, (H, W, D)."""
    tiles = list(iter_feature_tiles(*given, **settings))
    height, width = max(one[0].stop for one in tiles), max(one[1].stop for one in tiles)
    features = torch.empty(height, width, tiles[0][2].shape[2])
    for rows, columns, tile in tiles:
        features[rows, columns] = tile
    return features


def unet(seed: int = 0) -> UNet3D:
    """A small U-Net with running statistics that differ from the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = UNet3D(BANDS, base_channels=2, depth=2, time_channels=4)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm3d):
                nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return net


class Scaled(Denoiser):
    """Feature 0 is x_t itself, feature 1 is t * x_t, feature 2 is x_t squared."""

    def __init__(self, num_bands: int = BANDS) -> None:
        levels = [FeatureLevel(name, num_bands, radius=0) for name in ("same", "times", "square")]
        super().__init__(num_bands, feature_info=levels, radius=0)
        self.asked: list[tuple[int, ...]] = []

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        assert not output, "features don't need the output"
        self.asked.append(tuple(indices))
        everything = [x_t, t[:, None, None, None] * x_t, x_t.square()]
        return None, [everything[index] for index in indices]


class Gridded(Denoiser):
    """Means over windows of 4 x 4 pixels, and a grid of half the resolution."""

    alignment = 4

    def __init__(self) -> None:
        super().__init__(
            BANDS,
            feature_info=[
                FeatureLevel("windows", BANDS, radius=3),
                FeatureLevel("halved", BANDS, reduction=2, radius=2),  # no more than it reaches
            ],
            radius=3,
        )

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        assert not output, "features don't need the output"
        height, width = x_t.shape[2:]
        padded = F.pad(x_t, (0, -width % 4, 0, -height % 4))
        windows = F.interpolate(F.avg_pool2d(padded, 4), scale_factor=4)
        halved = F.avg_pool2d(F.pad(x_t, (0, width % 2, 0, height % 2)), 3, stride=2, padding=1)
        return None, [(windows[:, :, :height, :width], halved)[index] for index in indices]
