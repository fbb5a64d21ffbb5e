from __future__ import annotations

import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import (
    CrossLayerEncoder,
    CrossLayerFusion,
    CrossLayerTransformer,
    SpectralTransformer,
)

SIZES = {"dim": 8, "depth": 4, "heads": 2, "head_dim": 4, "mlp_dim": 8}


def test_number_of_weights() -> None:
    bands, classes, dim, side = 200, 16, 64, 11
    embed = bands * dim * 9 + dim + 2 * dim
    tokens = dim + (side**2 + 1) * dim + 1
    attention = 2 * dim + dim * 3 * dim + dim * dim + dim
    feed_forward = 2 * dim + dim * 8 + 8 + 8 * dim + dim
    head = dim * 128 + 128 + 2 * 128 + 128 * classes + classes
    fusion = 3 * 2 * (side**2 + 1)
    expected = embed + tokens + 5 * (attention + feed_forward) + head + fusion
    network = CrossLayerTransformer(bands, classes)
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize("readout", ["class", "centre"])
def test_is_the_spectral_transformer_around_other_blocks(readout: str) -> None:
    torch.manual_seed(0)
    plain = SpectralTransformer(3, 2, 4, **SIZES, readout=readout).eval()
    torch.manual_seed(0)
    network = CrossLayerTransformer(3, 2, 4, **SIZES, readout=readout).eval()
    image = torch.randn(5, 3, 4, 4)
    before = plain(image)
    assert torch.equal(network(image), before)
    assert isinstance(network.blocks, CrossLayerEncoder)
    for module in network.modules():
        if isinstance(module, CrossLayerFusion):
            torch.nn.init.normal_(module.weight)
    plain.blocks = network.blocks
    after = plain(image)
    assert torch.equal(network(image), after)
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 2}, "depth must be at least 3 with cross-layer fusion.*, got 2"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"readout": "mean"}, "one of class, centre, got 'mean'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CrossLayerTransformer(4, 2, **settings)  # type: ignore[arg-type]
