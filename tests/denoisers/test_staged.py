"""The staged denoiser: what the library promises about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hsi_diffusion.denoisers import FeatureLevel, StagedDenoiser
from hsi_diffusion.errors import ConfigurationError

from .attention import images, lively

T = torch.tensor([3, 470])


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
    network = lively(StagedDenoiser(5, 8, 2, window=4, heads=2, groups=4, time_channels=8))
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


@pytest.mark.parametrize(
    ("switch", "left"), [({"spatial": False}, "sgsad"), ({"spectral": False}, "ssad")]
)
def test_switches_take_parts_off(switch: dict[str, bool], left: str) -> None:
    network = StagedDenoiser(5, 8, **switch)
    names = {name.split(".")[2] for name, _ in network.stages.named_parameters("stages")}
    assert names == {left}


def test_half_of_the_windows_are_shifted() -> None:
    shifts = [stage.ssad.attention.branch.shift for stage in StagedDenoiser(3, stages=4).stages]  # type: ignore[union-attr]
    assert shifts == [0, 4, 0, 4]


def test_default_costs_a_million_multiply_adds_per_pixel() -> None:
    network = StagedDenoiser(200).to("meta")  # shapes without numbers
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 200, 64, 64, device="meta"), T[:1].to("meta"))
    assert counter.get_total_flops() / 2 / 64**2 == pytest.approx(1.01e6, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spatial": False, "spectral": False}, "spatial and spectral must not both be False"),
        ({"channels": 30}, "channels must be a multiple of heads=4, got 30"),
        ({"channels": 30, "spatial": False}, "channels must be a multiple of groups=8, got 30"),
        *[
            ({name: 0}, f"{name} must be at least 1, got 0")
            for name in ("channels", "stages", "window", "heads", "groups", "mlp_ratio")
        ],
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        StagedDenoiser(8, **settings)


@pytest.mark.parametrize(("spatial", "spectral"), [(True, False), (False, True), (True, True)])
def test_parts_that_are_off_do_not_restrict_the_channels(spatial: bool, spectral: bool) -> None:
    settings = {"heads": 1 if spatial else 7, "groups": 1 if spectral else 7}
    network = StagedDenoiser(3, 8, 1, spatial=spatial, spectral=spectral, **settings)
    assert network(torch.zeros(1, 3, 2, 2), T[:1]).shape == (1, 3, 2, 2)
