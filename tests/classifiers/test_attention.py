"""Attention against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hsi_diffusion.classifiers.attention import Attention, CrossAttention, centre_pixel
from tests.classifiers.loops import attend


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("sequences", [(), (1,), (3,)])
def test_attention_against_plain_loops(sequences: tuple[int, ...], biased: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(dim=6, heads=2, head_dim=3).eval()
    tokens = torch.randn(2, *sequences, 4, 6)
    bias = torch.randn(2, *sequences, 4).log_softmax(dim=-1) if biased else None
    qkv = attention.to_qkv(attention.norm(tokens))
    rows = qkv.reshape(-1, 4, 18)
    weights = None if bias is None else bias.reshape(-1, 4)
    expected = torch.stack(
        [
            attend(
                *row.split(6, dim=-1), heads=2, bias=None if weights is None else weights[number]
            )
            for number, row in enumerate(rows)
        ]
    ).reshape(tokens.shape)
    torch.testing.assert_close(
        attention(tokens, bias), attention.to_out(expected), atol=1e-6, rtol=1e-4
    )


def test_attention_never_looks_at_a_token_of_bias_minus_infinity() -> None:
    torch.manual_seed(0)
    attention, tokens = Attention(dim=6, heads=2, head_dim=3), torch.randn(2, 3, 4, 6)
    bias = torch.tensor([0.0, 0.0, -torch.inf, -torch.inf]).expand(2, 3, 4)
    found = attention(tokens, bias)[..., :2, :]
    torch.testing.assert_close(found, attention(tokens[..., :2, :]))


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
