"""Spectral group self-attention denoising (SGSAD): groups of channels look at each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsi_diffusion.denoisers.conditioning import AttentionBlock


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
        """Mix the groups of every pixel of (B, H, W, C)."""
        # pixels last: a few tokens at thousands of pixels are sums over long rows, which is twice
        # as fast as thousands of tiny products
        tokens = x.reshape(-1, x.shape[-1]).T.contiguous().view(self.groups, -1, x[..., 0].numel())
        # in one call: a bias that is added by itself under autocast widens all three to float32
        qkv = torch.baddbmm(self.qkv_bias.mT, self.qkv_weight.mT, tokens)
        query, key, value = qkv.chunk(3, dim=1)
        mixed = []
        for one in query * query.shape[1] ** -0.5:
            weight = (one * key).sum(dim=1).softmax(dim=0).to(value.dtype)
            mixed.append((weight[:, None] * value).sum(dim=0))
        output: Tensor = self.to_out(torch.cat(mixed).T.reshape(x.shape))
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
