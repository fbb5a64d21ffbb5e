"""Attention against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hsi_diffusion.classifiers.attention import Attention, CrossAttention, centre_pixel
from tests.classifiers.loops import attend


def test_attention_against_plain_loops() -> None:
    torch.manual_seed(0)
    attention = Attention(dim=6, heads=2, head_dim=3).eval()
    tokens = torch.randn(2, 4, 6)
    query, key, value = attention.to_qkv(attention.norm(tokens)).split(6, dim=-1)
    expected = torch.stack([attend(query[b], key[b], value[b], heads=2) for b in range(2)])
    torch.testing.assert_close(attention(tokens), attention.to_out(expected))


@pytest.mark.parametrize("biased", [False, True])
def test_cross_attention_against_plain_loops(biased: bool) -> None:
    torch.manual_seed(0)
    attention = CrossAttention(dim=6, heads=2, head_dim=3).eval()
    tokens, context = torch.randn(2, 4, 6), torch.randn(2, 5, 6)
    bias = torch.randn(2, 5) if biased else None
    query = attention.to_q(attention.norm(tokens))
    key, value = attention.to_kv(attention.norm_context(context)).split(6, dim=-1)
    expected = torch.stack(
        [
            attend(query[b], key[b], value[b], heads=2, bias=None if bias is None else bias[b])
            for b in range(2)
        ]
    )
    torch.testing.assert_close(
        attention(tokens, context, bias), attention.to_out(expected), atol=1e-6, rtol=1e-5
    )


def test_a_bias_of_minus_infinity_leaves_a_token_out() -> None:
    attention = CrossAttention(dim=6, heads=2, head_dim=3)
    tokens, context = torch.randn(2, 4, 6), torch.randn(2, 3, 6)
    bias = torch.tensor([[0.0, 0.0, -torch.inf]]).expand(2, 3)
    found = attention(tokens, context, bias)
    torch.testing.assert_close(found, attention(tokens, context[:, :2]))
    with torch.autocast("cpu", torch.bfloat16):
        rough = attention(tokens, context, bias)
    assert F.mse_loss(rough.float(), found) < 1e-3


@pytest.mark.parametrize(("side", "expected"), [(1, 0), (3, 4), (4, 10), (5, 12)])
def test_centre_pixel_is_row_and_column_p_over_2(side: int, expected: int) -> None:
    assert centre_pixel(side) == expected
