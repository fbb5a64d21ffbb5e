"""A compact 2-D U-Net over the scene with the bands as channels, for DiffSpectralNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.denoisers.base import Denoiser, FeatureLevel
from hsi_diffusion.denoisers.conditioning import Conditioned, FeedForward, TimeMLP, reset
from hsi_diffusion.options import check_at_least, check_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONV_RADIUS = 1
"""Pixels to each side that a 3x3 convolution sees, on its own grid; a block has one."""


class Convolution(nn.Module):
    """A 3x3 convolution, SiLU, and a linear layer at every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=CONV_RADIUS)
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the neighbours of every pixel of (B, H, W, C)."""
        mixed: Tensor = self.linear(F.silu(_along_the_scene(self.conv, x)))
        return mixed


class Block(nn.Module):
    """A convolution, then a feed-forward layer, both residual and steered by the timestep.

    :class:`~hsi_diffusion.denoisers.conditioning.Conditioned` normalises every pixel over its
    channels. A norm over space (GroupNorm, or BatchNorm in training) would make a pixel depend on
    the whole image, and then tiles of a scene would not give what the scene gives, whatever their
    halo.
    """

    def __init__(self, channels: int, time_channels: int, mlp_ratio: int) -> None:
        super().__init__()
        # a feed-forward layer instead of a second convolution costs less, and the loss of the
        # pretraining fell faster with it
        self.convolution = Conditioned(channels, time_channels, Convolution(channels))
        self.mlp = Conditioned(channels, time_channels, FeedForward(channels, mlp_ratio * channels))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Denoise (B, H, W, C), given a time embedding of shape (B, time_channels)."""
        output: Tensor = self.mlp(self.convolution(x, time), time)
        return output


class Blocks(nn.Module):
    """Blocks on one grid, one after another."""

    def __init__(self, channels: int, time_channels: int, count: int, mlp_ratio: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, time_channels, mlp_ratio) for _ in range(count))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Denoise (B, H, W, C), given a time embedding of shape (B, time_channels)."""
        for block in self.blocks:
            x = block(x, time)
        return x


class Down(nn.Module):
    """Half of the resolution: squares of 2 x 2 pixels become one, then blocks."""

    def __init__(self, in_channels: int, out_channels: int, blocks: Blocks) -> None:
        super().__init__()
        # with 2 x 2 a coarse pixel lies in the middle of what it was made from, and so where the
        # nearest-neighbour doubling and the features' bilinear doubling put it; a 3 x 3 window with
        # stride 2 would lie half a pixel beside it
        self.halve = nn.Conv2d(in_channels, out_channels, 2, stride=2)
        self.blocks = blocks

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Go from (B, H, W, in_channels), H and W even, to (B, H / 2, W / 2, out_channels)."""
        output: Tensor = self.blocks(_along_the_scene(self.halve, x), time)
        return output


class Up(nn.Module):
    """Twice the resolution, joined with what the encoder had there, then blocks.

    Skips have ``out_channels``, as what goes out.
    """

    def __init__(self, in_channels: int, out_channels: int, blocks: Blocks) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=CONV_RADIUS)
        self.merge = nn.Linear(2 * out_channels, out_channels)
        self.blocks = blocks

    def forward(self, x: Tensor, skip: Tensor, time: Tensor) -> Tensor:
        """Go from (B, H, W, in_channels) to (B, 2 H, 2 W, out_channels), the skip's shape."""
        h = _along_the_scene(self._doubled, x)
        output: Tensor = self.blocks(self.merge(torch.cat((h, skip), dim=-1)), time)
        return output

    def _doubled(self, x: Tensor) -> Tensor:
        doubled: Tensor = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return doubled


