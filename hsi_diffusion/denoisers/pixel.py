"""A denoiser of single pixels: spectra only, so that no place can be learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.denoisers.base import Denoiser, FeatureLevel
from hsi_diffusion.denoisers.conditioning import Conditioned, FeedForward, TimeMLP, reset
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least
from hsi_diffusion.patches import blur_radius

if TYPE_CHECKING:
    from collections.abc import Sequence


class PixelDenoiser(Denoiser):
    """Residual layers on the spectrum of each pixel by itself; no neighbour is seen.

    With views of one pixel (small patches, ``contrast.cell`` 0 and ``contrast.shift`` one less than
    the patch) a contrast learns what neighbouring pixels have in common, and can't do so by what
    else is in the picture. Features are those of the last layer, blurred along the scene by each of
    ``blurs``: a level each, so that validation pixels choose the blur. Ours.

    Args:
        num_bands: Bands of the images.
        channels: Channels of a pixel.
        layers: Number of residual layers.
        blurs: Standard deviations in pixels of the levels' Gaussian blurs; 0 = none.
        time_channels: Size of the timestep's embedding.

    Raises:
        ConfigurationError: A size or a width is impossible.
    """

    def __init__(
        self,
        num_bands: int,
        channels: int = 256,
        layers: int = 2,
        blurs: Sequence[float] = (0.0, 1.0, 2.0),
        time_channels: int = 64,
    ) -> None:
        check_at_least(1, channels=channels, layers=layers)
        if not blurs or min(blurs) < 0:
            raise ConfigurationError(f"blurs must hold at least one width from 0, got {blurs}")
        info = [FeatureLevel(f"blur{b:g}", channels, radius=blur_radius(b)) for b in blurs]
        super().__init__(num_bands, feature_info=info, radius=0)
        self.blurs = tuple(map(float, blurs))
        self.time = TimeMLP(time_channels)
        self.stem = nn.Linear(num_bands, channels)
        self.layers = nn.ModuleList(
            Conditioned(channels, time_channels, FeedForward(channels, 2 * channels))
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, num_bands)
        self.apply(reset)

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Denoise; see :meth:`Denoiser.forward_levels`."""
        x, time = self.stem(x_t.permute(0, 2, 3, 1)), self.time(t)
        for layer in self.layers:
            x = layer(x, time)
        x = self.norm(x)
        denoised = self.head(x).permute(0, 3, 1, 2) if output else None
        features = x.permute(0, 3, 1, 2)
        return denoised, [_blurred(features, self.blurs[index]) for index in indices]


def _blurred(features: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, C, H, W); at the border, the mean of what is there."""
    radius = blur_radius(sigma)
    if not radius:
        return features
    steps = torch.arange(-radius, radius + 1, device=features.device, dtype=features.dtype)
    weights = torch.exp(-0.5 * (steps / sigma) ** 2)
    inside = torch.ones_like(features[:1, :1])
    for axis in (2, 3):
        kernel = weights.view((1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1))
        padding = (radius, 0) if axis == 2 else (0, radius)
        height, width = features.shape[2:]
        flat = features.reshape(-1, 1, height, width)
        features = F.conv2d(flat, kernel, padding=padding).view_as(features)
        inside = F.conv2d(inside, kernel, padding=padding)
    return features / inside
