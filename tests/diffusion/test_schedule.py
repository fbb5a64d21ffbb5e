"""The closed forms of the schedule against brute force."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch

from hsi_diffusion.diffusion import NoiseSchedule, ScheduleKind, build_schedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.types import PredictionKind

KINDS = get_args(ScheduleKind)
PREDICTIONS = get_args(PredictionKind)


def linear_betas(timesteps: int, start: float = 1e-4, end: float = 0.02) -> list[float]:
    return [start + (end - start) * t / max(timesteps - 1, 1) for t in range(timesteps)]


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("t", "decibels"),
    [(5, 29.2), (10, 24.8), (50, 12.4), (100, 6.3), (200, -1.1), (400, -14.0), (499, -21.9)],
)
def test_published_signal_to_noise_ratios(t: int, decibels: float) -> None:
    share = NoiseSchedule().alpha_bar(t)
    assert 10 * math.log10(share / (1 - share)) == pytest.approx(decibels, abs=0.05)


def test_alpha_bar_is_the_running_product() -> None:
    schedule = NoiseSchedule(timesteps=500)
    expected = 1.0
    for t, beta in enumerate(linear_betas(500)):
        expected *= 1 - beta
        assert schedule.alpha_bar(t) == pytest.approx(expected, rel=1e-12)
    assert schedule.alpha_bar(-1) == 1
    assert math.sqrt(schedule.alpha_bar(499)) == pytest.approx(0.08, abs=1e-3)


def test_marginal_is_that_of_step_by_step_noising() -> None:
    """N(m, v) pushed through x -> sqrt(1 - beta) x + sqrt(beta) noise, step after step."""
    schedule = NoiseSchedule(timesteps=50, beta_end=0.2)
    mean, variance = 3.0, 0.0
    for t, beta in enumerate(linear_betas(50, end=0.2)):
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        step, x0 = torch.tensor([t]), torch.full((1, 1), 3.0)
        centre = schedule.q_sample(x0, step, torch.zeros(1, 1))
        above = schedule.q_sample(x0, step, torch.ones(1, 1))
        assert float(centre) == pytest.approx(mean, rel=1e-5)
        assert float(above - centre) == pytest.approx(math.sqrt(variance), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_targets_lead_back_to_image_and_noise(
    kind: ScheduleKind, prediction: PredictionKind
) -> None:
    schedule = NoiseSchedule(400, kind)
    t = torch.tensor([0, 1, 50, 200, 390])
    x0, noise = numbers(5, 4, 3, 2), numbers(5, 4, 3, 2, seed=1)
    x_t = schedule.q_sample(x0, t, noise)
    output = schedule.target(x0, noise, t, prediction)
    # the tables are float32, and t = 0 divides by sqrt(1e-4)
    torch.testing.assert_close(
        schedule.predict_x0(x_t, t, output, prediction), x0, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        schedule.predict_noise(x_t, t, output, prediction), noise, rtol=1e-4, atol=1e-4
    )


def test_v_is_the_published_combination() -> None:
    schedule = NoiseSchedule()
    x0, noise = numbers(1, 6), numbers(1, 6, seed=1)
    share = schedule.alpha_bar(120)
    torch.testing.assert_close(
        schedule.target(x0, noise, torch.tensor([120]), "v"),
        math.sqrt(share) * noise - math.sqrt(1 - share) * x0,
        rtol=1e-6,
        atol=1e-6,
    )


def test_cosine_follows_its_formula_and_is_clipped() -> None:
    timesteps = 100

    def curve(step: int) -> float:
        return math.cos((step / timesteps + 0.008) / 1.008 * math.pi / 2) ** 2

    schedule = NoiseSchedule(timesteps, "cosine")
    for t in range(timesteps - 1):
        assert schedule.alpha_bar(t) == pytest.approx(curve(t + 1) / curve(0), rel=1e-9)
    last = schedule.alpha_bar(timesteps - 1) / schedule.alpha_bar(timesteps - 2)
    assert last == pytest.approx(1 - 0.999, rel=1e-9)


def test_rescale_keeps_the_end_of_the_thousand_steps() -> None:
    end = NoiseSchedule(1000).alpha_bar(999)
    assert NoiseSchedule(1000, rescale=True).alpha_bar(999) == end
    assert NoiseSchedule(250, rescale=True).alpha_bar(249) < 1e-4
    assert NoiseSchedule(250).alpha_bar(249) > 0.05
    betas = linear_betas(250, 4e-4, 0.08)
    assert NoiseSchedule(250, rescale=True).alpha_bar(1) == pytest.approx(
        (1 - betas[0]) * (1 - betas[1]), rel=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timesteps", [1, 2, 500])
def test_signal_falls_and_stays_positive(kind: ScheduleKind, timesteps: int) -> None:
    schedule = NoiseSchedule(timesteps, kind)
    shares = [schedule.alpha_bar(t) for t in range(-1, timesteps)]
    assert all(0 < later < earlier for earlier, later in pairwise(shares))


def test_each_image_has_its_own_timestep_and_keeps_its_dtype() -> None:
    schedule = NoiseSchedule()
    x0, noise = numbers(3, 2, 4, 4), numbers(3, 2, 4, 4, seed=1)
    t = torch.tensor([0, 250, 499])
    together = schedule.q_sample(x0, t, noise)
    assert together.dtype == torch.float64
    for i in range(3):
        alone = schedule.q_sample(x0[i : i + 1], t[i : i + 1], noise[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=0)


def test_tables_stay_float32_and_out_of_the_state_dict() -> None:
    schedule = NoiseSchedule()
    assert schedule.state_dict() == {}
    exact = schedule.sqrt_alpha_bar.clone()
    for changed in (copy.deepcopy(schedule).half(), copy.deepcopy(schedule).bfloat16().float()):
        assert changed.sqrt_alpha_bar.dtype == torch.float32
        torch.testing.assert_close(changed.sqrt_alpha_bar, exact, rtol=0, atol=0)
    assert schedule.to("meta").sqrt_alpha_bar.device.type == "meta"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": 0}, "timesteps must be at least 1, got 0"),
        ({"kind": "sigmoid"}, "kind must be one of linear, cosine, got 'sigmoid'"),
        ({"beta_start": 0.0}, "beta_start=0"),
        ({"beta_start": 0.03}, "beta_start <= beta_end"),
        ({"beta_end": 1.0}, "beta_end=1"),
        ({"timesteps": 10, "rescale": True}, "0.01 and 2 after rescale=True"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        NoiseSchedule(**settings)


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (torch.tensor([0, 500]), "from 0 to 499 .* got 500"),
        (torch.tensor([-1, 0]), "from 0 to 499 .* got -1"),
        (torch.tensor([1.0, 2.0]), "integers, got torch.float32"),
        (torch.tensor([True, False]), "integers, got torch.bool"),
        (torch.tensor([1, 2, 3]), r"shape \(2,\).* got \(3,\)"),
    ],
)
def test_wrong_timesteps_are_named(t: torch.Tensor, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        NoiseSchedule().q_sample(torch.zeros(2, 3), t, torch.zeros(2, 3))


@pytest.mark.parametrize("wrong", [-1, -500, 500])
def test_the_look_up_itself_fails_on_wrong_timesteps(
    wrong: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left on an accelerator, where looking at them first would wait for the device."""
    schedule = NoiseSchedule()
    monkeypatch.setattr(schedule, "check_step", lambda t: t)
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        schedule.q_sample(torch.zeros(2, 3), torch.tensor([0, wrong]), torch.zeros(2, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_negative_timesteps_fail_on_a_gpu() -> None:
    """In a process of its own: after a failed assertion a device is of no more use to it."""
    code = (
        "import torch\n"
        "from hsi_diffusion.diffusion import NoiseSchedule\n"
        "schedule = NoiseSchedule().cuda()\n"
        "x = torch.zeros(2, 3, device='cuda')\n"
        "assert schedule.q_sample(x, torch.tensor([3, 4], device='cuda'), x).isfinite().all()\n"
        "schedule.q_sample(x, torch.tensor([0, -1], device='cuda'), x).cpu()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "device-side assert" in done.stderr


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_timesteps_of_any_whole_type(dtype: torch.dtype) -> None:
    schedule, x = NoiseSchedule(timesteps=50), numbers(2, 3)
    t = torch.tensor([7, 49])
    assert torch.equal(schedule.q_sample(x, t.to(dtype), x), schedule.q_sample(x, t, x))


def test_wrong_single_timesteps_and_predictions_are_named() -> None:
    schedule = NoiseSchedule(10)
    x, t = torch.zeros(1, 1), torch.tensor([0])
    wrong: Any = "epsilon"
    with pytest.raises(ConfigurationError, match="from 0 to 9"):
        schedule.alpha_bar(10)
    for method in (schedule.predict_x0, schedule.predict_noise):
        with pytest.raises(ConfigurationError, match="noise, x0, v, got 'epsilon'"):
            method(x, t, x, wrong)
    with pytest.raises(ConfigurationError, match="noise, x0, v, got 'epsilon'"):
        schedule.target(x, x, t, wrong)


def test_images_of_whole_numbers_are_refused() -> None:
    whole = torch.full((1, 2), 100)
    with pytest.raises(ConfigurationError, match=r"floating-point.*int64.*\.float\(\)"):
        NoiseSchedule(10).q_sample(whole, torch.tensor([3]), torch.zeros(1, 2))


def test_a_schedule_is_made_of_whatever_names_it() -> None:
    given = NoiseSchedule(50)
    made = build_schedule(given)
    assert made.timesteps == 50
    assert made is not given, "so that the user's stays on its device"
    named = {"class_path": "NoiseSchedule", "init_args": {"timesteps": 60}}
    assert build_schedule(named).timesteps == 60
    assert build_schedule(None).timesteps == NoiseSchedule().timesteps


def test_no_images_need_no_timesteps() -> None:
    none = torch.empty(0, 3)
    assert NoiseSchedule().q_sample(none, torch.empty(0, dtype=torch.int64), none).shape == (0, 3)
