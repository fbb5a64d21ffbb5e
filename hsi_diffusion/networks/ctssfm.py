"""Attention across timesteps, and between a spatial and a spectral branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from hsi_diffusion.networks.attention import Attention, CrossAttention
from hsi_diffusion.networks.base import centre_pixel
from hsi_diffusion.options import check_range

if TYPE_CHECKING:
    from torch import Tensor


class CTSSFM(nn.Module):
    """Cross time step spectral-spatial fusion module: T maps of tokens to one.

    The name and the task are DiffCRN's (Zhu and Xu, arXiv 2502.19699, abstract); what is inside is
    our reading:

    1. At every pixel, its T tokens attend to each other.
    2. The spatial branch: the T maps merged into one, the patch's pixels. The spectral branch: the
       centre pixel's tokens at the T timesteps.
    3. The spectral tokens gather from the spatial ones, then the spatial ones from those: each
       pixel learns what the centre is over the timesteps.

    Each step is added to what was there. A pixel takes nothing from its timesteps of prior weight
    0, but that a merge such as AWAM may weigh by means over the patch, which hold them.

    Args:
        dim: Channels C of a token.
        patch_size: Side P of the patch in pixels.
        merge: Module ``(tokens, log_weights) -> merged`` such as
            :class:`~hsi_diffusion.networks.awam.AWAM`.
        heads: Attention heads between the branches. Across timesteps there are half as many: T
            times as many tokens pass there.
        head_dim: Channels of a head.
        dropout: Dropout on what the branches gather.

    Raises:
        ConfigurationError: ``dropout`` is not from 0 to below 1.
    """

    def __init__(
        self,
        dim: int,
        patch_size: int,
        merge: nn.Module,
        *,
        heads: int = 4,
        head_dim: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_range("at least 0 and below 1", dropout=dropout)
        self.centre = centre_pixel(patch_size)
        self.across_timesteps = Attention(dim, max(heads // 2, 1), head_dim)
        self.merge = merge
        self.to_spectral = CrossAttention(dim, heads, head_dim, dropout)
        self.to_spatial = CrossAttention(dim, heads, head_dim, dropout)

    def forward(self, tokens: Tensor, log_weights: Tensor | None = None) -> Tensor:
        """Fuse the timesteps.

        Args:
            tokens: Shape (B, N, T, C), the N = P x P pixels of a patch, row by row.
            log_weights: Logarithms of prior weights, shape (B, N, T); -inf leaves a timestep out.

        Returns:
            Shape (B, N, C).
        """
        centre = None if log_weights is None else log_weights[:, self.centre]
        tokens = tokens + self.across_timesteps(tokens, log_weights)
        spatial: Tensor = self.merge(tokens, log_weights)
        spectral = tokens[:, self.centre]
        spectral = spectral + self.to_spectral(spectral, spatial)
        fused: Tensor = spatial + self.to_spatial(spatial, spectral, centre)
        return fused
