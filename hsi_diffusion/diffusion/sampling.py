"""From noise back to images: DDPM and DDIM steps, whole chains and reconstructions.

Everything here works on a callable ``model(x_t, t)`` with ``t`` of shape (B,). A network should be
in eval mode; it is called without gradients. One that was cast, say to bfloat16, is given images in
the dtype of its parameters, while the chain keeps its own.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
from torch import nn

from hsi_diffusion.diffusion.schedule import check_prediction
from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from hsi_diffusion.diffusion.schedule import NoiseSchedule
    from hsi_diffusion.types import Prediction

    Model = Callable[[Tensor, Tensor], Tensor]

SamplingMethod = Literal["ddpm", "ddim"]
"""How a chain goes back: DDPM takes every step and draws noise, DDIM may take strides."""


class Step(NamedTuple):
    """What one step of a chain found.

    Attributes:
        t: The timestep where ``x`` stands; -1 is the clean image.
        x: The image after the step.
        x0: The clean image as predicted in this step.
    """

    t: int
    x: Tensor
    x0: Tensor


class Reconstruction(NamedTuple):
    """An image that was noised and cleaned again.

    Attributes:
        noisy: x_t, shape of the image.
        clean: What came back, shape of the image.
    """

    noisy: Tensor
    clean: Tensor


def ddpm_step(
    schedule: NoiseSchedule,
    output: Tensor,
    x_t: Tensor,
    t: int,
    *,
    prediction: Prediction = "noise",
    clip: float | None = None,
    generator: torch.Generator | None = None,
) -> Step:
    """Draw x_{t-1} from q(x_{t-1} | x_t, predicted x_0) (Ho et al. 2020, eq. 7).

    Args:
        schedule: The noise schedule.
        output: The network's output at (x_t, t), shape of ``x_t``.
        x_t: Shape (B, ...).
        t: One timestep for the whole batch.
        prediction: What ``output`` means.
        clip: Bound of |x_0|, such as 1 for images scaled to -1 .. 1; None = no bound.
        generator: Where the noise comes from; it may live on another device than ``x_t``.

    Returns:
        The step, at t - 1. No noise is added at t = 0.
    """
    steps = _steps(x_t, t)
    x0 = _clip(schedule.predict_x0(x_t, steps, output, prediction), clip)
    mean, variance = schedule.posterior(x0, x_t, steps)
    if t > 0:
        mean = mean + variance.sqrt() * _normal_like(x_t, generator)
    return Step(t - 1, mean, x0)


def ddim_step(
    schedule: NoiseSchedule,
    output: Tensor,
    x_t: Tensor,
    t: int,
    previous: int,
    *,
    prediction: Prediction = "noise",
    eta: float = 0.0,
    clip: float | None = None,
    generator: torch.Generator | None = None,
) -> Step:
    """Go from t to any earlier timestep (Song et al. 2021, eq. 12 and 16).

    Args:
        schedule: The noise schedule.
        output: The network's output at (x_t, t), shape of ``x_t``.
        x_t: Shape (B, ...).
        t: One timestep for the whole batch.
        previous: Where to go, from -1 (the clean image) to t - 1.
        prediction: What ``output`` means.
        eta: Share of fresh noise: 0 = none, deterministic; 1 = as much as DDPM.
        clip: Bound of |x_0|; where it cuts, the noise is inferred anew from the cut x_0.
        generator: Where the noise comes from; it may live on another device than ``x_t``.

    Returns:
        The step, at ``previous``.
    """
    if not -1 <= previous < t:
        raise ConfigurationError(
            f"previous must be from -1 to t - 1 = {t - 1}, but {previous} was given"
        )
    if not 0 <= eta <= 1:
        raise ConfigurationError(f"eta must be from 0 to 1, but {eta} was given")
    here, there = schedule.alpha_bar(t), schedule.alpha_bar(previous)
    sigma = eta * math.sqrt((1 - there) / (1 - here) * (1 - here / there))
    steps = _steps(x_t, t)
    x0 = schedule.predict_x0(x_t, steps, output, prediction)
    if clip is None:
        noise = schedule.predict_noise(x_t, steps, output, prediction)
    else:
        x0 = _clip(x0, clip)
        noise = schedule.predict_noise(x_t, steps, x0, "x0")
    x = math.sqrt(there) * x0 + math.sqrt(1 - there - sigma**2) * noise
    if sigma > 0:
        x = x + sigma * _normal_like(x_t, generator)
    return Step(previous, x, x0)


def strided_timesteps(start: int, steps: int | None = None) -> tuple[int, ...]:
    """Spread ``steps`` timesteps evenly from ``start`` down to 0, both included.

    Args:
        start: The noisiest timestep.
        steps: How many, from 1 to start + 1; 1 gives only ``start``, None every timestep.

    Returns:
        Falling timesteps, the first is ``start``.
    """
    if start < 0:
        raise ConfigurationError(f"start must be at least 0, but {start} was given")
    if steps is None:
        steps = start + 1
    if not 1 <= steps <= start + 1:
        raise ConfigurationError(
            f"steps must be from 1 to {start + 1}, the number of timesteps from {start} to 0, "
            f"but {steps} was given"
        )
    if steps == 1:
        return (start,)
    # whole-number rounding, so that no two neighbours can fall together
    return tuple((start * i + (steps - 1) // 2) // (steps - 1) for i in reversed(range(steps)))


def iterate_chain(
    model: Model,
    schedule: NoiseSchedule,
    x_t: Tensor,
    timesteps: Sequence[int],
    *,
    method: SamplingMethod = "ddim",
    prediction: Prediction = "noise",
    eta: float = 0.0,
    clip: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Step]:
    """Walk a chain and give every step of it, the last one at t = -1.

    Args:
        model: ``model(x_t, t)``.
        schedule: The noise schedule.
        x_t: Images at ``timesteps[0]``, shape (B, ...).
        timesteps: Falling; where the model is asked. "ddpm" needs every one down to 0.
        method: "ddpm" or "ddim".
        prediction: What the model's output means.
        eta: Share of fresh noise in DDIM; DDPM does not use it.
        clip: Bound of |x_0|; None = no bound.
        generator: Where the noise comes from.

    Yields:
        One step per timestep.
    """
    if method not in get_args(SamplingMethod):
        raise ConfigurationError(
            f"method must be one of {', '.join(get_args(SamplingMethod))}, but {method!r} was given"
        )
    check_prediction(prediction)
    timesteps = tuple(timesteps)
    if not timesteps:
        raise ConfigurationError("timesteps must hold at least one timestep, but it is empty")
    if method == "ddpm" and timesteps != tuple(reversed(range(len(timesteps)))):
        raise ConfigurationError(
            'method="ddpm" takes every timestep down to 0, but '
            f"{len(timesteps)} timesteps from {timesteps[0]} to {timesteps[-1]} were given; "
            'use method="ddim"'
        )
    for t, previous in pairwise((*timesteps, -1)):
        with torch.no_grad():
            output = _output(model, x_t, t)
            if method == "ddpm":
                step = ddpm_step(
                    schedule, output, x_t, t, prediction=prediction, clip=clip, generator=generator
                )
            else:
                step = ddim_step(
                    schedule,
                    output,
                    x_t,
                    t,
                    previous,
                    prediction=prediction,
                    eta=eta,
                    clip=clip,
                    generator=generator,
                )
        x_t = step.x
        yield step


def sample(
    model: Model,
    schedule: NoiseSchedule,
    shape: Sequence[int],
    *,
    method: SamplingMethod = "ddpm",
    steps: int | None = None,
    prediction: Prediction = "noise",
    eta: float = 0.0,
    clip: float | None = None,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Draw images from pure noise.

    The schedule should end in (nearly) pure noise: the published 500 linear steps don't, unless
    they are rescaled (see :class:`NoiseSchedule`). For the steps on the way, see
    :func:`iterate_chain`.

    Args:
        model: ``model(x_t, t)``, in eval mode.
        schedule: The noise schedule, on ``device``.
        shape: Shape (B, ...) of the images.
        method: "ddpm" or "ddim".
        steps: Number of steps; None = all. Only DDIM can take fewer.
        prediction: What the model's output means.
        eta: Share of fresh noise in DDIM.
        clip: Bound of |x_0|; None = no bound.
        generator: Where all noise comes from. The same generator state gives the same images.
        device: Where the images are made.

    Returns:
        float32 images, shape ``shape``.
    """
    x = _normal(shape, generator, torch.device(device))
    for step in iterate_chain(
        model,
        schedule,
        x,
        strided_timesteps(schedule.timesteps - 1, steps),
        method=method,
        prediction=prediction,
        eta=eta,
        clip=clip,
        generator=generator,
    ):
        x = step.x
    return x


