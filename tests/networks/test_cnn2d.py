from __future__ import annotations

import numpy as np
import torch

from hsi_diffusion.networks import CNN2D
from tests.networks.loops import convolved, settle


def test_against_plain_loops() -> None:
    torch.manual_seed(0)
    network = CNN2D(5, 3, 4, channels=(4, 6))
    settle(network)
    image = torch.randn(2, 5, 4, 4)
    found = network(image).detach().double().numpy()
    weight, bias = (p.detach().double().numpy() for p in network.head.parameters())
    for number in range(2):
        hidden = image[number]
        for block in network.blocks:
            layer, norm, _ = block.children()
            hidden = torch.as_tensor(convolved(hidden, layer, norm))
        mean = hidden.mean(dim=(1, 2)).numpy()
        np.testing.assert_allclose(found[number], weight @ mean + bias, atol=1e-5, rtol=1e-4)


def test_number_of_weights() -> None:
    convolutions = 9 * (200 * 8 + 8 * 16 + 16 * 32)
    expected = convolutions + 2 * (8 + 16 + 32) + 32 * 16 + 16
    for side in (1, 9):
        assert sum(p.numel() for p in CNN2D(200, 16, side).parameters()) == expected