class UNet2D(Denoiser):
    """U-Net over (row, column) with the bands as channels.

    DiffSpectralNet (Sigger et al., Scientific Reports 14:8438, 2024) trains a "denoising U-Net" and
    takes features of several of its layers; that is all that is known of it. This compact network
    is our reading: a 1x1 stem over the bands, blocks of a 3x3 convolution and a feed-forward layer
    that the timestep scales, shifts and gates, grids of 1/2, 1/4, ... of the resolution, skips by
    concatenation, a 1x1 head. As the bands are channels, it is cheap: 0.5 million multiply-adds per
    pixel at 200 bands, where the 3-D U-Net has 172 million.

    Feature level 0, "bottleneck", is the output of the coarsest grid; the others are those of the
    decoder, "up1", "up2", ..., the last one at full resolution. So level i has
    ``channels * multipliers[-1 - i]`` numbers per pixel, side by side in memory, at a reduction of
    ``2 ** (len(multipliers) - 1 - i)``; its radius counts from any of the pixels that a coarse one
    covers. Images may have any height and width: inside, their last
    row and column are repeated up to a multiple of the coarsest pixel.

    Args:
        num_bands: Bands of the images.
        channels: The unit of ``multipliers``.
        multipliers: Channels of each grid in units of ``channels``, from the image's grid to the
            coarsest; one number alone makes a residual network without coarser grids.
        blocks: Blocks on each grid, in the encoder and again in the decoder.
        mlp_ratio: Hidden channels of the feed-forward layers, in units of the grid's channels.
        time_channels: Size of the time embedding, even and at least 4.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    def __init__(
        self,
        num_bands: int,
        channels: int = 64,
        multipliers: Sequence[int] = (1, 2, 4),
        *,
        blocks: int = 1,
        mlp_ratio: int = 2,
        time_channels: int = 64,
    ) -> None:
        check_at_least(1, channels=channels, blocks=blocks, mlp_ratio=mlp_ratio)
        check_sizes(multipliers=multipliers)
        widths = [channels * multiplier for multiplier in multipliers]
        coarsest = len(widths) - 1
        levels = [
            FeatureLevel(
                f"up{coarsest - grid}" if grid < coarsest else "bottleneck",
                channels=widths[grid],
                reduction=2**grid,
                radius=_radius(grid, coarsest, blocks),
            )
            for grid in reversed(range(coarsest + 1))
        ]
        super().__init__(num_bands, feature_info=levels, radius=levels[-1].radius)
        self.alignment = 2**coarsest

        self.time = TimeMLP(time_channels)
        # no norm before the head either, for the reason given in StagedDenoiser
        self.stem = nn.Linear(num_bands, widths[0])

        def blocks_on(grid: int) -> Blocks:
            return Blocks(widths[grid], time_channels, blocks, mlp_ratio)

        self.finest = blocks_on(0)
        self.downs = nn.ModuleList(
            Down(widths[grid], widths[grid + 1], blocks_on(grid + 1)) for grid in range(coarsest)
        )
        self.ups = nn.ModuleList(
            Up(widths[grid + 1], widths[grid], blocks_on(grid))
            for grid in reversed(range(coarsest))
        )
        self.head = nn.Linear(widths[0], num_bands)
        self.apply(reset)

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Output and features; see :meth:`Denoiser.forward_levels`."""
        height, width = x_t.shape[2:]
        time = self.time(t)
        h = self.finest(self.stem(self._pad(x_t).permute(0, 2, 3, 1)), time)
        skips: list[Tensor] = []
        for down in self.downs:
            skips.append(h)
            h = down(h, time)
        kept: dict[int, Tensor] = {}
        for index in range(len(self.ups) + 1 if output else max(indices) + 1):
            if index > 0:
                h = self.ups[index - 1](h, skips.pop(), time)
            if index in indices:
                cell = self.feature_info[index].reduction
                inside = h[:, : -(-height // cell), : -(-width // cell)]
                kept[index] = inside.permute(0, 3, 1, 2)
        restored = self.head(h[:, :height, :width]).permute(0, 3, 1, 2) if output else None
        return restored, [kept[index] for index in indices]

    def _pad(self, x: Tensor) -> Tensor:
        """Repeat the last row and column until every grid has whole pixels.

        Nothing is put before the first ones, so that a crop's grids lie as the scene's.
        """
        missing = [-length % self.alignment for length in x.shape[2:]]
        return F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else x


def _along_the_scene(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer for (B, C, H, W) on (B, H, W, C), without a copy."""
    return layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _radius(grid: int, coarsest: int, blocks: int) -> int:
    """Image pixels to each side on which a level depends, from any of the pixels of its cells.

    Args:
        grid: Number of the level's grid, 0 = the image's.
        coarsest: Number of the coarsest grid.
        blocks: Blocks on each grid, in the encoder and again in the decoder.
    """
    reach = blocks * CONV_RADIUS
    size = 2**grid
    radius = 0
    for cell in range(2 ** (coarsest - grid)):  # every place of a cell in the coarsest one
        first = last = cell
        for _ in range(grid, coarsest):  # back down the decoder; the skips see less
            first = (first - reach - CONV_RADIUS) // 2
            last = (last + reach + CONV_RADIUS) // 2
        for _ in range(coarsest):  # and back up the encoder
            first = 2 * (first - reach)
            last = 2 * (last + reach) + 1
        first, last = first - reach, last + reach
        radius = max(radius, (cell + 1) * size - 1 - first, last - cell * size)
    return radius
