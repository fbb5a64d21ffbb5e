"""The patch transformer that SpectralDiff classifies its diffusion features with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor


class Attention(nn.Module):
    """Multi-head self-attention over tokens, fused.

    Args:
        dim: Channels of a token.
        heads: Number of heads.
        head_dim: Channels of a head.
        dropout: Dropout on the output. The attention weights get none: it would leave the fused
            kernels, four times slower on a CPU.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, dim), nn.Dropout(dropout))

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens of shape (B, N, dim); same shape out, without the residual."""
        query, key, value = rearrange(
            self.to_qkv(self.norm(tokens)),
            "b n (three h d) -> three b h n d",
            three=3,
            h=self.heads,
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.to_out(rearrange(mixed, "b h n d -> b n (h d)"))
        return out


class FeedForward(nn.Sequential):
    """Pre-norm two-layer perceptron on every token, (B, N, dim) -> (B, N, dim)."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )


class SpectralTransformer(nn.Module):
    """Classify the centre pixel of a patch with a transformer over the patch's pixels.

    A 3x3 convolution turns every pixel into a token; a class token and learned positions, times a
    learned scale that starts small, are added; pre-norm transformer blocks; a two-layer head on the
    class token. The defaults are those of SpectralDiff's public configuration (Chen et al., TGRS
    2023); its paper names 5 blocks and 4 heads instead.

    Our own addition is ``readout="centre"``, which adds the centre pixel's token to the class token
    before the head: the pixel that is asked for is then never lost among its neighbours.

    Args:
        in_channels: Channels of a patch: bands, components or diffusion features.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        dim: Channels of a token.
        depth: Number of transformer blocks.
        heads: Attention heads per block.
        head_dim: Channels of a head.
        mlp_dim: Hidden channels of the feed-forward layers.
        dropout: Dropout inside the transformer.
        head_dropout: Dropout in the class head.
        readout: ``"class"`` (published) or ``"centre"``.

    Raises:
        ConfigurationError: A size is below 1 or ``readout`` is unknown.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int = 13,
        *,
        dim: int = 64,
        depth: int = 2,
        heads: int = 20,
        head_dim: int = 64,
        mlp_dim: int = 8,
        dropout: float = 0.0,
        head_dropout: float = 0.1,
        readout: str = "class",
    ) -> None:
        super().__init__()
        sizes = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "patch_size": patch_size,
            "dim": dim,
            "depth": depth,
            "heads": heads,
            "head_dim": head_dim,
            "mlp_dim": mlp_dim,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {size}")
        if readout not in ("class", "centre"):
            raise ConfigurationError(f"readout must be 'class' or 'centre', got {readout!r}")
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.readout = readout
        self.embed = nn.Sequential(
            nn.Conv2d(in_channels, dim, 3, padding=1), nn.BatchNorm2d(dim), nn.ReLU()
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, patch_size**2 + 1, dim))
        self.position_scale = nn.Parameter(torch.tensor(0.01))
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [Attention(dim, heads, head_dim, dropout), FeedForward(dim, mlp_dim, dropout)]
            )
            for _ in range(depth)
        )
        self.head = nn.Sequential(
            nn.Linear(dim, 128),
            nn.BatchNorm1d(128),
            nn.Dropout(head_dropout),
            nn.ReLU(),
            nn.Linear(128, num_classes),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Classify patches.

        Args:
            image: Shape (B, in_channels, P, P).

        Returns:
            Logits, shape (B, num_classes).

        Raises:
            ConfigurationError: The patches have another number of channels or another size.
        """
        expected = (self.in_channels, self.patch_size, self.patch_size)
        if tuple(image.shape[1:]) != expected:
            raise ConfigurationError(
                f"image must have shape (B, {', '.join(map(str, expected))}), got "
                f"{tuple(image.shape)}; build the classifier with the channels and the patch size "
                "of the data module"
            )
        pixels = rearrange(self.embed(image), "b d h w -> b (h w) d")
        tokens = torch.cat([self.class_token.expand(len(pixels), -1, -1), pixels], dim=1)
        tokens = tokens + self.position * self.position_scale
        for block in self.blocks:
            attention, feed_forward = block.children()
            tokens = tokens + attention(tokens)
            tokens = tokens + feed_forward(tokens)
        summary = tokens[:, 0]
        if self.readout == "centre":
            middle = self.patch_size // 2
            summary = summary + tokens[:, 1 + middle * self.patch_size + middle]
        logits: Tensor = self.head(summary)
        return logits
