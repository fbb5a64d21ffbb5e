"""The staged denoiser: what the library promises about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hsi_diffusion.denoisers import FeatureLevel, StagedDenoiser
from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings
from tests.denoisers.learning import learned_error
from tests.features.networks import extract_features

from .attention import images, lively

T = torch.tensor([3, 470])
SMALL: dict[str, Any] = {"channels": 8, "window": 4, "heads": 2, "groups": 4, "time_channels": 8}


def small(num_bands: int = 5, **settings: Any) -> StagedDenoiser:
    return lively(StagedDenoiser(num_bands, **(SMALL | settings)))


def test_levels_are_the_stages() -> None:
    network = StagedDenoiser(200)
    assert network.feature_info == tuple(
        FeatureLevel(f"stage{i + 1}", channels=128, reduction=1, radius=7 + 4 * i) for i in range(4)
    )
    assert network.radius == 19
    assert network.alignment == 8
    pixelwise = StagedDenoiser(200, spatial=False)
    assert {level.radius for level in pixelwise.feature_info} == {0}
    assert pixelwise.alignment == 1


def test_output_is_that_of_the_parts_in_order() -> None:
    network = small(stages=2)
    x = images(2, 5, 6, 7)
    time = network.time(T)
    h = network.stem(x.permute(0, 2, 3, 1))
    levels = []
    for stage in network.stages:
        assert isinstance(stage.ssad, nn.Module)
        assert isinstance(stage.sgsad, nn.Module)
        h = stage.sgsad(stage.ssad(h, time), time)
        levels.append(h.permute(0, 3, 1, 2))
    output, features = network.forward_with_features(x, T, [1, 0])
    torch.testing.assert_close(output, network.head(h).permute(0, 3, 1, 2))
    torch.testing.assert_close(features, levels[::-1])
    torch.testing.assert_close(network(x, T), output)
    torch.testing.assert_close(network.forward_intermediates(x, T, [1, 0]), features)


@pytest.mark.parametrize("bands", [1, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (9, 6), (8, 13)])
@pytest.mark.parametrize("part", [{}, {"spatial": False}, {"spectral": False}])
def test_any_number_of_bands_and_any_size(
    bands: int, size: tuple[int, int], part: dict[str, bool]
) -> None:
    network = small(bands, stages=2, **part)
    x = images(2, bands, *size)
    output, features = network.forward_with_features(x, T, [0, 1])
    assert output.shape == x.shape
    assert [level.shape for level in features] == [(2, 8, *size)] * 2
    assert torch.isfinite(output).all()


@pytest.mark.parametrize(
    ("switch", "left"), [({"spatial": False}, "sgsad"), ({"spectral": False}, "ssad")]
)
def test_switches_take_parts_off(switch: dict[str, bool], left: str) -> None:
    names = {name.split(".")[2] for name, _ in small(**switch).stages.named_parameters("stages")}
    assert names == {left}


def test_half_of_the_windows_are_shifted() -> None:
    shifts = [stage.ssad.attention.branch.shift for stage in StagedDenoiser(3, stages=4).stages]  # type: ignore[union-attr]
    assert shifts == [0, 4, 0, 4]


@pytest.mark.parametrize("window", [1, 3, 4])
def test_radius_is_exactly_how_far_a_pixel_sees(window: int) -> None:
    network = small(2, stages=3, window=window)
    size = window + 2 * network.radius
    x = images(1, 2, size, 1).requires_grad_()
    maps = network.forward_intermediates(x, T[:1], range(3))
    for level, result in zip(network.feature_info, maps, strict=True):
        furthest = 0
        for row in range(network.radius, network.radius + window):  # every place in a window
            (gradient,) = torch.autograd.grad(result[0, :, row].sum(), x, retain_graph=True)
            seen = (gradient[0, :, :, 0] != 0).any(0).nonzero()
            furthest = max(furthest, row - int(seen.min()), int(seen.max()) - row)
        assert furthest == level.radius


@pytest.mark.parametrize(("tile", "window"), [(7, 4), (5, 4), (9, 3), (13, 8)])
def test_tiles_give_what_the_whole_scene_gives(tile: int, window: int) -> None:
    network = small(stages=3, window=window)
    schedule = NoiseSchedule(20)
    cube = images(19, 26, 5)
    for level in range(3):
        whole, tiled = (
            extract_features(
                network,
                schedule,
                cube,
                FeatureSettings(timesteps=(12,), levels=(level,), noise="fixed", tile=side),
            )
            for side in (64, tile)
        )
        torch.testing.assert_close(tiled, whole)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_nothing_beyond_the_level_is_computed(level: int) -> None:
    network = small(stages=3)
    for module in (*list(network.stages)[level + 1 :], network.head):
        for parameter in module.parameters():
            nn.init.constant_(parameter, float("nan"))
    calls: list[nn.Module] = []
    for stage in network.stages:
        stage.register_forward_hook(lambda module, *_: calls.append(module))
    features = network.forward_intermediates(images(2, 5, 4, 4), T, [level])
    assert torch.isfinite(features[0]).all()
    assert len(calls) == level + 1
    assert torch.isnan(network(images(2, 5, 4, 4), T)).all()


def test_the_numbers_of_one_pixel_stand_side_by_side() -> None:
    for features in small(stages=2).forward_intermediates(images(2, 5, 4, 5), T, [0, 1]):
        assert features.permute(0, 2, 3, 1).is_contiguous()


def test_gradients_flow_through_output_and_features() -> None:
    network = small(stages=2)
    output, (features,) = network.forward_with_features(images(2, 5, 4, 5), T, [0])
    last = network.stages[1].parameters()
    first = list(network.stages[0].parameters())
    assert all(
        gradient is None
        for gradient in torch.autograd.grad(
            features.square().sum(), list(last), retain_graph=True, allow_unused=True
        )
    )
    for result in (features, output):
        for gradient in torch.autograd.grad(result.square().sum(), first, retain_graph=True):
            assert gradient.abs().max() > 0


def test_timesteps_matter_per_image() -> None:
    network = small()
    x = images(1, 5, 4, 4).repeat(2, 1, 1, 1)
    output = network(x, T)
    assert not torch.allclose(output[0], output[1])
    torch.testing.assert_close(output[1:], network(x[1:], T[1:]))


def multiply_adds(network: StagedDenoiser, side: int) -> float:
    """Per pixel, forward."""
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, network.num_bands, side, side, device="meta"), T[:1].to("meta"))
    return float(counter.get_total_flops() / 2 / side**2)


def test_default_costs_a_million_multiply_adds_per_pixel() -> None:
    network = StagedDenoiser(200).to("meta")  # shapes without numbers
    assert multiply_adds(network, 64) == pytest.approx(1.01e6, rel=0.01)


@pytest.mark.parametrize("trains", [True, False])
def test_bfloat16_is_close(trains: bool) -> None:
    network = lively(StagedDenoiser(5, 16, 2, window=4, time_channels=8), std=0.15).float()
    x = images(2, 5, 6, 9).float()
    with torch.set_grad_enabled(trains):  # two different kernels of the fused attention
        expected = network.forward_with_features(x, T, [1])
        with torch.autocast("cpu", torch.bfloat16):
            found = network.forward_with_features(x, T, [1])
        cast = network.bfloat16().forward_with_features(x.bfloat16(), T, [1])
    for (output, (features,)), dtype in ((found, torch.bfloat16), (cast, torch.bfloat16)):
        for low, high in ((output, expected[0]), (features, expected[1][0])):
            assert low.dtype == dtype
            assert (low.float() - high).abs().max() / high.abs().max() < 0.06


def test_bfloat16_learns_what_float32_learns() -> None:
    network = lively(StagedDenoiser(5, 16, 2, window=4, time_channels=8)).float()
    x = images(2, 5, 6, 9).float()
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = network(x, T).float().square().mean()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for expected, found in zip(*gradients, strict=True):
        assert (found - expected).norm() <= 0.15 * expected.norm() + 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gpu_agrees_with_cpu(precision: torch.dtype) -> None:
    network = lively(StagedDenoiser(5, 32, 2, window=4, time_channels=8), std=0.15).float()
    x = images(2, 5, 6, 9).float()
    expected = torch.autograd.grad(network(x, T).square().mean(), network.stem.weight)[0]
    network.cuda()
    with torch.autocast("cuda", precision, enabled=precision != torch.float32):
        loss = network(x.cuda(), T.cuda()).float().square().mean()
    found = torch.autograd.grad(loss, network.stem.weight)[0].cpu()
    tolerance = 1e-3 if precision == torch.float32 else 0.1
    assert (found - expected).norm() < tolerance * expected.norm()


def test_compiling_in_place_changes_neither_names_nor_results() -> None:
    network = small(stages=1)
    x = images(2, 5, 6, 7)
    names, expected = list(network.state_dict()), network(x, T)
    network.compile(backend="eager", fullgraph=True)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(x, T), expected)


def test_learns_to_predict_x0_in_a_few_steps() -> None:
    torch.manual_seed(0)
    assert learned_error(StagedDenoiser(6, 32, 2, window=4)) < 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bands": 0}, "num_bands must be at least 1, got 0"),
        ({"spatial": False, "spectral": False}, "spatial and spectral must not both be False"),
        ({"channels": 30}, "channels must be a multiple of heads=4, but 30"),
        ({"channels": 30, "spatial": False}, "channels must be a multiple of groups=8, but 30"),
        ({"time_channels": 5}, "time_channels must be even and at least 4, but 5"),
        *[
            ({name: 0}, f"{name} must be at least 1, got 0")
            for name in ("channels", "stages", "window", "heads", "groups", "mlp_ratio")
        ],
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        StagedDenoiser(**({"num_bands": 8} | settings))


@pytest.mark.parametrize(("spatial", "spectral"), [(True, False), (False, True), (True, True)])
def test_parts_that_are_off_do_not_restrict_the_channels(spatial: bool, spectral: bool) -> None:
    settings = {"heads": 1 if spatial else 7, "groups": 1 if spectral else 7}
    network = StagedDenoiser(3, 8, 1, spatial=spatial, spectral=spectral, **settings)
    assert network(torch.zeros(1, 3, 2, 2), T[:1]).shape == (1, 3, 2, 2)
