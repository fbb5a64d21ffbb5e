from __future__ import annotations

from typing import Any

import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import SpectralTransformer


@pytest.mark.parametrize("readout", ["class", "centre"])
def test_shapes_and_gradients(readout: str) -> None:
    network = SpectralTransformer(6, 4, 5, heads=2, head_dim=8, readout=readout)
    logits = network(torch.randn(3, 6, 5, 5))
    assert logits.shape == (3, 4)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_published_size() -> None:
    """The number of weights, counted by hand from the published layers."""
    bands, classes, dim, inner = 1200, 16, 64, 20 * 64
    embed = bands * dim * 9 + dim + 2 * dim
    tokens = dim + (13 * 13 + 1) * dim + 1
    attention = 2 * dim + dim * 3 * inner + inner * dim + dim
    feed_forward = 2 * dim + dim * 8 + 8 + 8 * dim + dim
    head = dim * 128 + 128 + 2 * 128 + 128 * classes + classes
    network = SpectralTransformer(bands, classes)
    expected = embed + tokens + 2 * (attention + feed_forward) + head
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"readout": "mean"}, "one of class, centre, got 'mean'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"in_channels": 4, "num_classes": 2, **settings}
    with pytest.raises(ConfigurationError, match=message):
        SpectralTransformer(**arguments)


def test_earlier_checkpoints_load_and_answer_the_same() -> None:
    """Names and shapes of the weights, and what seed 0 makes of them."""
    torch.manual_seed(0)
    network = SpectralTransformer(6, 3, 3, dim=8, depth=2, heads=2, head_dim=4).eval()
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    block = [
        *("0.norm.weight", "0.norm.bias", "0.to_qkv.weight"),
        *("0.to_out.0.weight", "0.to_out.0.bias"),
        *(f"1.{layer}.{kind}" for layer in (0, 1, 4) for kind in ("weight", "bias")),
    ]
    assert list(network.state_dict()) == [
        *("class_token", "position", "position_scale", "embed.0.weight", "embed.0.bias"),
        *(f"embed.1.{name}" for name in norm),
        *(f"blocks.{number}.{name}" for number in (0, 1) for name in block),
        *("head.0.weight", "head.0.bias"),
        *(f"head.1.{name}" for name in norm),
        *("head.4.weight", "head.4.bias"),
    ]
    shapes = [tuple(weight.shape) for weight in network.state_dict().values()]
    assert shapes[:5] == [(1, 1, 8), (1, 10, 8), (), (8, 6, 3, 3), (8,)]
    assert shapes[10:21] == [
        *((8,), (8,), (24, 8), (8, 8), (8,)),
        *((8,), (8,), (8, 8), (8,), (8, 8), (8,)),
    ]
    found = network(torch.linspace(-1, 1, 2 * 6 * 9).reshape(2, 6, 3, 3))
    expected = [[-0.210547, -0.194076, -0.195475], [-0.270352, -0.24229, -0.103356]]
    torch.testing.assert_close(found, torch.tensor(expected), atol=2e-6, rtol=1e-5)
