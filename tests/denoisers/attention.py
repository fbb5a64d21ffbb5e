"""Attention modules again, as loops over pixels and groups, for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsi_diffusion.denoisers.sgsad import GroupAttention
    from hsi_diffusion.denoisers.ssad import WindowAttention

Network = TypeVar("Network", bound=nn.Module)


def lively(module: Network, std: float = 0.3) -> Network:
    """In eval mode, in float64, with every weight random, gates and biases included."""
    random = torch.Generator().manual_seed(0)
    module.eval().double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std, generator=random)
    return module


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def attend(query: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], bias: Tensor) -> Tensor:
    """One query's softmax-weighted sum of values."""
    scores = torch.stack([query @ key for key in keys]) / len(query) ** 0.5 + bias
    return sum(
        (weight * value for weight, value in zip(scores.softmax(0), values, strict=True)),
        torch.zeros_like(values[0]),
    )


def window_attention(module: WindowAttention, x: Tensor) -> Tensor:
    """``module(x)``: every pixel looks at the pixels that share its window."""
    batch, height, width, channels = x.shape
    window, shift, size = module.window, module.shift, channels // module.heads
    query, key, value = module.to_qkv(x).split(channels, dim=-1)
    mixed = torch.zeros_like(x)
    pixels = [(row, column) for row in range(height) for column in range(width)]
    for image in range(batch):
        for row, column in pixels:
            seen = [
                (r, c)
                for r, c in pixels
                if (r - shift) // window == (row - shift) // window
                and (c - shift) // window == (column - shift) // window
            ]
            for head in range(module.heads):
                part = slice(head * size, (head + 1) * size)
                side = 2 * window - 1
                bias = torch.stack(
                    [
                        module.bias[head, (row - r + window - 1) * side + column - c + window - 1]
                        for r, c in seen
                    ]
                )
                mixed[image, row, column, part] = attend(
                    query[image, row, column, part],
                    [key[image, r, c, part] for r, c in seen],
                    [value[image, r, c, part] for r, c in seen],
                    bias,
                )
    output: Tensor = module.to_out(mixed)
    return output


def group_attention(module: GroupAttention, x: Tensor) -> Tensor:
    """``module(x)``: every group of channels looks at the groups of its pixel."""
    channels = x.shape[-1]
    size = channels // module.groups
    pixels = x.reshape(-1, channels)
    mixed = torch.zeros_like(pixels)
    for pixel, numbers in enumerate(pixels):
        tokens = [
            (numbers[group * size : (group + 1) * size] @ module.qkv_weight[group])
            + module.qkv_bias[group, 0]
            for group in range(module.groups)
        ]
        keys = [token[size : 2 * size] for token in tokens]
        values = [token[2 * size :] for token in tokens]
        for group, token in enumerate(tokens):
            mixed[pixel, group * size : (group + 1) * size] = attend(
                token[:size], keys, values, torch.zeros(module.groups, dtype=x.dtype)
            )
    output: Tensor = module.to_out(mixed.reshape(x.shape))
    return output
