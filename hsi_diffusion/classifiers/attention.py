"""What the transformers share: attention, feed-forward layers, a trunk over a patch's pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange, repeat
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

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Mix the tokens of each sequence.

        Args:
            tokens: Shape (B, N, dim), or (B, M, N, dim) for M sequences of N tokens per item.
            bias: Added to the logits of each key, shape (B, N) or (B, M, N); -inf leaves a token
                out.

        Returns:
            The shape of ``tokens``, without the residual.
        """
        # sequences stand beside the heads: as items of the batch they would outgrow what a CUDA
        # grid can hold
        query, key, value = rearrange(
            self.to_qkv(self.norm(tokens)),
            "b ... n (three h d) -> three b (... h) n d",
            three=3,
            h=self.heads,
        )
        mask = None
        if bias is not None:
            # the fused kernels want the mask in the query's dtype, which autocast may have changed
            mask = repeat(bias.to(query.dtype), "b ... n -> b (... h) 1 n", h=self.heads)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined = rearrange(mixed, "b (m h) n d -> b m n (h d)", h=self.heads)
        out: Tensor = self.to_out(joined if tokens.ndim == 4 else joined[:, 0])
        return out


class CrossAttention(nn.Module):
    """Multi-head attention from tokens to other tokens, fused.

    Args:
        dim: Channels of a token.
        heads: Number of heads.
        head_dim: Channels of a head.
        dropout: Dropout on the output.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.norm_context = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * head_dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, dim), nn.Dropout(dropout))

    def forward(self, tokens: Tensor, context: Tensor, bias: Tensor | None = None) -> Tensor:
        """Let tokens gather from a context.

        Args:
            tokens: Shape (B, N, dim).
            context: Shape (B, M, dim).
            bias: Added to the logits of each token of the context, shape (B, M); -inf leaves it
                out.

        Returns:
            Shape (B, N, dim), without the residual.
        """
        query = rearrange(self.to_q(self.norm(tokens)), "b n (h d) -> b h n d", h=self.heads)
        key, value = rearrange(
            self.to_kv(self.norm_context(context)),
            "b m (two h d) -> two b h m d",
            two=2,
            h=self.heads,
        )
        # the fused kernels want the mask in the query's dtype, which autocast may have changed
        mask = None if bias is None else bias[:, None, None, :].to(query.dtype)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
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


class PatchTransformer(nn.Module):
    """Classify the centre pixel of a patch with a transformer over the patch's pixels.

    A class token and learned positions, times a learned scale that starts small, are added to the
    pixels' tokens; pre-norm transformer blocks; a two-layer head. Subclasses say how pixels become
    tokens.

    Args:
        embed: Module from patches (B, in_channels, P, P) to tokens (B, dim, P, P).
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        dim: Channels of a token.
        depth: Number of transformer blocks.
        heads: Attention heads per block.
        head_dim: Channels of a head.
        mlp_dim: Hidden channels of the feed-forward layers.
        dropout: Dropout inside the transformer.
        head_dropout: Dropout in the class head.
        readout: What the head sees: ``"class"``, the class token, or ``"centre"``, the sum of the
            class token and the centre pixel's token.

    Raises:
        ConfigurationError: ``readout`` is unknown.
    """

    def __init__(
        self,
        embed: nn.Module,
        in_channels: int,
        num_classes: int,
        patch_size: int,
        *,
        dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        mlp_dim: int,
        dropout: float,
        head_dropout: float,
        readout: str,
    ) -> None:
        super().__init__()
        if readout not in ("class", "centre"):
            raise ConfigurationError(f"readout must be 'class' or 'centre', got {readout!r}")
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.readout = readout
        self.embed = embed
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
        self.check_image(image)
        pixels = rearrange(self.embed(image), "b d h w -> b (h w) d")
        tokens = torch.cat([self.class_token.expand(len(pixels), -1, -1), pixels], dim=1)
        tokens = tokens + self.position * self.position_scale
        for block in self.blocks:
            attention, feed_forward = block.children()
            tokens = tokens + attention(tokens)
            tokens = tokens + feed_forward(tokens)
        summary = tokens[:, 0]
        if self.readout == "centre":
            summary = summary + tokens[:, 1 + centre_pixel(self.patch_size)]
        logits: Tensor = self.head(summary)
        return logits

    def check_image(self, image: Tensor) -> None:
        """Raise a ConfigurationError unless ``image`` holds patches as the network expects them."""
        expected = (self.in_channels, self.patch_size, self.patch_size)
        if tuple(image.shape[1:]) != expected:
            raise ConfigurationError(
                f"image must have shape (B, {', '.join(map(str, expected))}), got "
                f"{tuple(image.shape)}; build the classifier with the channels and the patch size "
                "of the data module"
            )


def check_sizes(**sizes: int) -> None:
    """Raise a ConfigurationError for the first size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ConfigurationError(f"{name} must be at least 1, got {size}")


def centre_pixel(patch_size: int) -> int:
    """Flat number of a patch's centre, row and column P // 2."""
    return patch_size // 2 * (patch_size + 1)
