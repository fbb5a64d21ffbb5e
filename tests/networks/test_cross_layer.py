from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import CrossLayerEncoder, CrossLayerFusion
from hsi_diffusion.networks.attention import TransformerEncoder, TransformerSizes

SIZES = TransformerSizes(dim=6, depth=5, heads=2, head_dim=3, mlp_dim=4)
N = 4


def mixing(seed: int = 0) -> CrossLayerEncoder:
    """An encoder in evaluation mode whose fusions mix, each in its own way."""
    torch.manual_seed(seed)
    encoder = CrossLayerEncoder(N, SIZES).eval()
    for module in encoder.modules():
        if isinstance(module, CrossLayerFusion):
            torch.nn.init.normal_(module.weight)
    return encoder


def test_fusion_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    fusion = CrossLayerFusion(N)
    torch.nn.init.normal_(fusion.weight)
    current, earlier = torch.randn(2, N, 3), torch.randn(2, N, 3)
    found = fusion(current, earlier)
    for item in range(2):
        for place in range(N):
            first, second = fusion.weight[place].tolist()
            expected = first * current[item, place] + second * earlier[item, place]
            torch.testing.assert_close(found[item, place], expected)


def test_blocks_against_a_plain_loop() -> None:
    encoder = mixing()
    tokens = torch.randn(2, N, 6)
    came = [tokens]  # came[i]: the tokens that come to block i
    for i in range(SIZES.depth):
        x = came[i]
        if i >= 2:
            x = encoder.get_submodule(f"{i}.2")(x, came[i - 2])
        x = x + encoder.get_submodule(f"{i}.0")(x)
        came.append(x + encoder.get_submodule(f"{i}.1")(x))
    torch.testing.assert_close(encoder(tokens), came[-1])


def test_starts_as_the_encoder_without_fusion() -> None:
    torch.manual_seed(0)
    plain = TransformerEncoder(SIZES)
    torch.manual_seed(0)
    encoder = CrossLayerEncoder(N, SIZES)
    tokens = torch.randn(2, N, 6)
    assert torch.equal(encoder(tokens), plain(tokens))
    missing, unexpected = encoder.load_state_dict(plain.state_dict(), strict=False)
    assert missing == ["2.2.weight", "3.2.weight", "4.2.weight"]
    assert not unexpected
    assert (mixing()(tokens) - plain(tokens)).abs().max() > 1e-2


def test_fusion_learns_from_the_start() -> None:
    encoder = CrossLayerEncoder(N, SIZES)
    encoder(torch.randn(2, N, 6)).square().sum().backward()
    for i in (2, 3, 4):
        weight = encoder.get_parameter(f"{i}.2.weight")
        assert weight.grad is not None
        assert (weight.grad != 0).all()


@pytest.mark.parametrize("depth", [1, 2])
def test_a_depth_without_any_fusion_is_named(depth: int) -> None:
    with pytest.raises(ConfigurationError, match=f"depth must be at least 3 .*, got {depth}"):
        CrossLayerEncoder(N, replace(SIZES, depth=depth))
