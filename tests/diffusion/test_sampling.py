"""Sampling with denoisers whose answers are known in closed form."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
import torch

from hsi_diffusion.diffusion import (
    NoiseSchedule,
    ddim_step,
    reconstruct,
    sample,
    strided_timesteps,
)
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.types import PredictionKind
from tests.usual import usual_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

PREDICTIONS = get_args(PredictionKind)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class PerfectModel:
    """Knows the clean image."""

    def __init__(self, schedule: NoiseSchedule, x0: Tensor, prediction: PredictionKind) -> None:
        self.schedule, self.x0, self.prediction = schedule, x0, prediction

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        noise = self.schedule.predict_noise(x_t, t, self.x0, "x0")
        return self.schedule.target(self.x0, noise, t, self.prediction)


def gaussian_model(schedule: NoiseSchedule, mean: float, std: float) -> Callable[..., Tensor]:
    """E[x_0 | x_t] for data from N(mean, std**2)."""

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        share = schedule.alpha_bar(int(t[0]))
        gain = math.sqrt(share) * std**2 / (share * std**2 + 1 - share)
        return mean + gain * (x_t - math.sqrt(share) * mean)

    return predict


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_ddim_with_a_perfect_model_recovers_the_image(
    prediction: PredictionKind, steps: int
) -> None:
    schedule = NoiseSchedule(100)
    x0 = numbers(2, 3, 4, 4)
    model = PerfectModel(schedule, x0, prediction)
    found = sample(
        model, schedule, x0.shape, eta=0.0, steps=steps, prediction=prediction, generator=seeded(1)
    )
    torch.testing.assert_close(found, x0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("t", [1, 2, 30, 98, 99])
def test_a_step_with_all_its_noise_is_that_of_ddpm(t: int) -> None:
    """x_{t-1} given x_t and x_0, by Bayes' rule on a grid."""
    schedule = NoiseSchedule(100)
    x0, x_t = 0.7, 0.68
    before = schedule.alpha_bar(t - 1)
    beta = 1 - schedule.alpha_bar(t) / before
    centre, width = math.sqrt(before) * x0, math.sqrt(1 - before)
    grid = np.linspace(centre - 9 * width, centre + 9 * width, 40_001)
    prior = np.exp(-((grid - centre) ** 2) / (2 * width**2))
    likelihood = np.exp(-((x_t - math.sqrt(1 - beta) * grid) ** 2) / (2 * beta))
    weight = prior * likelihood / (prior * likelihood).sum()
    mean = float((weight * grid).sum())
    deviation = math.sqrt(float((weight * (grid - mean) ** 2).sum()))

    given = torch.full((1, 5), x0), torch.full((1, 5), x_t)
    found = ddim_step(schedule, *given, t, t - 1, prediction="x0", eta=1.0, generator=seeded(5))
    expected = mean + deviation * numbers(1, 5, seed=5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_ddpm_step_keeps_the_forward_marginal() -> None:
    """x_t from q(x_t | x_0) and one step back with the true x_0 is q(x_{t-1} | x_0)."""
    schedule = NoiseSchedule(100, beta_end=0.2)
    t, count, value = 30, 200_000, 2.0
    x0 = torch.full((1, count), value)
    x_t = schedule.q_sample(x0, torch.tensor([t]), numbers(1, count))
    before = ddim_step(schedule, x0, x_t, t, t - 1, prediction="x0", eta=1.0, generator=seeded(1))
    share = schedule.alpha_bar(t - 1)
    error = 4 / math.sqrt(count)
    assert float(before.mean()) == pytest.approx(math.sqrt(share) * value, abs=error)
    assert float(before.var()) == pytest.approx(1 - share, abs=error)


def test_ddpm_chain_draws_from_the_data() -> None:
    """With the optimal model of a Gaussian every step is linear, so its moments can be followed."""
    schedule = NoiseSchedule(60, rescale=True)
    mean, std, count = 0.5, 0.3, 20_000
    expected_mean, expected_variance = 0.0, 1.0
    for t in reversed(range(60)):
        here, before = schedule.alpha_bar(t), schedule.alpha_bar(t - 1)
        beta = 1 - here / before
        of_x0 = beta * math.sqrt(before) / (1 - here)
        of_x_t = math.sqrt(1 - beta) * (1 - before) / (1 - here)
        gain = math.sqrt(here) * std**2 / (here * std**2 + 1 - here)
        slope = of_x0 * gain + of_x_t
        offset = of_x0 * (1 - gain * math.sqrt(here)) * mean
        expected_mean = slope * expected_mean + offset
        expected_variance = slope**2 * expected_variance + beta * (1 - before) / (1 - here)
    assert expected_mean == pytest.approx(mean, abs=0.01)
    assert math.sqrt(expected_variance) == pytest.approx(std, abs=0.05)

    model = gaussian_model(schedule, mean, std)
    drawn = sample(model, schedule, (1, count), prediction="x0", generator=seeded(0))
    assert float(drawn.mean()) == pytest.approx(expected_mean, abs=4 * std / math.sqrt(count))
    assert float(drawn.std()) == pytest.approx(math.sqrt(expected_variance), rel=0.02)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_generator_alone_decides(eta: float) -> None:
    schedule = NoiseSchedule(20, rescale=False, beta_end=0.3)
    model = gaussian_model(schedule, 0.0, 1.0)

    def draw(seed: int) -> Tensor:
        return sample(model, schedule, (2, 3), prediction="x0", eta=eta, generator=seeded(seed))

    state = torch.get_rng_state()
    torch.testing.assert_close(draw(1), draw(1), rtol=0, atol=0)
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("start", [0, 1, 9, 10, 499])
def test_strides_fall_from_the_start_to_zero(start: int) -> None:
    for steps in {1, 2, 3, start // 2, start, start + 1} & set(range(1, start + 2)):
        timesteps = strided_timesteps(start, steps)
        assert len(timesteps) == steps
        assert timesteps[0] == start
        assert steps == 1 or timesteps[-1] == 0
        gaps = {a - b for a, b in pairwise(timesteps)}
        assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)
    assert strided_timesteps(start) == tuple(range(start, -1, -1))


def test_the_model_is_asked_at_every_step() -> None:
    schedule, x0 = NoiseSchedule(81), numbers(2, 3)
    asked: list[list[int]] = []

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        asked.append(t.tolist())
        return x0

    found = sample(model, schedule, x0.shape, steps=3, prediction="x0")
    assert asked == [[80, 80], [40, 40], [0, 0]]
    torch.testing.assert_close(found, x0)
    assert torch.is_grad_enabled()


def test_clip_bounds_the_image_and_its_noise() -> None:
    schedule = NoiseSchedule(100)
    x_t, output = numbers(4, 8), 5 * numbers(4, 8, seed=1)
    t = torch.full((4,), 60)
    step = ddim_step(schedule, output, x_t, 60, 20, prediction="x0", clip=1.0)
    bounded = output.clamp(-1, 1)
    noise = schedule.predict_noise(x_t, t, bounded, "x0")
    torch.testing.assert_close(step, schedule.q_sample(bounded, torch.full((4,), 20), noise))
    last = ddim_step(schedule, output, x_t, 0, -1, prediction="x0", clip=1.0)
    torch.testing.assert_close(last, bounded)


def test_reconstruction_in_one_step_is_the_prediction_of_the_image() -> None:
    schedule = NoiseSchedule(100)
    x0 = numbers(2, 3, 4, 4)
    noise = numbers(2, 3, 4, 4, seed=3)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        return 0.9 * x_t

    noisy, clean = reconstruct(model, schedule, x0, 70, generator=seeded(3))
    t = torch.full((2,), 70)
    torch.testing.assert_close(noisy, schedule.q_sample(x0, t, noise), rtol=0, atol=0)
    torch.testing.assert_close(clean, schedule.predict_x0(noisy, t, 0.9 * noisy))


@pytest.mark.parametrize("steps", [1, 5, None])
def test_reconstruction_with_a_perfect_model_is_the_image(steps: int | None) -> None:
    schedule = NoiseSchedule(50)
    x0 = numbers(1, 6)
    model = PerfectModel(schedule, x0, "noise")
    clean = reconstruct(model, schedule, x0, 30, steps=steps, generator=seeded(0)).clean
    torch.testing.assert_close(clean, x0, rtol=1e-4, atol=1e-4)


class Shrinking(torch.nn.Module):
    """Predicts a part of x_t, by a layer that takes its own dtype only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4, bias=False)
        self.layer.weight.data = 0.75 * torch.eye(4)
        self.seen: set[torch.dtype] = set()

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.seen.add(x_t.dtype)
        found: Tensor = self.layer(x_t)
        return found


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_network_that_was_cast_draws_in_float32(eta: float, dtype: torch.dtype) -> None:
    schedule, network = NoiseSchedule(20), Shrinking().to(dtype)
    found = sample(network, schedule, (2, 4), eta=eta, generator=seeded(0))
    assert network.seen == {dtype}
    assert found.dtype == torch.float32

    def rounding(x_t: Tensor, t: Tensor) -> Tensor:
        """The same in float32: 3/4 of what the network sees, in its dtype."""
        return (0.75 * x_t.to(dtype).double()).to(dtype).float()

    expected = sample(rounding, schedule, (2, 4), eta=eta, generator=seeded(0))
    torch.testing.assert_close(found, expected)


def test_reconstruction_keeps_the_dtype_of_the_image() -> None:
    network, schedule = Shrinking().bfloat16(), NoiseSchedule(50)
    pair = reconstruct(network, schedule, numbers(2, 4), 30, steps=3)
    assert {part.dtype for part in pair} == {torch.float32}
    assert network.seen == {torch.bfloat16}


def test_impossible_requests_are_named() -> None:
    schedule = NoiseSchedule(10)
    x = torch.zeros(1, 2)
    wrong: Any = "euler"

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        return x_t

    with pytest.raises(ConfigurationError, match="previous must be from -1 to t - 1 = 4, got 5"):
        ddim_step(schedule, x, x, 5, 5)
    with pytest.raises(ConfigurationError, match="eta must be from 0 to 1, got 2"):
        ddim_step(schedule, x, x, 5, 4, eta=2.0)
    with pytest.raises(ConfigurationError, match="t must be from 0 to 9"):
        ddim_step(schedule, x, x, 10, 4)
    with pytest.raises(ConfigurationError, match="t must be from 0 to 9"):
        reconstruct(model, schedule, x, 10)
    with pytest.raises(ConfigurationError, match=r"steps must be from 1 to 10, .* got 11"):
        sample(model, schedule, (1, 2), steps=11)
    with pytest.raises(ConfigurationError, match="start must be at least 0"):
        strided_timesteps(-1)
    with pytest.raises(ConfigurationError, match="noise, x0, v, got 'euler'"):
        sample(model, schedule, (1, 2), prediction=wrong)


def test_noise_does_not_follow_the_usual_dtype() -> None:
    schedule, model = NoiseSchedule(20), gaussian_model(NoiseSchedule(20), 0.5, 0.1)
    expected = sample(model, schedule, (2, 3), generator=seeded(1))
    with usual_dtype(torch.bfloat16):
        found = sample(model, schedule, (2, 3), generator=seeded(1))
    assert torch.equal(found, expected)


def test_steps_from_pure_noise_do_not_fail_by_rounding() -> None:
    """Where nothing of the image is left, all noise is fresh, and a root of -1e-16 none."""
    schedule = NoiseSchedule(40, beta_start=0.02, beta_end=0.999)
    x = numbers(1, 4)
    for previous in range(39):
        found = ddim_step(schedule, x, x, 39, previous, prediction="x0", eta=1.0)
        assert found.isfinite().all()
