"""The denoiser of single pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from hsi_diffusion import DiffusionPretrainModule
from hsi_diffusion.denoisers import FeatureLevel, PixelDenoiser
from hsi_diffusion.errors import ConfigurationError

from .attention import images, lively

T = torch.tensor([3, 470])


def test_no_neighbour_is_seen() -> None:
    network = lively(PixelDenoiser(5, 8))
    x = images(2, 5, 6, 7)
    alone = torch.cat([network(x[:, :, 2:3, i : i + 1], T) for i in range(7)], dim=3)
    torch.testing.assert_close(network(x, T)[:, :, 2:3], alone)
    assert network.radius == 0


def test_levels_are_blurred_features() -> None:
    network = lively(PixelDenoiser(5, 8, blurs=(0, 1.5)))
    assert network.feature_info == (
        FeatureLevel("blur0", 8, radius=0),
        FeatureLevel("blur1.5", 8, radius=6),
    )
    plain, blurred = network.forward_intermediates(images(2, 5, 24, 20), T, [0, 1])
    values, ones = plain.detach().numpy(), np.ones((24, 20))
    sums = gaussian_filter(values, (0, 0, 1.5, 1.5), mode="constant")
    expected = sums / gaussian_filter(ones, 1.5, mode="constant")
    np.testing.assert_allclose(blurred.detach().numpy(), expected, atol=1e-6)


def test_views_of_one_pixel_can_be_contrasted() -> None:
    contrast = {"instance": 1.0, "cluster": 0.0, "cell": 0, "shift": 3, "level": 0}
    module = DiffusionPretrainModule(5, denoiser=PixelDenoiser(5, 8), contrast=contrast)
    assert module.contrast is not None
    first, second = module.contrast.views(images(6, 5, 4, 4), torch.Generator())
    assert first.shape == second.shape == (6, 5, 1, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"blurs": [-1]}, r"blurs must hold at least one width from 0, got \[-1\]"),
    ],
)
def test_impossible_sizes_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PixelDenoiser(5, **settings)
