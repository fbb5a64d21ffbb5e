"""What the transformers are made of: attention, feed-forward layers, blocks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

import torch
from einops import einsum, rearrange, repeat
from torch import nn
from torch.nn import functional as F

from hsi_diffusion.attention import attend
from hsi_diffusion.options import check_at_least, check_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Attention(nn.Module):
    """Multi-head self-attention over tokens, fused.

    Dropout acts on the output. The attention weights get none: it would leave the fused kernels,
    four times slower on a CPU.
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
        normed = self.norm(tokens)
        query, key, value = (
            rearrange(F.linear(normed, weight), "b ... n (h d) -> b (... h) n d", h=self.heads)
            for weight in self.to_qkv.weight.chunk(3)
        )
        mask = None
        if bias is not None:
            mask = repeat(bias, "b ... n -> b (... h) 1 n", h=self.heads)
        mixed = attend(query, key, value, mask)
        joined = rearrange(mixed, "b (m h) n d -> b m n (h d)", h=self.heads)
        out: Tensor = self.to_out(joined if tokens.ndim == 4 else joined[:, 0])
        return out

    def at(self, tokens: Tensor, wanted: Sequence[int]) -> Tensor:
        """What :meth:`forward` gives at some tokens only, for a small part of the work.

        Keys and values of all tokens are never made. Queries are carried through the key weights
        once and compared with the tokens themselves, and the value weights are applied to what the
        queries gathered; the result is the same up to rounding.

        Args:
            tokens: Shape (B, N, dim).
            wanted: Numbers of M tokens.

        Returns:
            Shape (B, M, dim), without the residual.
        """
        normed = self.norm(tokens)
        to_query, to_key, to_value = (
            rearrange(weight, "(h d) c -> h d c", h=self.heads)
            for weight in self.to_qkv.weight.chunk(3)
        )
        query = einsum(
            at_tokens(normed, wanted), to_query, to_key, "b m c, h d c, h d e -> b h m e"
        )
        logits = einsum(query, normed, "b h m e, b n e -> b h m n") * to_query.shape[1] ** -0.5
        gathered = einsum(logits.softmax(dim=-1), normed, "b h m n, b n e -> b h m e")
        mixed = einsum(gathered, to_value, "b h m e, h d e -> b m h d")
        out: Tensor = self.to_out(mixed.flatten(2))
        return out


def at_tokens(tokens: Tensor, wanted: Sequence[int]) -> Tensor:
    """Some of the tokens, (B, N, C) -> (B, M, C); an index would be sent to a card each time."""
    return torch.stack([tokens[:, number] for number in wanted], dim=1)


class CrossAttention(nn.Module):
    """Multi-head attention from tokens to other tokens, fused; sizes as in :class:`Attention`."""

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
        mask = None if bias is None else bias[:, None, None, :]
        mixed = attend(query, key, value, mask)
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


@dataclass(frozen=True)
class TransformerSizes:
    """Sizes of a transformer.

    Attributes:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Attention heads per block.
        head_dim: Channels of a head.
        mlp_dim: Hidden channels of the feed-forward layers.
        dropout: Dropout inside the blocks.

    Raises:
        ConfigurationError: A size is below 1, or ``dropout`` is not from 0 to below 1.
    """

    dim: int
    depth: int
    heads: int
    head_dim: int
    mlp_dim: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = asdict(self)
        check_range("at least 0 and below 1", dropout=sizes.pop("dropout"))
        check_at_least(1, **sizes)


class TransformerBlock(nn.ModuleList):
    """Attention, then a feed-forward layer, each pre-norm and added to what was there.

    A list of the two; an encoder that appends a module to it applies that module itself.
    """

    def __init__(self, sizes: TransformerSizes) -> None:
        dim, dropout = sizes.dim, sizes.dropout
        attention = Attention(dim, sizes.heads, sizes.head_dim, dropout)
        super().__init__([attention, FeedForward(dim, sizes.mlp_dim, dropout)])

    def forward(self, tokens: Tensor, wanted: Sequence[int] | None = None) -> Tensor:
        """Run the block on (B, N, dim), and give the wanted tokens, (B, M, dim); None: all."""
        attention = cast("Attention", self[0])
        if wanted is None:
            tokens = tokens + attention(tokens)
        else:
            tokens = at_tokens(tokens, wanted) + attention.at(tokens, wanted)
        output: Tensor = tokens + self[1](tokens)
        return output


class TransformerEncoder(nn.ModuleList):
    """Transformer blocks, one after the other.

    A list of :class:`TransformerBlock`, so that a state dict numbers them: ``0.1`` is the
    feed-forward layer of the first block.
    """

    def __init__(self, sizes: TransformerSizes) -> None:
        super().__init__(TransformerBlock(sizes) for _ in range(sizes.depth))

    def forward(self, tokens: Tensor, wanted: Sequence[int] | None = None) -> Tensor:
        """Run the blocks.

        Args:
            tokens: Shape (B, N, dim).
            wanted: Numbers of the M tokens to return: the last block leaves out what only the
                others need. None: all.

        Returns:
            Shape (B, M, dim).
        """
        last = len(self) - 1
        for number, block in enumerate(self):
            tokens = block(tokens, wanted if number == last else None)
        return tokens