def reconstruct(
    model: Model,
    schedule: NoiseSchedule,
    x0: Tensor,
    t: int,
    *,
    steps: int | None = 1,
    prediction: Prediction = "noise",
    clip: float | None = None,
    generator: torch.Generator | None = None,
) -> Reconstruction:
    """Noise images to timestep t, and let the model clean them.

    Args:
        model: ``model(x_t, t)``, in eval mode.
        schedule: The noise schedule.
        x0: Clean images, shape (B, ...).
        t: One timestep for the whole batch.
        steps: Number of deterministic DDIM steps on the way back: 1 = the model's prediction of
            x_0 at t, None = every timestep.
        prediction: What the model's output means.
        clip: Bound of |x_0|; None = no bound.
        generator: Where the noise comes from.

    Returns:
        The noisy and the cleaned images.
    """
    schedule.check_step(t)
    noisy = schedule.q_sample(x0, _steps(x0, t), _normal_like(x0, generator))
    clean = noisy
    for step in iterate_chain(
        model,
        schedule,
        noisy,
        strided_timesteps(t, steps),
        prediction=prediction,
        clip=clip,
    ):
        clean = step.x
    return Reconstruction(noisy, clean)


def _output(model: Model, x_t: Tensor, t: int) -> Tensor:
    """What the model says, in the dtype of the chain.

    A network that was cast is asked in the dtype of its parameters; the chain itself stays as
    exact as it was, for its steps are small against the image.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    own = next((one.dtype for one in parameters if one.is_floating_point()), x_t.dtype)
    return model(x_t.to(own), _steps(x_t, t)).to(x_t.dtype)


def _steps(x: Tensor, t: int) -> Tensor:
    return torch.full((x.shape[0],), t, dtype=torch.int64, device=x.device)


def _clip(x0: Tensor, bound: float | None) -> Tensor:
    return x0 if bound is None else x0.clamp(-bound, bound)


def _normal(
    shape: Sequence[int], generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Standard normal numbers, drawn where the generator lives: the same on every device."""
    where = device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, device=where).to(device)


def _normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return _normal(x.shape, generator, x.device).to(x.dtype)
