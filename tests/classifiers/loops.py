"""The formulas as plain loops, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, heads: int, bias: Tensor | None = None
) -> Tensor:
    """softmax(q k / sqrt(d) + bias) v, head by head: (N, C), (M, C), (M, C), (M,) to (N, C)."""
    query, key, value = query.detach(), key.detach(), value.detach()
    width = query.shape[1] // heads
    out = torch.zeros(len(query), query.shape[1])
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(query)):
            scores = [float(query[i, part] @ key[j, part]) / width**0.5 for j in range(len(key))]
            if bias is not None:
                scores = [score + float(b) for score, b in zip(scores, bias, strict=True)]
            weights = torch.tensor(scores).softmax(dim=0)
            for j in range(len(key)):
                out[i, part] += weights[j] * value[j, part]
    return out
