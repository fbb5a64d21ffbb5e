from __future__ import annotations

import torch
from torch import nn

from hsi_diffusion.networks import MiniGCN
from tests.networks.loops import settle


def test_is_a_graph_convolution_after_a_batch_norm() -> None:
    """What the reading rests on: ReLU(BN(A BN(X) W)) is what the network makes of A X."""
    torch.manual_seed(0)
    network = MiniGCN(5, 3, 1, channels=7)
    settle(network)
    first, graph, second, _, _, last = network.layers.double()
    assert isinstance(graph, nn.Linear)
    spectra = torch.randn(20, 5, dtype=torch.float64)
    weights = torch.rand(20, 20, dtype=torch.float64)
    weights = weights / weights.sum(dim=1, keepdim=True)
    found = network((weights @ spectra)[..., None, None])
    hidden = second(weights @ first(spectra) @ graph.weight.T)
    torch.testing.assert_close(found, last(hidden.clamp_min(0)))


def test_number_of_weights() -> None:
    expected = 2 * 200 + 200 * 128 + 2 * 128 + 128 * 16 + 16
    assert sum(p.numel() for p in MiniGCN(200, 16).parameters()) == expected
