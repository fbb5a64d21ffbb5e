"""Spectral group self-attention denoising (SGSAD): groups of channels look at each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.denoisers.conditioning import AttentionBlock

BATCHED_PRODUCT_DEVICES = ("cpu",)
"""Where attention between a few tokens at thousands of pixels is left to batched products, which
tensors of three axes get: the fused CPU kernel trains half as fast in bfloat16."""


class GroupAttention(nn.Module):
    """Self-attention between groups of channels, at every pixel on its own.

    The channels of a pixel are cut into groups of neighbours; each group is one token, with one
    head. Every group has query, key and value weights of its own, so that a group is known by them
    and needs no position.

    Args:
        channels: Channels of a pixel, C, a multiple of ``groups``.
        groups: Number of groups, G.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        size = channels // groups
        self.qkv_weight = nn.Parameter(torch.empty(groups, size, 3 * size))
        self.qkv_bias = nn.Parameter(torch.zeros(groups, 1, 3 * size))
        self.to_out = nn.Linear(channels, channels)
        nn.init.uniform_(self.qkv_weight, -((3 / size) ** 0.5), (3 / size) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the groups of every pixel.

        Args:
            x: Shape (B, H, W, C).

        Returns:
            Shape (B, H, W, C).
        """
        tokens = x.reshape(-1, self.groups, x.shape[-1] // self.groups)
        # in one call: a bias that is added by itself under autocast widens all three to float32
        qkv = torch.baddbmm(self.qkv_bias, tokens.transpose(0, 1), self.qkv_weight)
        query, key, value = qkv.transpose(0, 1).chunk(3, dim=-1)
        if x.device.type not in BATCHED_PRODUCT_DEVICES:
            # rows and columns on an axis each: CUDA kernels allow no axis beyond 65,535
            grid = (x.shape[0] * x.shape[1], x.shape[2], *tokens.shape[1:])
            query, key, value = (part.reshape(grid) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.to_out(mixed.reshape(x.shape))
        return output


class SGSAD(AttentionBlock):
    """Self-attention between spectral groups, then a feed-forward layer.

    Both are pre-norm, residual, and scaled, shifted and gated by the timestep, see
    :class:`~hsi_diffusion.denoisers.conditioning.Conditioned`. DiffCRN (Zhu & Xu, arXiv 2502.19699)
    names a spectral group self-attention denoising module, without details. That the
    groups are channels of the network, and that attention acts at one pixel, is our reading.

    Args:
        channels: Channels of a pixel, C, a multiple of ``groups``.
        time_channels: Size of the time embedding.
        groups: Number of groups.
        mlp_ratio: Hidden channels of the feed-forward layer, in units of C.
    """

    def __init__(
        self, channels: int, time_channels: int, *, groups: int = 8, mlp_ratio: int = 2
    ) -> None:
        super().__init__(channels, time_channels, GroupAttention(channels, groups), mlp_ratio)
