"""The 2-D U-Net: what the library promises about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hsi_diffusion.denoisers import FeatureLevel, UNet2D
from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings
from tests.denoisers.learning import learned_error
from tests.features.networks import extract_features

from .attention import images, lively

T = torch.tensor([3, 470])
SMALL: dict[str, Any] = {"channels": 4, "multipliers": (1, 2, 3), "time_channels": 8}


def small(num_bands: int = 5, **settings: Any) -> UNet2D:
    return lively(UNet2D(num_bands, **(SMALL | settings)))


def straight_line(network: UNet2D, x: Tensor, t: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Output and levels of a network of three grids with one block each, channels first."""
    state = network.state_dict()
    time = network.time(t)

    def layer(name: str, h: Tensor, **settings: Any) -> Tensor:
        weight = state[f"{name}.weight"]
        kernel = weight if weight.ndim == 4 else weight[:, :, None, None]
        return F.conv2d(h, kernel, state[f"{name}.bias"], **settings)

    def steered(name: str, h: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = state[f"{name}.modulation.weight"], state[f"{name}.modulation.bias"]
        scale, shift, gate = (time @ weight.T + bias)[:, :, None, None].chunk(3, dim=1)
        spread = (h.var(dim=1, correction=0, keepdim=True) + 1e-5).sqrt()
        return (h - h.mean(dim=1, keepdim=True)) / spread * (1 + scale) + shift, gate

    def block(name: str, h: Tensor) -> Tensor:
        normal, gate = steered(f"{name}.convolution", h)
        mixed = F.silu(layer(f"{name}.convolution.branch.conv", normal, padding=1))
        h = h + gate * layer(f"{name}.convolution.branch.linear", mixed)
        normal, gate = steered(f"{name}.mlp", h)
        hidden = F.gelu(layer(f"{name}.mlp.branch.0", normal))
        return h + gate * layer(f"{name}.mlp.branch.2", hidden)

    def up(name: str, h: Tensor, skip: Tensor) -> Tensor:
        doubled = h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        merged = torch.cat((layer(f"{name}.conv", doubled, padding=1), skip), dim=1)
        return block(f"{name}.blocks.blocks.0", layer(f"{name}.merge", merged))

    fine = block("finest.blocks.0", layer("stem", x))
    half = block("downs.0.blocks.blocks.0", layer("downs.0.halve", fine, stride=2))
    quarter = block("downs.1.blocks.blocks.0", layer("downs.1.halve", half, stride=2))
    up1 = up("ups.0", quarter, half)
    up2 = up("ups.1", up1, fine)
    return layer("head", up2), [quarter, up1, up2]


def test_levels_are_bottleneck_and_decoder() -> None:
    network = UNet2D(200)
    assert network.feature_info == (
        FeatureLevel("bottleneck", channels=256, reduction=4, radius=10),
        FeatureLevel("up1", channels=128, reduction=2, radius=14),
        FeatureLevel("up2", channels=64, reduction=1, radius=16),
    )
    assert network.radius == 16
    assert network.alignment == 4
    flat = UNet2D(200, 32, [2], blocks=3)
    assert flat.feature_info == (FeatureLevel("bottleneck", channels=64, radius=3),)
    assert flat.alignment == 1


def test_same_as_the_straight_line() -> None:
    network = small()
    x = images(2, 5, 8, 12)
    expected, levels = straight_line(network, x, T)
    output, features = network.forward_with_features(x, T, [2, 0, 1])
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(features, [levels[2], levels[0], levels[1]])
    torch.testing.assert_close(network(x, T), expected)
    torch.testing.assert_close(network.forward_intermediates(x, T, [1, 0]), [levels[1], levels[0]])


def test_fresh_blocks_are_the_identity() -> None:
    network = UNet2D(5, **SMALL)
    x = images(1, 5, 8, 8).float()
    stem = network.stem(x.permute(0, 2, 3, 1))
    torch.testing.assert_close(network.finest(stem, network.time(T[:1])), stem)
    assert network(x, T[:1]).std() > 0.1  # but the whole is not silent


@pytest.mark.parametrize("bands", [1, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (9, 6), (8, 13)])
@pytest.mark.parametrize("multipliers", [[1], [2, 1], [1, 2, 3]])
def test_any_number_of_bands_and_any_size(
    bands: int, size: tuple[int, int], multipliers: list[int]
) -> None:
    network = small(bands, multipliers=multipliers)
    x = images(2, bands, *size)
    output, features = network.forward_with_features(x, T, range(len(multipliers)))
    assert output.shape == x.shape
    assert torch.isfinite(output).all()
    for level, found in zip(network.feature_info, features, strict=True):
        rows, columns = (-(-length // level.reduction) for length in size)
        assert found.shape == (2, level.channels, rows, columns)
        assert found.permute(0, 2, 3, 1).stride(3) == 1  # one pixel's numbers stand side by side


def test_odd_sizes_are_those_of_repeated_edges() -> None:
    network = small()
    x = images(1, 5, 6, 9)
    rows, columns = torch.arange(8).clamp(max=5), torch.arange(12).clamp(max=8)
    expected, levels = straight_line(network, x[:, :, rows][:, :, :, columns], T[:1])
    output, features = network.forward_with_features(x, T[:1], [0, 1, 2])
    torch.testing.assert_close(output, expected[:, :, :6, :9])
    for found, level, (height, width) in zip(
        features, levels, [(2, 3), (3, 5), (6, 9)], strict=True
    ):
        torch.testing.assert_close(found, level[:, :, :height, :width])


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("multipliers", [(1,), (1, 1), (1, 2, 1)])
def test_radius_is_exactly_how_far_a_pixel_sees(multipliers: tuple[int, ...], blocks: int) -> None:
    network = small(2, channels=2, multipliers=multipliers, blocks=blocks)
    coarse = network.alignment
    middle = -(-network.radius // coarse) * coarse
    x = images(1, 2, 2 * middle + coarse, 1).requires_grad_()
    maps = network.forward_intermediates(x, T[:1], range(len(multipliers)))
    for level, result in zip(network.feature_info, maps, strict=True):
        size, furthest = level.reduction, 0
        for start in range(middle, middle + coarse, size):  # every place in the coarsest cell
            numbers = result[0, :, start // size].sum()
            (gradient,) = torch.autograd.grad(numbers, x, retain_graph=True)
            seen = (gradient[0, :, :, 0] != 0).any(0).nonzero()
            furthest = max(furthest, start + size - 1 - int(seen.min()), int(seen.max()) - start)
        assert furthest == level.radius
    assert network.radius == network.feature_info[-1].radius


@pytest.mark.parametrize(("tile", "blocks"), [(7, 1), (5, 1), (12, 2)])
@pytest.mark.parametrize("multipliers", [(1, 2), (1, 2, 1)])
def test_tiles_give_what_the_whole_scene_gives(
    tile: int, blocks: int, multipliers: tuple[int, ...]
) -> None:
    network = small(multipliers=multipliers, blocks=blocks)
    schedule = NoiseSchedule(20)
    cube = images(45, 38, 5)
    for level in range(len(multipliers)):
        whole, tiled = (
            extract_features(
                network,
                schedule,
                cube,
                FeatureSettings(timesteps=(12,), levels=(level,), noise="fixed", tile=side),
            )
            for side in (64, tile)
        )
        assert whole.shape == (45, 38, network.feature_info[level].channels)
        torch.testing.assert_close(tiled, whole)


def test_a_crop_that_starts_on_the_coarsest_grid_gives_what_the_scene_gives() -> None:
    network = small()
    x = images(1, 5, 64, 8)
    whole = network.forward_intermediates(x, T[:1], [0, 1, 2])
    crop = network.forward_intermediates(x[:, :, 8:58], T[:1], [0, 1, 2])
    for level, found, expected in zip(network.feature_info, crop, whole, strict=True):
        inside = slice(28 // level.reduction, 36 // level.reduction)
        torch.testing.assert_close(
            found[:, :, inside.start - 8 // level.reduction : inside.stop - 8 // level.reduction],
            expected[:, :, inside],
        )


@pytest.mark.parametrize("level", [0, 1, 2])
def test_nothing_beyond_the_level_is_computed(level: int) -> None:
    network = small()
    for module in (*list(network.ups)[level:], network.head):
        for parameter in module.parameters():
            nn.init.constant_(parameter, float("nan"))
    calls: list[nn.Module] = []
    for part in (network.finest, *network.downs, *network.ups):
        part.register_forward_hook(lambda module, *_: calls.append(module))
    features = network.forward_intermediates(images(2, 5, 4, 4), T, [level])
    assert torch.isfinite(features[0]).all()
    assert len(calls) == 3 + level
    assert torch.isnan(network(images(2, 5, 4, 4), T)).all()


def test_gradients_flow_through_output_and_features() -> None:
    network = small()
    output, (features,) = network.forward_with_features(images(2, 5, 8, 5), T, [0])
    encoder = [*network.finest.parameters(), *network.downs.parameters()]
    for result in (features, output):
        for gradient in torch.autograd.grad(result.square().sum(), encoder, retain_graph=True):
            assert gradient.abs().max() > 0
    later = torch.autograd.grad(
        features.square().sum(), list(network.ups.parameters()), allow_unused=True
    )
    assert all(gradient is None for gradient in later)


def test_timesteps_matter_per_image() -> None:
    network = small()
    x = images(1, 5, 4, 4).repeat(2, 1, 1, 1)
    output = network(x, T)
    assert not torch.allclose(output[0], output[1])
    torch.testing.assert_close(output[1:], network(x[1:], T[1:]))


@pytest.mark.parametrize(("bands", "cost"), [(24, 0.470e6), (200, 0.493e6)])
def test_default_costs_half_a_million_multiply_adds_per_pixel(bands: int, cost: float) -> None:
    network = UNet2D(bands).to("meta")  # shapes without numbers
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, bands, 64, 64, device="meta"), T[:1].to("meta"))
    assert counter.get_total_flops() / 2 / 64**2 == pytest.approx(cost, rel=0.01)


def medium() -> UNet2D:
    return lively(UNet2D(5, 8, (1, 2, 2), time_channels=8), std=0.15).float()


def laid_out(network: UNet2D, memory: torch.memory_format) -> UNet2D:
    laid: UNet2D = network.to(memory_format=memory)  # type: ignore[call-overload]
    return laid


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_is_close(memory: torch.memory_format) -> None:
    network = laid_out(medium(), memory)
    x = images(2, 5, 6, 9).float().contiguous(memory_format=memory)
    with torch.no_grad():
        expected = network.forward_with_features(x, T, [0, 1])
        with torch.autocast("cpu", torch.bfloat16):
            found = network.forward_with_features(x, T, [0, 1])
        cast = network.bfloat16().forward_with_features(x.bfloat16(), T, [0, 1])
    for output, features in (found, cast):
        for low, high in zip([output, *features], [expected[0], *expected[1]], strict=True):
            assert low.dtype == torch.bfloat16
            assert (low.float() - high).abs().max() / high.abs().max() < 0.06


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (6, 9), (16, 16)])
def test_bfloat16_learns_what_float32_learns(size: tuple[int, int]) -> None:
    network = medium()
    x = images(2, 5, *size).float()
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = network(x, T).float().square().mean()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for expected, found in zip(*gradients, strict=True):
        assert (found - expected).norm() <= 0.15 * expected.norm() + 1e-3


def test_channels_last_changes_nothing() -> None:
    network = small()
    x = images(2, 5, 8, 6)
    expected = network(x, T)
    laid_out(network, torch.channels_last)
    found = network(x.contiguous(memory_format=torch.channels_last), T)
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gpu_agrees_with_cpu(precision: torch.dtype) -> None:
    network = medium()
    x = images(2, 5, 6, 9).float()
    expected = torch.autograd.grad(network(x, T).square().mean(), network.stem.weight)[0]
    network.cuda()
    with torch.autocast("cuda", precision, enabled=precision != torch.float32):
        loss = network(x.cuda(), T.cuda()).float().square().mean()
    found = torch.autograd.grad(loss, network.stem.weight)[0].cpu()
    tolerance = 1e-3 if precision == torch.float32 else 0.1
    assert (found - expected).norm() < tolerance * expected.norm()


def test_compiling_in_place_changes_neither_names_nor_results() -> None:
    network = small(multipliers=(1, 2))
    x = images(2, 5, 6, 7)
    names, expected = list(network.state_dict()), network(x, T)
    network.compile(backend="eager", fullgraph=True)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(x, T), expected)


def test_learns_to_predict_x0_in_a_few_steps() -> None:
    torch.manual_seed(0)
    assert learned_error(UNet2D(6, 16, time_channels=32)) < 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bands": 0}, "num_bands must be at least 1, got 0"),
        ({"time_channels": 5}, "time_channels must be even and at least 4, but 5"),
        *[
            ({name: 0}, f"{name} must be at least 1, got 0")
            for name in ("channels", "blocks", "mlp_ratio")
        ],
        *[
            ({"multipliers": wrong}, "multipliers must hold a whole number from 1 for each grid")
            for wrong in ([], [1, 0], [1, 1.5], 3, "12")
        ],
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        UNet2D(**({"num_bands": 8} | settings))
