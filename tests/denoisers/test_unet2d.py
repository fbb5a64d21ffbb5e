"""The 2-D U-Net: what the library promises about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hsi_diffusion.denoisers import FeatureLevel, UNet2D
from hsi_diffusion.errors import ConfigurationError

from .attention import images, lively

T = torch.tensor([3, 470])


def small() -> UNet2D:
    return UNet2D(5, 4, (1, 2, 3), time_channels=8)


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
    network = lively(small())
    x = images(2, 5, 8, 12)
    expected, levels = straight_line(network, x, T)
    output, features = network.forward_with_features(x, T, [2, 0, 1])
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(features, [levels[2], levels[0], levels[1]])
    torch.testing.assert_close(network(x, T), expected)
    torch.testing.assert_close(network.forward_intermediates(x, T, [1, 0]), [levels[1], levels[0]])


def test_fresh_blocks_are_the_identity() -> None:
    network = small()
    x = images(1, 5, 8, 8).float()
    stem = network.stem(x.permute(0, 2, 3, 1))
    torch.testing.assert_close(network.finest(stem, network.time(T[:1])), stem)
    assert network(x, T[:1]).std() > 0.1  # but the whole is not silent


def test_odd_sizes_are_those_of_repeated_edges() -> None:
    network = lively(small())
    x = images(1, 5, 6, 9)
    rows, columns = torch.arange(8).clamp(max=5), torch.arange(12).clamp(max=8)
    expected, levels = straight_line(network, x[:, :, rows][:, :, :, columns], T[:1])
    output, features = network.forward_with_features(x, T[:1], [0, 1, 2])
    torch.testing.assert_close(output, expected[:, :, :6, :9])
    for found, level, (height, width) in zip(
        features, levels, [(2, 3), (3, 5), (6, 9)], strict=True
    ):
        torch.testing.assert_close(found, level[:, :, :height, :width])


@pytest.mark.parametrize(("bands", "cost"), [(24, 0.470e6), (200, 0.493e6)])
def test_default_costs_half_a_million_multiply_adds_per_pixel(bands: int, cost: float) -> None:
    network = UNet2D(bands).to("meta")  # shapes without numbers
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, bands, 64, 64, device="meta"), T[:1].to("meta"))
    assert counter.get_total_flops() / 2 / 64**2 == pytest.approx(cost, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *[
            ({name: 0}, f"{name} must be at least 1, got 0")
            for name in ("channels", "blocks", "mlp_ratio")
        ],
        *[
            ({"multipliers": wrong}, "multipliers must be a list of whole numbers from 1")
            for wrong in ([], [1, 0], [1, 1.5], 3, "12")
        ],
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        UNet2D(8, **settings)
