"""Angles against closed forms and against one plain pass of the network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional as F

from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings, compute_features, spectral_angle
from tests.features.networks import BANDS, Gridded, Scaled, unet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.types import PredictionKind

SCHEDULE = NoiseSchedule(timesteps=50)


class Affine(Scaled):
    """Its output is factor * x_t + offset."""

    def __init__(self, factor: float, offset: float) -> None:
        super().__init__()
        self.factor = factor
        self.offset = offset

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        features = super().forward_levels(x_t, t, indices, output=False)[1]
        return self.factor * x_t + self.offset, features


class GriddedOutput(Gridded):
    """Its output is made of both of its grids."""

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        _, (windows, halved) = super().forward_levels(x_t, t, [0, 1], output=False)
        doubled = F.interpolate(halved, scale_factor=2)[..., : x_t.shape[2], : x_t.shape[3]]
        return windows + doubled, [(windows, halved)[index] for index in indices]


def scene(height: int = 23, width: int = 30) -> Tensor:
    return torch.rand(height, width, BANDS, generator=torch.Generator().manual_seed(5)) * 2 - 1


def angle_maps(
    denoiser: Denoiser,
    settings: FeatureSettings,
    *,
    prediction: PredictionKind = "noise",
    cube: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """The angles behind the features, (H, W, T)."""
    cube = scene() if cube is None else cube
    found = compute_features(denoiser, SCHEDULE, cube, settings, angles=prediction, **options)
    return torch.from_numpy(found.array[..., -len(settings.timesteps) :])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 0.0], [0.0, 2.0], math.pi / 2),
        ([1.0, 1.0], [3.0, 0.0], math.pi / 4),
        ([3.0, 4.0], [6.0, 8.0], 0.0),
        ([1.0, 2.0], [-2.0, -4.0], math.pi),
        ([0.0, 0.0], [1.0, 0.0], math.pi / 2),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1e-30, 0.0], [1e30, 1e30], math.pi / 4),
    ],
)
def test_angle_has_its_closed_form(
    first: list[float], second: list[float], expected: float
) -> None:
    angle = spectral_angle(torch.tensor(first), torch.tensor(second))
    assert angle.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("exponent", [1, 3, 5, 7])
@pytest.mark.parametrize("turn", [0.0, math.pi])
def test_tiny_angles_and_angles_near_pi_keep_their_digits(exponent: int, turn: float) -> None:
    """The arc cosine of a float32 scalar product sees nothing below 2e-4."""
    tiny = 10.0**-exponent
    first = torch.tensor([1.0, 0.0])
    second = torch.tensor([math.cos(tiny), math.sin(tiny)]) * (1 if turn == 0 else -1)
    angle = spectral_angle(first, second).double()
    assert abs(turn - angle).item() == pytest.approx(tiny, rel=1e-5 if turn == 0 else 2, abs=2e-7)


def test_angle_along_any_dimension_against_a_loop() -> None:
    first, second = torch.randn(2, 3, 7, 4, generator=torch.Generator().manual_seed(0)).unbind()
    expected = torch.empty(3, 4)
    for i in range(3):
        for j in range(4):
            a, b = first[i, :, j].tolist(), second[i, :, j].tolist()
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            expected[i, j] = math.acos(dot / math.hypot(*a) / math.hypot(*b))
    torch.testing.assert_close(spectral_angle(first, second, dim=1), expected)
    assert spectral_angle(first.bfloat16(), second.bfloat16(), dim=1).dtype == torch.float32


def test_angle_has_a_finite_gradient_even_at_equal_spectra() -> None:
    first = torch.tensor([[1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    second = torch.tensor([[1.0, 2.0], [2.0, -1.0]])
    (gradient,) = torch.autograd.grad(spectral_angle(first, second).sum(), first)
    assert gradient.isfinite().all()
    # a right angle falls by 1 / |a| per unit that the first spectrum moves towards the second
    assert gradient[1].norm().item() == pytest.approx(1 / math.sqrt(5), rel=1e-5)


@pytest.mark.parametrize("prediction", ["noise", "x0", "v"])
def test_maps_hold_what_one_pass_of_the_network_says(prediction: PredictionKind) -> None:
    net, cube, timesteps = unet().eval(), scene(), (3, 20)
    found = angle_maps(net, FeatureSettings(timesteps=timesteps), prediction=prediction)
    assert found.dtype == torch.float32
    image = cube.permute(2, 0, 1)[None]
    for place, timestep in enumerate(timesteps):
        t = torch.tensor([timestep])
        with torch.no_grad():
            x_t = SCHEDULE.q_sample(image, t, torch.zeros_like(image))
            restored = SCHEDULE.predict_x0(x_t, t, net(x_t, t), prediction)[0]
        cosine = F.cosine_similarity(image[0].double(), restored.double(), dim=0)
        torch.testing.assert_close(found[..., place], cosine.acos().float(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("noise", ["none", "fixed", "mean"])
@pytest.mark.parametrize("tile", [7, 16])
def test_tiles_give_what_the_whole_scene_gives(noise: Any, tile: int) -> None:
    def maps(side: int) -> Tensor:
        settings = FeatureSettings(timesteps=(3, 20), noise=noise, draws=2, tile=side)
        return angle_maps(unet(), settings, prediction="v")

    whole = maps(64)
    assert whole.std() > 0.01
    assert (maps(tile) - whole).abs().max() < 1e-4


@pytest.mark.parametrize("tile", [5, 9])
def test_crops_lie_on_the_grids_that_the_output_comes_through(tile: int) -> None:
    """The output passes windows of 4 and a grid of half the resolution."""
    whole, tiled = (
        angle_maps(GriddedOutput(), FeatureSettings(tile=side), prediction="x0")
        for side in (64, tile)
    )
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_mean_averages_the_angles_over_the_draws() -> None:
    def maps(**settings: Any) -> Tensor:
        return angle_maps(Affine(1.0, 0.0), FeatureSettings((20,), **settings), prediction="x0")

    torch.testing.assert_close(maps(noise="mean", draws=1), maps(noise="fixed"))
    assert maps(noise="none").abs().max() < 1e-6, "the scaled image has the angle 0"
    few, many = maps(noise="mean", draws=2), maps(noise="mean", draws=40)
    assert few.mean().item() == pytest.approx(many.mean().item(), rel=0.05)
    assert many.var() < few.var()


def test_network_and_schedule_are_left_as_they_were() -> None:
    net = unet().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    angles = angle_maps(net, FeatureSettings(tile=16, precision="bfloat16"))
    assert angles.isfinite().all()
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_schedule_may_stay_on_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    net, settings = unet(), FeatureSettings(timesteps=(3,))
    found = angle_maps(net, settings, device="cuda")
    assert SCHEDULE.sqrt_alpha_bar.device == found.device == torch.device("cpu")
    expected = angle_maps(net, settings)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cube": torch.zeros(6, 6, BANDS + 1)}, rf"cube must be \(height, width, {BANDS}\)"),
        ({"settings": FeatureSettings(timesteps=(50,))}, "t must be from 0 to 49"),
        ({"prediction": "image"}, "prediction must be one of noise, x0, v"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"settings": FeatureSettings(), **changes}
    with pytest.raises(ConfigurationError, match=message):
        angle_maps(unet(), **arguments)
