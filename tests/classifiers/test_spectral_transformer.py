from __future__ import annotations

from typing import Any

import pytest
import torch

from hsi_diffusion.classifiers import SpectralTransformer
from hsi_diffusion.errors import ConfigurationError


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
        ({"readout": "mean"}, "'class' or 'centre', got 'mean'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"in_channels": 4, "num_classes": 2, **settings}
    with pytest.raises(ConfigurationError, match=message):
        SpectralTransformer(**arguments)


def test_wrong_patches_are_named() -> None:
    network = SpectralTransformer(4, 2, 5, heads=1, head_dim=4)
    with pytest.raises(ConfigurationError, match=r"\(B, 4, 5, 5\), got \(2, 4, 7, 7\)"):
        network(torch.zeros(2, 4, 7, 7))
