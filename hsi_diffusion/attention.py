"""Attention in the form that is fastest where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention: fused, except where a CPU trains faster without.

    There the fused kernel's backward pass in bfloat16 takes 2 to 8 times as long as products and a
    softmax one by one, and a bias that is trained makes it fall back to a path that looks for rows
    without any key (seen with torch 2.13, with and without matrix instructions).

    Args:
        query: Shape (B, heads, M, D).
        key: Shape (B, heads, N, D).
        value: Shape (B, heads, N, D).
        bias: Added to the scores, broadcast to (B, heads, M, N); -inf leaves a key out, but not all
            of a query.

    Returns:
        Shape (B, heads, M, D), in the dtype of ``query``.
    """
    if bias is not None:
        # the fused kernels want it in the query's dtype, which autocast may have changed
        bias = bias.to(query.dtype)
    trained = torch.is_grad_enabled() and query.dtype == torch.bfloat16
    if query.device.type == "cpu" and (trained or (bias is not None and bias.requires_grad)):
        scores = query * query.shape[-1] ** -0.5 @ key.mT
        weights: Tensor = (scores if bias is None else scores + bias).softmax(dim=-1)
        return weights @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
