"""Conditioning of a network on the timestep."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hsi_diffusion.errors import ConfigurationError


def check_time_channels(channels: int) -> None:
    """Raise a ConfigurationError unless timesteps can be embedded in so many numbers."""
    if channels < 4 or channels % 2:
        raise ConfigurationError(f"time_channels must be even and at least 4, got {channels}")


def sinusoids(t: Tensor, channels: int) -> Tensor:
    """Sines and cosines of timesteps at frequencies that fall geometrically.

    They fall from 1 to 1/10000, both included, as in the public SpectralDiff release.

    Args:
        t: Timesteps, shape (B,).
        channels: How many numbers per timestep, even and at least 4.

    Returns:
        Shape (B, channels), first all sines, then all cosines; float32 whatever the weights of the
        network are, since half precision can't distinguish 499 from 500.
    """
    count = channels // 2
    # not in the usual dtype, which a Trainer with precision "bf16-true" changes
    exponents = torch.arange(count, device=t.device, dtype=torch.float32) / (count - 1)
    angles = t[:, None] * torch.exp(-math.log(10_000) * exponents)
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class TimeMLP(nn.Module):
    """Sinusoids of the timestep, and two layers on them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_time_channels(channels)
        self.channels = channels
        self.layers = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels), nn.SiLU()
        )

    def forward(self, t: Tensor) -> Tensor:
        """Embed timesteps of shape (B,) as (B, channels)."""
        waves = sinusoids(t, self.channels).to(next(self.parameters()).dtype)
        embedded: Tensor = self.layers(waves)
        return embedded


class Conditioned(nn.Module):
    """A residual branch that the timestep steers: x + gate * branch(scale * norm(x) + shift).

    The adaptive layer norm with zero-initialised gates of DiT (Peebles & Xie, ICCV 2023): scale,
    shift and gate come from the timestep's embedding, and with fresh weights the whole is the
    identity, at every timestep. The branch takes and gives (B, H, W, C).
    """

    def __init__(self, channels: int, time_channels: int, branch: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.modulation = nn.Linear(time_channels, 3 * channels)
        self.branch = branch

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Run the branch on (B, H, W, C), given a time embedding of shape (B, time_channels)."""
        steering: Tensor = self.modulation(time)[:, None, None, :]
        scale, shift, gate = steering.chunk(3, dim=-1)
        changed: Tensor = self.branch(self.norm(x) * (1 + scale) + shift)
        return x + gate * changed


def reset(module: nn.Module) -> None:
    """Glorot-uniform weights without bias, and branches that are off; children come first."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Conditioned):
        nn.init.zeros_(module.modulation.weight)
        nn.init.zeros_(module.modulation.bias)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU in between, at every pixel on its own."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))


class AttentionBlock(nn.Module):
    """Self-attention over (B, H, W, C), then a feed-forward layer, both steered by the timestep."""

    def __init__(
        self, channels: int, time_channels: int, attention: nn.Module, mlp_ratio: int
    ) -> None:
        super().__init__()
        self.attention = Conditioned(channels, time_channels, attention)
        self.mlp = Conditioned(channels, time_channels, FeedForward(channels, mlp_ratio * channels))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Denoise (B, H, W, C), given a time embedding of shape (B, time_channels)."""
        output: Tensor = self.mlp(self.attention(x, time), time)
        return output
