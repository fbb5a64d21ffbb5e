from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from hsi_diffusion.networks import CNN3D
from tests.gradients import assert_learns_in_bfloat16
from tests.networks.loops import convolved, settle


@pytest.mark.parametrize(("bands", "side"), [(8, 4), (7, 5), (2, 1)])
def test_against_plain_loops(bands: int, side: int) -> None:
    torch.manual_seed(0)
    network = CNN3D(bands, 3, side, channels=(2, 3))
    settle(network)
    image = torch.randn(2, bands, side, side)
    found = network(image).detach().double().numpy()
    weight, bias = (p.detach().double().numpy() for p in network.head.parameters())
    for number in range(2):
        hidden = image[number][None]
        for block in network.blocks:
            layer, norm, *_ = block.children()
            hidden = torch.as_tensor(halved(convolved(hidden, layer, norm)))
        logits = weight @ hidden.numpy().ravel() + bias
        np.testing.assert_allclose(found[number], logits, atol=1e-5, rtol=1e-4)


def halved(volume: np.ndarray) -> np.ndarray:
    """Means over cubes of side 2; at the far ends, of what there is."""
    places = [range(0, size, 2) for size in volume.shape[1:]]
    out = np.zeros((len(volume), *(len(place) for place in places)))
    for channel, z, y, x in product(range(len(volume)), *places):
        cube = volume[channel, z : z + 2, y : y + 2, x : x + 2]
        out[channel, z // 2, y // 2, x // 2] = cube.mean()
    return out


@pytest.mark.parametrize(("bands", "side", "left"), [(200, 9, 25 * 2 * 2), (103, 1, 13), (2, 7, 1)])
def test_number_of_weights(bands: int, side: int, left: int) -> None:
    convolutions = 27 * (8 + 8 * 16 + 16 * 32)
    expected = convolutions + 2 * (8 + 16 + 32) + 32 * left * 16 + 16
    assert sum(p.numel() for p in CNN3D(bands, 16, side).parameters()) == expected


@pytest.mark.parametrize("bands", [2, 3, 4, 5, 8])
def test_bfloat16_learns_what_float32_learns(bands: int) -> None:
    """Blocks over 2 bands: the gradients that some CPUs make noise of."""
    torch.manual_seed(0)
    network = CNN3D(bands, 3, 9)
    settle(network)  # a norm by the batch would blow up roundings where values hardly differ
    image = torch.randn(4, bands, 9, 9)
    # not with cast weights: torch has no average pooling of bfloat16 volumes on a CPU
    assert_learns_in_bfloat16(
        network, lambda net, dtype: net(image.to(dtype)), ("0.weight",), cast=False
    )
