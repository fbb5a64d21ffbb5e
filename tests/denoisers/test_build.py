"""Denoisers from a name, plain data, a class, a function, or an object."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from torch import nn

from hsi_diffusion.denoisers import DENOISERS, UNet3D, build_denoiser
from hsi_diffusion.errors import ConfigurationError


def small(num_bands: int) -> UNet3D:
    return UNet3D(num_bands, base_channels=2, depth=2)


@pytest.mark.parametrize(
    "given",
    [
        {"class_path": "UNet3D", "init_args": {"base_channels": 2, "depth": 2}},
        {"class_path": "hsi_diffusion.denoisers.UNet3D", "init_args": {"base_channels": 2,
                                                                       "depth": 2}},
        partial(UNet3D, base_channels=2, depth=2),
        small,
        small(12),
    ],
)  # fmt: skip
def test_every_form_gives_the_same_network(given: Any) -> None:
    network = build_denoiser(given, 12)
    assert isinstance(network, UNet3D)
    assert network.num_bands == 12
    assert len(network.downs) == 2
    assert network.feature_info[0].channels == 2 * 2 * 12


def test_an_object_is_used_as_it_is() -> None:
    network = small(12)
    assert build_denoiser(network, 12) is network


@pytest.mark.parametrize("name", sorted(DENOISERS))
def test_every_name_builds_with_its_defaults(name: str) -> None:
    assert type(build_denoiser(name, 8)) is DENOISERS[name]
    assert type(build_denoiser(DENOISERS[name], 8)).__name__ == name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "unet",
            "denoiser must be one of UNet3D, .*, PixelDenoiser, .* got 'unet'",
        ),
        (
            {"class_path": "UNet3D", "init_args": {"width": 8}},
            r"unknown setting denoiser\.width; allowed are base_channels, depth",
        ),
        (
            {"class_path": "UNet3D", "init_args": {"num_bands": 7}},
            r"denoiser\.num_bands must be 8 here, got 7",
        ),
        ({"class_path": "UNet3D", "init_args": {"depth": 0}}, "depth must be at least 1"),
        ({"class_path": "other.UNet3D"}, "denoiser must be one of UNet3D"),
        (small(7), "denoiser must be made for num_bands=8, got one for 7"),
        (print, "denoiser must make a Denoiser, but gave a NoneType"),
        (3, "denoiser must be a Denoiser"),
    ],
)
def test_what_does_not_exist_is_named(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_denoiser(given, 8)


def test_a_module_that_is_no_denoiser_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"denoiser must be a Denoiser.*got a Conv2d"):
        build_denoiser(nn.Conv2d(16, 16, 1), 16)
