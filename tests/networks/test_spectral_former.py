from __future__ import annotations

from typing import Any

import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import CrossLayerFusion, SpectralFormer

SMALL: dict[str, Any] = {"dim": 6, "depth": 3, "heads": 2, "head_dim": 3, "mlp_dim": 4}


@pytest.mark.parametrize(("bands", "side", "group"), [(7, 2, 3), (7, 1, 1), (5, 3, 7), (2, 1, 5)])
def test_against_a_plain_loop(bands: int, side: int, group: int) -> None:
    """Every token is a linear map of its group, around the ring; then the blocks; then the head."""
    torch.manual_seed(0)
    network = SpectralFormer(bands, 3, side, band_patch=group, **SMALL).eval()
    image = torch.randn(2, bands, side, side)
    weight, bias = network.embed.weight, network.embed.bias
    assert bias is not None
    rows = []
    for item in range(2):
        tokens = [network.class_token[0, 0]]
        for band in range(bands):
            token = bias.clone()
            for offset in range(group):
                neighbour = (band + offset - group // 2) % bands
                token = token + weight[:, :, offset] @ image[item, neighbour].flatten()
            tokens.append(token)
        rows.append(torch.stack(tokens) + network.position[0])
    classes = network.blocks(torch.stack(rows))[:, 0]
    centred = classes - classes.mean(dim=1, keepdim=True)
    normed = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    last = network.head[1]
    assert isinstance(last, torch.nn.Linear)
    expected = normed @ last.weight.T + last.bias
    torch.testing.assert_close(network(image), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("side", "fusion"), [(1, True), (7, True), (7, False)])
def test_published_size(side: int, fusion: bool) -> None:
    bands, classes, dim = 200, 16, 64
    embed = 3 * side**2 * dim + dim
    tokens = dim + (bands + 1) * dim
    attention = 2 * dim + dim * 3 * dim + dim * dim + dim
    feed_forward = 2 * dim + dim * 8 + 8 + 8 * dim + dim
    head = 2 * dim + dim * classes + classes
    mixes = 3 * 2 * (bands + 1) if fusion else 0
    network = SpectralFormer(bands, classes, side, fusion=fusion)
    expected = embed + tokens + 5 * (attention + feed_forward) + head + mixes
    assert sum(p.numel() for p in network.parameters()) == expected


def test_without_fusion_the_depth_is_free() -> None:
    network = SpectralFormer(4, 2, 3, **{**SMALL, "depth": 1}, fusion=False)
    assert not [module for module in network.modules() if isinstance(module, CrossLayerFusion)]
    assert network(torch.randn(2, 4, 3, 3)).shape == (2, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"band_patch": 2}, r"odd and from 1 to 2 \* in_channels \+ 1 = 9, got 2"),
        ({"band_patch": 11}, r"= 9, got 11"),
        ({"band_patch": -1}, r"= 9, got -1"),
        ({"depth": 2}, "depth must be at least 3 with cross-layer fusion.*, got 2"),
        ({"depth": 0, "fusion": False}, "depth must be at least 1, got 0"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SpectralFormer(4, 2, 3, **settings)
