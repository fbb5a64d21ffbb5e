"""Denoisers by name."""

from __future__ import annotations

from typing import Any

import pytest

from hsi_diffusion.denoisers import DENOISERS, UNet3D, build_denoiser
from hsi_diffusion.errors import ConfigurationError


def test_options_reach_the_network() -> None:
    network = build_denoiser("unet3d", 12, {"base_channels": 2, "depth": 2})
    assert isinstance(network, UNet3D)
    assert network.num_bands == 12
    assert len(network.downs) == 2
    assert network.feature_info[0].channels == 2 * 2 * 12


@pytest.mark.parametrize("name", sorted(DENOISERS))
def test_every_name_builds_with_its_defaults(name: str) -> None:
    assert type(build_denoiser(name, 8)) is DENOISERS[name]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet", {}, "denoiser must be one of unet3d, staged, unet2d, but 'unet'"),
        (
            "unet3d",
            {"width": 8},
            r"unknown setting denoiser_options\.width; allowed are base_channels, depth",
        ),
        ("unet3d", {"num_bands": 8}, r"unknown setting denoiser_options\.num_bands"),
        ("unet3d", {"depth": 0}, "depth must be at least 1"),
    ],
)
def test_what_does_not_exist_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_denoiser(name, 8, options)
