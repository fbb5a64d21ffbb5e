"""The interface of all denoisers."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from hsi_diffusion.denoisers import Denoiser, FeatureLevel, UNet3D
from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Smallest(Denoiser):
    """One 3x3 convolution, whose result is the only feature."""

    def __init__(self, num_bands: int) -> None:
        super().__init__(num_bands, feature_info=[FeatureLevel("all", 4, radius=1)], radius=1)
        self.conv = nn.Conv2d(num_bands, 4, 3, padding=1)
        self.head = nn.Conv2d(4, num_bands, 1)

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        hidden = self.conv(x_t)
        return self.head(hidden) if output else None, [hidden] * len(indices)


class Silent(Smallest):
    """Never gives the output."""

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        return super().forward_levels(x_t, t, indices, output=False)


def test_a_subclass_only_brings_its_layers() -> None:
    network = Smallest(3)
    x, t = torch.zeros(2, 3, 5, 4), torch.tensor([0, 1])
    assert network(x, t).shape == x.shape
    (features,) = network.forward_intermediates(x, t, [0])
    assert features.shape == (2, 4, 5, 4)
    output, (again,) = network.forward_with_features(x, t, [0])
    assert torch.equal(output, network(x, t))
    assert torch.equal(again, features)
    assert network.num_bands == 3
    assert network.radius == 1
    assert network.alignment == 1
    assert network.feature_info == (FeatureLevel("all", channels=4, reduction=1, radius=1),)


def test_levels_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Smallest(3).feature_info[0].radius = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("shape", "t_shape", "message"),
    [
        ((2, 4, 5, 5), (2,), r"\(B, 3, H, W\).*got \(2, 4, 5, 5\)"),
        ((3, 5, 5), (3,), r"\(B, 3, H, W\).*got \(3, 5, 5\)"),
        ((2, 3, 5, 5), (1,), r"t must have shape \(2,\).*got \(1,\)"),
        ((2, 3, 5, 5), (), r"t must have shape \(2,\).*got \(\)"),
    ],
)
def test_inputs_that_do_not_fit_are_named(
    shape: tuple[int, ...], t_shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Smallest(3)(torch.zeros(shape), torch.zeros(t_shape, dtype=torch.int64))


@pytest.mark.parametrize("indices", [[], [1], [-1], [0, 5]])
def test_levels_that_do_not_exist_are_named(indices: list[int]) -> None:
    with pytest.raises(ConfigurationError, match=r"level of Smallest: 0 \(all\)"):
        Smallest(3).forward_intermediates(
            torch.zeros(1, 3, 5, 5), torch.zeros(1, dtype=torch.int64), indices
        )


def test_bands_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="num_bands must be at least 1, got 0"):
        Smallest(0)


def test_an_output_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"Silent\.forward_levels gave None"):
        Silent(3)(torch.zeros(1, 3, 5, 5), torch.zeros(1, dtype=torch.int64))


class Wrong(Smallest):
    """Gives whatever features it is told to."""

    found: list[Tensor]

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        return super().forward_levels(x_t, t, indices, output=output)[0], self.found


@pytest.mark.parametrize(
    "shapes",
    [[(2, 1, 5, 4)], [(2, 4, 1, 1)], [(2, 4, 5, 5)], [(1, 4, 5, 4)], [(4, 5, 4)], [],
     [(2, 4, 5, 4), (2, 4, 5, 4)]],
)  # fmt: skip
def test_features_that_do_not_fit_are_named(shapes: list[tuple[int, ...]]) -> None:
    network = Wrong(3)
    x, t = torch.zeros(2, 3, 5, 4), torch.tensor([0, 1])
    message = r"Wrong\.forward_levels must give .*\[\(2, 4, 5, 4\)\] for x_t .*, got \["
    network.found = [torch.zeros(shape) for shape in shapes]
    for ask in (network.forward_intermediates, network.forward_with_features):
        with pytest.raises(ConfigurationError, match=message):
            ask(x, t, [0])
    network.found = [torch.zeros(2, 4, 5, 4)]
    assert network.forward_intermediates(x, t, [0])[0].shape == (2, 4, 5, 4)


def test_a_network_knows_what_it_was_made_with() -> None:
    network = UNet3D(6, 2, depth=1, band_padding="zeros")
    assert network.init_args == {
        "num_bands": 6, "base_channels": 2, "depth": 1, "band_padding": "zeros"
    }  # fmt: skip
    assert copy.deepcopy(network).init_args == network.init_args
    assert NoiseSchedule().init_args == copy.deepcopy(NoiseSchedule()).init_args == {}
    assert copy.copy(NoiseSchedule(50)).init_args == {"timesteps": 50}
