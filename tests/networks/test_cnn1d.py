from __future__ import annotations

import numpy as np
import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import CNN1D
from tests.networks.loops import convolved, settle


@pytest.mark.parametrize(("bands", "kernel", "pool"), [(12, 3, 4), (11, 5, 4), (2, 11, 5)])
def test_against_plain_loops(bands: int, kernel: int, pool: int) -> None:
    torch.manual_seed(0)
    network = CNN1D(bands, 3, 3, channels=4, kernel_size=kernel, pool=pool)
    settle(network)
    image = torch.randn(2, bands, 3, 3)
    found = network(image).detach().double().numpy()
    weight, bias = (p.detach().double().numpy() for p in network.layers[5].parameters())
    for number in range(2):
        layer, norm = network.layers[0], network.layers[1]
        hidden = convolved(image[number, None, :, 1, 1], layer, norm)
        pooled = [[row[i : i + pool].mean() for i in range(0, bands, pool)] for row in hidden]
        np.testing.assert_allclose(
            found[number], weight @ np.concatenate(pooled) + bias, atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize(("bands", "pooled"), [(200, 40), (103, 21), (2, 1)])
def test_number_of_weights(bands: int, pooled: int) -> None:
    expected = 20 * 11 + 2 * 20 + 20 * pooled * 16 + 16
    assert sum(p.numel() for p in CNN1D(bands, 16).parameters()) == expected


def test_an_even_kernel_is_named() -> None:
    with pytest.raises(ConfigurationError, match="kernel_size must be odd, got 4"):
        CNN1D(20, 3, kernel_size=4)
