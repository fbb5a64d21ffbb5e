"""The 3-D U-Net against a straight-line reference, and what the library promises about it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from hsi_diffusion.denoisers import UNet3D
from hsi_diffusion.errors import ConfigurationError
from tests.gradients import assert_learns_in_bfloat16

from . import reference_unet3d
from .attention import images
from .reference_unet3d import lively

T = torch.tensor([3, 470])


def test_published_size_and_names() -> None:
    network = UNet3D(200)
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_299_633
    norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    layers = {name: {"weight", "bias"} for name in ("time_mlp", "conv1", "transform", "conv2")}
    layers |= {"bnorm1": norm, "bnorm2": norm}
    names = {
        f"{side}.{i}.{layer}.{part}"
        for side in ("downs", "ups")
        for i in range(3)
        for layer, parts in layers.items()
        for part in parts
    }
    names |= {f"{n}.{p}" for n in ("time_mlp.1", "conv0", "output") for p in ("weight", "bias")}
    assert set(network.state_dict()) == names
    channels = [(level.channels, level.radius) for level in network.feature_info]
    assert channels == [(6400, 13), (6400, 17), (6400, 21)]
    assert network.radius == 25


@pytest.mark.parametrize(("base", "depth", "time"), [(4, 3, 32), (6, 2, 8), (3, 1, 4)])
def test_same_as_the_straight_line(base: int, depth: int, time: int) -> None:
    network = lively(UNet3D(16, base, depth, time))
    x = images(2, 16, 6, 5)
    with torch.no_grad():
        output, levels = reference_unet3d.run(network.state_dict(), x, T)
        torch.testing.assert_close(network(x, T), output, rtol=1e-5, atol=1e-6)
        found = network.forward_intermediates(x, T, range(depth))
    for level, features, expected in zip(network.feature_info, found, levels, strict=True):
        torch.testing.assert_close(features, expected.flatten(1, 2), rtol=1e-5, atol=1e-6)
        assert features.shape[1] == level.channels


def test_same_gradients_as_the_straight_line_in_training() -> None:
    network = lively(UNet3D(8, 2, depth=2)).train()
    x = images(2, 8, 5, 5)
    names, parameters = zip(*network.named_parameters(), strict=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = torch.autograd.grad(network(x, T).abs().mean(), parameters)

    leaves = {name: before[name].clone().requires_grad_() for name in names}
    output, _ = reference_unet3d.run(before | leaves, x, T, training=True)
    expected = torch.autograd.grad(output.abs().mean(), list(leaves.values()))
    for gradient, other in zip(found, expected, strict=True):
        # the timesteps are embedded in float32 in both, in another order
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=2e-6)


def test_float32_agrees_with_float64_at_the_published_width() -> None:
    network = lively(UNet3D(24))
    x = images(1, 24, 6, 6)
    with torch.no_grad():
        expected, levels = reference_unet3d.run(network.state_dict(), x, T[:1])
        network.float()
        found = network(x.float(), T[:1])
        (features,) = network.forward_intermediates(x.float(), T[:1], [0])
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features.double(), levels[0].flatten(1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [1, 2])
def test_radius_is_exactly_how_far_a_pixel_sees(depth: int) -> None:
    network = UNet3D(4, 1, depth).eval().double()
    for parameter in network.parameters():  # all positive, so that no ReLU hides a pixel
        nn.init.constant_(parameter, 0.1)
    radii = [*(level.radius for level in network.feature_info), network.radius]
    size = 2 * network.radius + 5
    centre = size // 2
    x = torch.ones(1, 4, size, size, dtype=torch.float64, requires_grad=True)
    maps = [*network.forward_intermediates(x, T[:1], range(depth)), network(x, T[:1])]
    for radius, result in zip(radii, maps, strict=True):
        (gradient,) = torch.autograd.grad(result[0, :, centre, centre].sum(), x, retain_graph=True)
        seen = (gradient[0] != 0).any(0).nonzero()
        assert seen.min().item() == centre - radius
        assert seen.max().item() == centre + radius


@pytest.mark.parametrize("num_bands", [1, 7, 8, 13])
@pytest.mark.parametrize("padding", ["repeat", "zeros"])
def test_bands_are_filled_up_and_cut_again(num_bands: int, padding: Any) -> None:
    network = lively(UNet3D(num_bands, 2, band_padding=padding))
    x = images(2, num_bands, 4, 4)
    extra = -num_bands % 8
    filling = x[:, -1:].repeat(1, extra, 1, 1) * (padding == "repeat")
    output, levels = reference_unet3d.run(network.state_dict(), torch.cat([x, filling], 1), T)
    torch.testing.assert_close(network(x, T), output[:, :num_bands], rtol=1e-5, atol=1e-6)
    for features, level, expected in zip(
        network.forward_intermediates(x, T, [0, 1, 2]), network.feature_info, levels, strict=True
    ):
        torch.testing.assert_close(features, expected.flatten(1, 2), rtol=1e-5, atol=1e-6)
        assert features.shape[1] == level.channels


def test_eval_leaves_the_statistics_alone_and_training_moves_them() -> None:
    network = UNet3D(8, 2)
    x = images(2, 8, 4, 4).float()
    before = copy.deepcopy(network.state_dict())
    network.eval()
    network(x, T)
    network.forward_intermediates(x, T, [0, 2])
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    network.train()
    features = network.forward_intermediates(x, T, [0, 2])
    moved = [
        name
        for name, value in network.state_dict().items()
        if name.endswith("num_batches_tracked") and value == 1
    ]
    assert len(moved) == 2 * 5  # the last up block is not needed
    gradient = torch.autograd.grad(features[0].square().mean(), [network.conv0.weight])[0]
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("bands", [8, 16])
def test_bfloat16_learns_what_float32_learns(bands: int, cast: bool) -> None:
    """Blocks over 2 bands: the gradients that some CPUs make noise of."""
    network = lively(UNet3D(bands, 4)).float()
    x = images(2, bands, 6, 6).float()
    assert_learns_in_bfloat16(
        network, lambda net, dtype: net(x.to(dtype), T), ("conv1.weight", "conv2.weight"), cast=cast
    )


def test_half_precision_weights_do_not_blur_the_timesteps() -> None:
    embed = UNet3D(8, 2).time_mlp.bfloat16()
    with torch.no_grad():
        embedded = embed(torch.arange(490, 500))
    distances = (embedded[1:] - embedded[:-1]).float().norm(dim=1)
    assert distances.min() > 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_channels": 0}, "base_channels must be at least 1, got 0"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"band_padding": "mirror"}, "repeat, zeros, got 'mirror'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        UNet3D(8, **settings)
