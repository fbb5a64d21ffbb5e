"""The 3-D U-Net against a straight-line reference, and what the library promises about it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.denoisers import UNet3D
from hsi_diffusion.errors import ConfigurationError
from tests.gradients import assert_learns_in_bfloat16

from . import reference_unet3d

T = torch.tensor([3, 470])


def lively(network: UNet3D) -> UNet3D:
    """In eval mode, in float64, and with norms that do something, some with negative scale."""
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5, generator=random)
            module.running_var.uniform_(0.5, 2.0, generator=random)
            nn.init.uniform_(module.weight, -1.5, 1.5, generator=random)
            nn.init.uniform_(module.bias, -0.5, 0.5, generator=random)
    return network.eval().double()


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def spoil(module: nn.Module) -> None:
    """Make every result of a module not a number."""
    for parameter in module.parameters():
        nn.init.constant_(parameter, float("nan"))


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


@pytest.mark.parametrize("level", [0, 1, 2])
def test_nothing_beyond_the_level_is_computed(level: int) -> None:
    network = lively(UNet3D(8, 2))
    for up in list(network.ups)[level:]:
        spoil(up)
    spoil(network.output)
    features = network.forward_intermediates(images(2, 8, 4, 4), T, [level])
    assert torch.isfinite(features[0]).all()
    assert torch.isnan(network(images(2, 8, 4, 4), T)).all()


def test_levels_share_the_work_and_come_in_the_order_asked() -> None:
    network = lively(UNet3D(8, 2))
    calls = []
    for block in (*network.downs, *network.ups):
        block.register_forward_hook(lambda module, *_: calls.append(module))
    x = images(2, 8, 4, 4)
    together = network.forward_intermediates(x, T, [2, 0, 1, 2])
    assert len(calls) == len(set(calls)) == 5
    for index, features in zip([2, 0, 1, 2], together, strict=True):
        alone = network.forward_intermediates(x, T, [index])[0]
        torch.testing.assert_close(features, alone, rtol=0, atol=0)


def test_bottleneck_once_is_the_first_half_of_the_published_level() -> None:
    network = lively(UNet3D(16, 2))
    slim = lively(UNet3D(16, 2, repeat_bottleneck=False))
    slim.load_state_dict(network.state_dict())
    x = images(2, 16, 4, 4)
    published, found = (net.forward_intermediates(x, T, [0, 1]) for net in (network, slim))
    half = slim.feature_info[0].channels
    assert [level.channels for level in slim.feature_info] == [half, 2 * half, 2 * half]
    torch.testing.assert_close(found[0], published[0][:, :half], rtol=0, atol=0)
    torch.testing.assert_close(found[0], published[0][:, half:], rtol=0, atol=0)
    torch.testing.assert_close(found[1], published[1], rtol=0, atol=0)
    torch.testing.assert_close(slim(x, T), network(x, T), rtol=0, atol=0)


def test_the_numbers_of_one_pixel_stand_side_by_side() -> None:
    for features in UNet3D(8, 2).forward_intermediates(torch.zeros(2, 8, 4, 5), T, [0, 1, 2]):
        assert features.permute(0, 2, 3, 1).is_contiguous()


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


def test_a_tile_with_its_halo_is_exactly_the_whole() -> None:
    network = lively(UNet3D(4, 2, depth=1))
    x = images(1, 4, 24, 20)
    (whole,) = network.forward_intermediates(x, T[:1], [0])
    halo = network.feature_info[0].radius
    for rows in (slice(0, 12), slice(12, 24)):
        top, bottom = max(rows.start - halo, 0), min(rows.stop + halo, 24)
        (tile,) = network.forward_intermediates(x[:, :, top:bottom], T[:1], [0])
        inside = tile[:, :, rows.start - top : rows.stop - top]
        torch.testing.assert_close(inside, whole[:, :, rows], rtol=1e-10, atol=1e-12)


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


def test_timesteps_matter_per_image() -> None:
    network = lively(UNet3D(8, 2))
    x = images(1, 8, 4, 4).repeat(2, 1, 1, 1)
    output = network(x, T)
    assert not torch.allclose(output[0], output[1])
    torch.testing.assert_close(output[1:], network(x[1:], T[1:]), rtol=1e-10, atol=1e-12)


def test_bfloat16_is_close() -> None:
    network = lively(UNet3D(16, 4)).float()
    x = images(2, 16, 6, 6).float()
    with torch.no_grad():
        output = network(x, T)
        (features,) = network.forward_intermediates(x, T, [1])
        with torch.autocast("cpu", torch.bfloat16):
            low, (low_features,) = network(x, T), network.forward_intermediates(x, T, [1])
        cast = network.bfloat16()(x.bfloat16(), T)
    assert low.dtype == low_features.dtype == cast.dtype == torch.bfloat16
    for found, expected in ((low, output), (low_features, features), (cast, output)):
        error = (found.float() - expected).abs().max() / expected.abs().max()
        assert error < 0.05


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


def test_compiling_in_place_changes_neither_names_nor_results() -> None:
    network = lively(UNet3D(4, 2, depth=1))
    x = images(2, 4, 4, 4)
    names, expected = list(network.state_dict()), network(x, T)
    network.compile(backend="eager", fullgraph=True)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(x, T), expected, rtol=1e-6, atol=1e-8)


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    network = UNet3D(4, 4, depth=1)
    x = images(4, 4, 6, 6).float()
    t = torch.tensor([0, 10, 100, 499])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = F.l1_loss(network(x, t), x)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bands": 0}, "num_bands must be at least 1, got 0"),
        ({"base_channels": 0}, "base_channels must be at least 1, got 0"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"time_channels": 7}, "time_channels must be even and at least 4, but 7"),
        ({"time_channels": 2}, "time_channels must be even and at least 4, but 2"),
        ({"band_padding": "mirror"}, "repeat, zeros, but 'mirror'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        UNet3D(**({"num_bands": 8} | settings))
