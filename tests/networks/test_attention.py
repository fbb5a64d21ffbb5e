"""Attention against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks.attention import (
    Attention,
    CrossAttention,
    FeedForward,
    TransformerEncoder,
    TransformerSizes,
)
from hsi_diffusion.networks.cross_layer import CrossLayerEncoder
from tests.networks.loops import attend


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


def test_attention_in_bfloat16_learns_what_float32_does() -> None:
    torch.manual_seed(0)
    attention = Attention(8, heads=2, head_dim=4)
    tokens, bias = torch.randn(3, 5, 8), torch.randn(3, 5)
    gradients: list[torch.Tensor] = []
    for reduced in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            mixed = attention(tokens, bias)
        assert mixed.dtype == (torch.bfloat16 if reduced else torch.float32)
        loss = mixed.float().square().sum()
        gradients += torch.autograd.grad(loss, [attention.to_qkv.weight])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.1, atol=0.05)


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


def test_encoder_adds_attention_then_feed_forward_block_by_block() -> None:
    torch.manual_seed(0)
    encoder = TransformerEncoder(
        TransformerSizes(6, 2, heads=2, head_dim=3, mlp_dim=4, dropout=0.5)
    )
    encoder.eval()
    tokens = torch.randn(2, 5, 6)
    expected = tokens
    for block in range(2):
        attention = encoder.get_submodule(f"{block}.0")
        feed_forward = encoder.get_submodule(f"{block}.1")
        assert isinstance(attention, Attention)
        assert isinstance(feed_forward, FeedForward)
        expected = expected + attention(expected)
        expected = expected + feed_forward(expected)
    torch.testing.assert_close(encoder(tokens), expected)


def test_encoder_sizes_below_1_are_named() -> None:
    with pytest.raises(ConfigurationError, match="depth must be at least 1, got 0"):
        TransformerSizes(dim=6, depth=0, heads=2, head_dim=3, mlp_dim=4)


@pytest.mark.parametrize("wanted", [[0], [3, 1], list(range(5))])
def test_tokens_that_are_asked_for_are_those_of_the_whole(wanted: list[int]) -> None:
    torch.manual_seed(0)
    for encoder in (
        TransformerEncoder(TransformerSizes(dim=6, depth=2, heads=2, head_dim=3, mlp_dim=4)),
        CrossLayerEncoder(5, TransformerSizes(dim=6, depth=3, heads=2, head_dim=3, mlp_dim=4)),
    ):
        whole = torch.randn(2, 5, 6, requires_grad=True)
        part = whole.detach().clone().requires_grad_()
        expected, found = encoder(whole)[:, wanted], encoder(part, wanted)
        torch.testing.assert_close(found, expected)
        (expected**2).sum().backward()
        gradients = [weight.grad for weight in encoder.parameters()]
        encoder.zero_grad()
        (found**2).sum().backward()
        torch.testing.assert_close(part.grad, whole.grad)
        torch.testing.assert_close([weight.grad for weight in encoder.parameters()], gradients)
