"""Spatial self-attention denoising (SSAD): pixels look at the pixels around them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from hsi_diffusion.attention import attend
from hsi_diffusion.denoisers.conditioning import AttentionBlock


class WindowAttention(nn.Module):
    """Multi-head self-attention over the pixels of each window, with relative position bias.

    Windows lie on a grid of ``window`` x ``window`` pixels that starts at row and column ``shift``;
    where the image ends inside a window, the window's missing pixels are masked. So the window of a
    pixel depends on its place alone, not on the size of the image.

    Args:
        channels: Channels of a pixel, C, a multiple of ``heads``.
        window: Side of a window in pixels.
        heads: Attention heads.
        shift: Offset of the grid, from 0 to ``window`` - 1.
    """

    pairs: Tensor

    def __init__(self, channels: int, window: int, heads: int, shift: int = 0) -> None:
        super().__init__()
        self.window = window
        self.heads = heads
        self.shift = shift
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)
        # one number per head and difference of places, -(window - 1) to window - 1 in both axes
        self.bias = nn.Parameter(torch.zeros(heads, (2 * window - 1) ** 2))
        rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        down, right = (
            places.flatten()[:, None] - places.flatten() + window - 1 for places in (rows, columns)
        )
        self.register_buffer("pairs", down * (2 * window - 1) + right, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the pixels of every window of (B, H, W, C)."""
        height, width = x.shape[1:3]
        top, bottom = self._missing(height)
        left, right = self._missing(width)
        qkv = F.pad(self.to_qkv(x), (0, 0, left, right, top, bottom))
        query, key, value = rearrange(
            qkv,
            "b (i p) (j q) (three heads d) -> three b (i j) heads (p q) d",
            three=3,
            heads=self.heads,
            p=self.window,
            q=self.window,
        )
        batch, windows = query.shape[:2]
        bias = self.bias[:, self.pairs]
        if top or bottom or left or right:
            # every window has a mask of its own, which the images of the batch share
            bias = (bias + self._mask(height, width, bias)[:, None, None, :]).flatten(0, 1)
            query, key, value = (part.flatten(1, 2) for part in (query, key, value))
        else:
            query, key, value = (part.flatten(0, 1) for part in (query, key, value))
        mixed = attend(query, key, value, bias[None])
        mixed = rearrange(
            mixed.reshape(batch, windows, self.heads, self.window**2, -1),
            "b (i j) heads (p q) d -> b (i p) (j q) (heads d)",
            i=(top + height + bottom) // self.window,
            p=self.window,
        )
        output: Tensor = self.to_out(mixed[:, top : top + height, left : left + width])
        return output

    def _missing(self, length: int) -> tuple[int, int]:
        """How many pixels the first and the last window lack; never a whole window."""
        before = -self.shift % self.window
        return before, -(before + length) % self.window

    def _mask(self, height: int, width: int, like: Tensor) -> Tensor:
        """What to add to the scores of each pixel as a key, (windows, window**2): 0 or -inf."""
        sides = []
        for length in (height, width):
            before, after = self._missing(length)
            inside = torch.zeros(length, dtype=like.dtype, device=like.device)
            sides.append(F.pad(inside, (before, after), value=-torch.inf))
        outside = sides[0][:, None] + sides[1]
        return rearrange(outside, "(i p) (j q) -> (i j) (p q)", p=self.window, q=self.window)


class SSAD(AttentionBlock):
    """Self-attention over the pixels of windows, then a feed-forward layer.

    Both are pre-norm, residual, and scaled, shifted and gated by the timestep, see
    :class:`~hsi_diffusion.denoisers.conditioning.Conditioned`. DiffCRN (Zhu & Xu, arXiv 2502.19699)
    names a spatial self-attention denoising module, without details. Windows, shift,
    position bias and conditioning are ours: with windows (as Liu et al., ICCV 2021) the cost grows
    with the number of pixels, not with its square.

    Args:
        channels: Channels of a pixel, C, a multiple of ``heads``.
        time_channels: Size of the time embedding.
        window: Side of a window in pixels.
        heads: Attention heads.
        shift: Offset of the grid of windows, from 0 to ``window`` - 1.
        mlp_ratio: Hidden channels of the feed-forward layer, in units of C.
    """

    def __init__(
        self,
        channels: int,
        time_channels: int,
        *,
        window: int = 8,
        heads: int = 4,
        shift: int = 0,
        mlp_ratio: int = 2,
    ) -> None:
        attention = WindowAttention(channels, window, heads, shift)
        super().__init__(channels, time_channels, attention, mlp_ratio)
