"""The 3-D U-Net of SpectralDiff (Chen et al., TGRS 2023), written from its layer facts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.convolution import Conv3d, ConvTranspose3d, conv3d
from hsi_diffusion.denoisers.base import Denoiser, FeatureLevel
from hsi_diffusion.denoisers.conditioning import check_time_channels, sinusoids
from hsi_diffusion.options import check_at_least, check_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

BandPadding = Literal["repeat", "zeros"]
"""What fills the bands up to a multiple of 2**depth: the last band again, or zeros."""

CONV_RADIUS = 1
"""Spatial radius of the 3x3x3 convolutions."""

TRANSFORM_RADIUS = 2
"""Spatial radius of the (4, 5, 5) convolutions that halve or double the bands."""

BLOCK_RADIUS = 2 * CONV_RADIUS + TRANSFORM_RADIUS

CHANNELS_LAST_DEVICES = ("cpu", "cuda")
"""Where activations with the channels last are faster, or what the kernels work with anyway."""


class TimeEmbedding(nn.Sequential):
    """Sinusoids of the timestep, and a linear layer with ReLU."""

    def __init__(self, channels: int) -> None:
        check_time_channels(channels)
        # the public release numbers the linear layer 1; its 0 are the sinusoids
        super().__init__(nn.Identity(), nn.Linear(channels, channels), nn.ReLU())
        self.channels = channels

    def forward(self, t: Tensor) -> Tensor:
        """Embed timesteps of shape (B,) as (B, channels)."""
        waves = sinusoids(t, self.channels).to(next(self.parameters()).dtype)
        embedded: Tensor = super().forward(waves)  # type: ignore[no-untyped-call]
        return embedded


class Block3d(nn.Module):
    """Two convolutions with the timestep in between; then the bands are halved, or doubled (up)."""

    def __init__(
        self, in_channels: int, out_channels: int, time_channels: int, *, up: bool
    ) -> None:
        super().__init__()
        self.time_mlp = nn.Linear(time_channels, out_channels)
        self.conv1 = Conv3d(in_channels, out_channels, 3, padding=CONV_RADIUS)
        transform = ConvTranspose3d if up else Conv3d
        self.transform = transform(
            out_channels,
            out_channels,
            (4, 5, 5),
            stride=(2, 1, 1),
            padding=(1, TRANSFORM_RADIUS, TRANSFORM_RADIUS),
        )
        self.conv2 = Conv3d(out_channels, out_channels, 3, padding=CONV_RADIUS)
        self.bnorm1 = nn.BatchNorm3d(out_channels)
        self.bnorm2 = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor, time: Tensor, *, twice: bool = False) -> Tensor:
        """Run the block.

        Args:
            x: Shape (B, in_channels, S, H, W), or with half of the channels if ``twice``.
            time: Shape (B, time_channels).
            twice: The block's input is ``x`` concatenated with itself.

        Returns:
            Shape (B, out_channels, S / 2 or 2 S, H, W).
        """
        # nothing needs the values that are overwritten in place, not even the backward pass
        h = self.bnorm1(F.relu_(self._conv_twice(x) if twice else self.conv1(x)))
        h += F.relu(self.time_mlp(time))[:, :, None, None, None]
        h = self.bnorm2(F.relu_(self.conv2(h)))
        transformed: Tensor = self.transform(h)
        return transformed

    def _conv_twice(self, x: Tensor) -> Tensor:
        """``conv1`` of ``x`` concatenated with itself, for half the work."""
        first, second = self.conv1.weight.chunk(2, dim=1)
        return conv3d(x, first + second, self.conv1.bias, padding=CONV_RADIUS)


class UNet3D(Denoiser):
    """3-D U-Net over (band, row, column) that halves the bands and keeps the pixels.

    With the defaults it has exactly 4,299,633 parameters, and its state dict has the names of the
    public SpectralDiff release.

    The feature level i is the input of up block i after concatenation, so level 0 holds the
    bottleneck twice and costs only the encoder. Every level has 2 * base_channels * S numbers per
    pixel, where S are the bands after padding; they are ordered (channel, band), and the numbers
    of one pixel stand side by side in memory.

    Args:
        num_bands: Bands of the images; padded inside to a multiple of 2**depth.
        base_channels: Channels after the first convolution; doubled by every down block.
        depth: Number of down blocks, and of up blocks.
        time_channels: Size of the time embedding.
        band_padding: "repeat" the last band (published for Pavia) or "zeros" (for
            Salinas, where public code puts half of them before the first band; here all come last).

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    def __init__(
        self,
        num_bands: int,
        base_channels: int = 16,
        depth: int = 3,
        time_channels: int = 32,
        *,
        band_padding: BandPadding = "repeat",
    ) -> None:
        check_at_least(1, base_channels=base_channels, depth=depth)
        check_choice(get_args(BandPadding), band_padding=band_padding)
        padded = math.ceil(num_bands / 2**depth) * 2**depth
        encoder_radius = CONV_RADIUS + depth * BLOCK_RADIUS
        levels = [
            FeatureLevel(
                f"up{i}",
                channels=2 * base_channels * padded,
                radius=encoder_radius + i * BLOCK_RADIUS,
            )
            for i in range(depth)
        ]
        super().__init__(
            num_bands, feature_info=levels, radius=encoder_radius + depth * BLOCK_RADIUS
        )
        self.band_padding = band_padding
        self.extra_bands = padded - num_bands

        widths = [base_channels * 2**i for i in range(depth + 1)]
        self.time_mlp = TimeEmbedding(time_channels)
        self.conv0 = Conv3d(1, base_channels, 3, padding=CONV_RADIUS)
        self.downs = nn.ModuleList(
            Block3d(widths[i], widths[i + 1], time_channels, up=False) for i in range(depth)
        )
        self.ups = nn.ModuleList(
            Block3d(2 * widths[i + 1], widths[i], time_channels, up=True)
            for i in reversed(range(depth))
        )
        self.output = Conv3d(base_channels, 1, 1)

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Output and features; see :meth:`Denoiser.forward_levels`."""
        time = self.time_mlp(t)
        h = self._first_conv(self._pad_bands(x_t))
        skips: list[Tensor] = []
        for down in self.downs:
            h = down(h, time)
            skips.append(h)
        kept: dict[int, Tensor] = {}
        for level in range(len(self.ups)):
            skip = skips.pop()
            if level in indices:
                kept[level] = _flatten_bands([h, skip])
            if not output and level == max(indices):
                break
            if level == 0:  # the last skip is the bottleneck itself
                h = self.ups[0](h, time, twice=True)
            else:
                h = self.ups[level](torch.cat((h, skip), dim=1), time)
        restored = self.output(h)[:, 0, : self.num_bands] if output else None
        return restored, [kept[index] for index in indices]

    def _first_conv(self, x: Tensor) -> Tensor:
        """``conv0`` of (B, S, H, W), with the 3 neighbouring bands as channels.

        The same sums, but a convolution of a single channel is slow: on a CPU in float32 it takes
        6 times as long.
        """
        bands = x.shape[1]
        x = F.pad(x[:, None], (0, 0, 0, 0, CONV_RADIUS, CONV_RADIUS))
        x = torch.cat([x[:, :, i : i + bands] for i in range(3)], dim=1)
        if x.device.type in CHANNELS_LAST_DEVICES:
            x = x.contiguous(memory_format=torch.channels_last_3d)
        weight = self.conv0.weight.transpose(1, 2)  # (out, 3, 1, 3, 3)
        return conv3d(x, weight, self.conv0.bias, padding=(0, CONV_RADIUS, CONV_RADIUS))

    def _pad_bands(self, x: Tensor) -> Tensor:
        last = x[:, -1:] if self.band_padding == "repeat" else torch.zeros_like(x[:, -1:])
        return torch.cat((x, last.expand(-1, self.extra_bands, -1, -1)), dim=1)


def _flatten_bands(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate (B, C, S, H, W) over channels, and flatten (channel, band) into one axis.

    Returns:
        Shape (B, D, H, W), with the numbers of one pixel side by side in memory: that is how the
        features of a scene are stored, and the cheapest order to copy to.
    """
    pixels = [part.permute(0, 3, 4, 1, 2).flatten(3) for part in parts]
    return torch.cat(pixels, dim=3).permute(0, 3, 1, 2)
