"""How much noise stands at which timestep, and every closed form that follows from it.

The schedule knows no network, and a network knows no schedule.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least, check_choice
from hsi_diffusion.parts import Recorded, build_part, by_name
from hsi_diffusion.types import PredictionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ScheduleKind = Literal["linear", "cosine"]
"""How the betas grow with t."""

MAX_BETA = 0.999
"""Upper bound of the cosine schedule's betas, so that no step destroys everything."""

COSINE_OFFSET = 0.008
"""The ``s`` of the cosine schedule, which keeps the first betas from vanishing."""

RESCALE_REFERENCE = 1000
"""The number of steps for which the usual betas 1e-4 .. 0.02 were made."""


class NoiseSchedule(Recorded, nn.Module):
    r"""The forward process q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I), t in 0..T-1.

    abar_t is the product of (1 - beta_s) over s = 0..t, so already t = 0 carries one step of noise.
    Everything is computed in float64 and kept as float32 buffers, which follow the module to a
    device, stay float32 when the module is cast, and are not part of the state dict: a schedule is
    fully described by its settings.

    Args:
        timesteps: Number of steps T, at least 1.
        kind: "linear" betas (Ho et al. 2020), or "cosine" (Nichol and Dhariwal 2021, eq. 17, betas
            clipped at 0.999), which ignores ``beta_start``, ``beta_end`` and ``rescale``.
        beta_start: First beta of the linear schedule.
        beta_end: Last beta of the linear schedule.
        rescale: Multiply both betas by 1000 / T, so that a short linear schedule also ends in
            (nearly) pure noise. Off in the published SpectralDiff recipe, where 8 % of the signal's
            amplitude is left at T = 500: fine for features, wrong for sampling from pure noise.

    Raises:
        ConfigurationError: A setting is outside what is allowed.

    Example:
        >>> schedule = NoiseSchedule(timesteps=500)
        >>> [round(schedule.alpha_bar(t), 4) for t in (5, 100, 499)]
        [0.9988, 0.8091, 0.0064]
    """

    sqrt_alpha_bar: Tensor
    sqrt_one_minus_alpha_bar: Tensor

    def __init__(
        self,
        timesteps: int = 500,
        kind: ScheduleKind = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        rescale: bool = False,
    ) -> None:
        super().__init__()
        check_at_least(1, timesteps=timesteps)
        check_choice(get_args(ScheduleKind), kind=kind)
        self.timesteps = timesteps
        if kind == "linear":
            betas = _linear_betas(timesteps, beta_start, beta_end, rescale)
        else:
            betas = _cosine_betas(timesteps)

        alpha_bar = torch.cumprod(1 - betas, dim=0)
        # float64 values that ask for no buffer: single numbers for the samplers
        self._alpha_bars: list[float] = alpha_bar.tolist()
        signal, noise = alpha_bar.sqrt().float(), (1 - alpha_bar).sqrt().float()
        self.register_buffer("sqrt_alpha_bar", signal, persistent=False)
        self.register_buffer("sqrt_one_minus_alpha_bar", noise, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # `.half()` or a Trainer with precision "bf16-true" must not round the tables
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, table in before.items():
            if (moved := self.get_buffer(name)).dtype != table.dtype:
                self._buffers[name] = table.to(moved.device)
        return self

    def alpha_bar(self, t: int) -> float:
        """The float64 fraction of signal power at one timestep; 1 at t = -1, the clean image."""
        return 1.0 if t == -1 else self._alpha_bars[self.check_step(t)]

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Noise a clean image: sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise (Ho et al. 2020, eq. 4).

        Args:
            x0: Shape (B, ...).
            t: int64, shape (B,), from 0 to T - 1.
            noise: Shape of ``x0``, standard normal; zeros give the noise-free scaled image.

        Returns:
            x_t, shape of ``x0``.
        """
        signal, share = self._at(t, x0)
        return signal * x0 + share * noise

    def predict_x0(
        self, x_t: Tensor, t: Tensor, output: Tensor, prediction: PredictionKind = "noise"
    ) -> Tensor:
        """The clean image that a network's ``output`` at (x_t, t) implies.

        Args:
            x_t: Shape (B, ...).
            t: int64, shape (B,).
            output: Shape of ``x_t``.
            prediction: What ``output`` means; v = sqrt(abar) noise - sqrt(1 - abar) x_0 (Salimans
                and Ho 2022).

        Returns:
            Shape of ``x_t``.
        """
        check_prediction(prediction)
        if prediction == "x0":
            return output
        signal, noise = self._at(t, x_t)
        if prediction == "noise":
            return (x_t - noise * output) / signal
        return signal * x_t - noise * output

    def predict_noise(
        self, x_t: Tensor, t: Tensor, output: Tensor, prediction: PredictionKind = "noise"
    ) -> Tensor:
        """The noise that a network's ``output`` at (x_t, t) implies; see :meth:`predict_x0`."""
        check_prediction(prediction)
        if prediction == "noise":
            return output
        signal, noise = self._at(t, x_t)
        if prediction == "x0":
            return (x_t - signal * output) / noise
        return noise * x_t + signal * output

    def target(
        self, x0: Tensor, noise: Tensor, t: Tensor, prediction: PredictionKind = "noise"
    ) -> Tensor:
        """What a network's output should be, given the clean image and the noise put on it."""
        check_prediction(prediction)
        if prediction == "noise":
            return noise
        if prediction == "x0":
            return x0
        signal, share = self._at(t, x0)
        return signal * noise - share * x0

    def check_step(self, t: int) -> int:
        """Give ``t`` back if it is a timestep of this schedule.

        Raises:
            ConfigurationError: It is not.
        """
        if not 0 <= t < self.timesteps:
            raise ConfigurationError(
                f"t must be from 0 to {self.timesteps - 1} (timesteps={self.timesteps}), got {t}"
            )
        return t

    def _at(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t), (B, 1, ..., 1) as ``like`` has dimensions."""
        if t.shape not in ((), like.shape[:1]):
            raise ConfigurationError(
                f"t must have shape ({like.shape[0]},), one timestep per image of shape "
                f"{tuple(like.shape)}, got {tuple(t.shape)}"
            )
        if not like.is_floating_point():
            raise ConfigurationError(
                f"images must hold floating-point numbers, got {like.dtype}, in which "
                "every noise and share would be rounded to 0: convert them (.float())"
            )
        if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool:
            raise ConfigurationError(f"t must hold integers, got {t.dtype}")
        # on an accelerator this would wait for the device in every training step, and break the
        # graph of a compiled one
        if t.device.type == "cpu" and t.numel() and not torch.compiler.is_compiling():
            self.check_step(int(t.min()))
            self.check_step(int(t.max()))
        # unlike indexing, which counts -1 from the end, this fails on any wrong timestep by itself;
        # a CUDA device reports it with the next result that is fetched
        places = t.to(self.sqrt_alpha_bar.device, torch.int64).reshape(-1)
        signal = self.sqrt_alpha_bar.gather(0, places).to(like)
        noise = self.sqrt_one_minus_alpha_bar.gather(0, places).to(like)
        shape = (-1, *(1,) * (like.ndim - 1))
        return signal.reshape(shape), noise.reshape(shape)


SCHEDULES = by_name(NoiseSchedule)
"""The library's noise schedules by their names."""

if TYPE_CHECKING:
    NoiseSchedulePart = NoiseSchedule | str | Mapping[str, Any] | None
else:  # what a command line offers: its parser knows names and class paths by itself
    NoiseSchedulePart = NoiseSchedule | None


def build_schedule(schedule: NoiseSchedulePart) -> NoiseSchedule:
    """Make a noise schedule of what a user gave.

    Args:
        schedule: A schedule, of which a copy is made, so that it stays on its device;
            ``{"class_path": "NoiseSchedule", "init_args": {...}}``
            or the name alone; None: ``NoiseSchedule()``.

    Returns:
        The schedule.

    Raises:
        ConfigurationError: It is none of these, or a setting is outside what is allowed.
    """
    made = build_part(schedule or NoiseSchedule, NoiseSchedule, SCHEDULES, "schedule")
    return copy.deepcopy(made).train() if made is schedule else made


def check_prediction(prediction: str) -> None:
    """Raise a ConfigurationError unless ``prediction`` is a known target."""
    check_choice(get_args(PredictionKind), prediction=prediction)


def _linear_betas(timesteps: int, start: float, end: float, rescale: bool) -> Tensor:
    factor = RESCALE_REFERENCE / timesteps if rescale else 1.0
    first, last = start * factor, end * factor
    if not 0 < first <= last < 1:
        scaled = f" ({first:g} and {last:g} after rescale=True)" if rescale else ""
        raise ConfigurationError(
            "0 < beta_start <= beta_end < 1 must hold, got "
            f"beta_start={start:g} and beta_end={end:g}{scaled}"
        )
    return torch.linspace(first, last, timesteps, dtype=torch.float64)


def _cosine_betas(timesteps: int) -> Tensor:
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    alpha_bar = torch.cos((u + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2).square()
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=MAX_BETA)
