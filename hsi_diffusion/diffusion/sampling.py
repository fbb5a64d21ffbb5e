"""From noise back to images: DDIM steps, of which DDPM is one kind, and reconstructions.

Everything here works on a callable ``model(x_t, t)`` with ``t`` of shape (B,). A network should be
in eval mode; it is called without gradients. One that was cast, say to bfloat16, is given images in
the dtype of its parameters, while the chain keeps its own.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least, check_range

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from hsi_diffusion.diffusion.schedule import NoiseSchedule
    from hsi_diffusion.types import PredictionKind

    Model = Callable[[Tensor, Tensor], Tensor]


class Reconstruction(NamedTuple):
    """An image that was noised and cleaned again.

    Attributes:
        noisy: x_t, shape of the image.
        clean: What came back, shape of the image.
    """

    noisy: Tensor
    clean: Tensor


def ddim_step(
    schedule: NoiseSchedule,
    output: Tensor,
    x_t: Tensor,
    t: int,
    previous: int,
    *,
    prediction: PredictionKind = "noise",
    eta: float = 0.0,
    clip: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Go from t to any earlier timestep (Song et al. 2021, eq. 12 and 16).

    Args:
        schedule: The noise schedule.
        output: The network's output at (x_t, t), shape of ``x_t``.
        x_t: Shape (B, ...).
        t: One timestep for the whole batch.
        previous: Where to go, from -1 (the clean image) to t - 1.
        prediction: What ``output`` means.
        eta: Fraction of fresh noise: 0 = none, deterministic; 1 = that of DDPM, whose step (Ho et
            al. 2020, eq. 7) this is where ``previous`` is t - 1.
        clip: Bound of |x_0|; where it cuts, the noise is inferred anew from the cut x_0.
        generator: Where the noise comes from; it may live on another device than ``x_t``.

    Returns:
        The image at ``previous``, shape of ``x_t``.

    Raises:
        ConfigurationError: A timestep or ``eta`` is outside what is allowed.
    """
    if not -1 <= previous < t:
        raise ConfigurationError(f"previous must be from -1 to t - 1 = {t - 1}, got {previous}")
    check_range("from 0 to 1", eta=eta)
    here, there = schedule.alpha_bar(t), schedule.alpha_bar(previous)
    sigma = eta * math.sqrt((1 - there) / (1 - here) * (1 - here / there))
    steps = _steps(x_t, t)
    x0 = schedule.predict_x0(x_t, steps, output, prediction)
    if clip is None:
        noise = schedule.predict_noise(x_t, steps, output, prediction)
    else:
        x0 = x0.clamp(-clip, clip)
        noise = schedule.predict_noise(x_t, steps, x0, "x0")
    # rounding may leave a little less than nothing
    kept = math.sqrt(max(0.0, 1 - there - sigma**2))
    x = math.sqrt(there) * x0 + kept * noise
    return x + sigma * _normal_like(x_t, generator) if sigma > 0 else x


def strided_timesteps(start: int, steps: int | None = None) -> tuple[int, ...]:
    """Spread ``steps`` timesteps evenly from ``start`` down to 0, both included.

    Args:
        start: The noisiest timestep.
        steps: How many, from 1 to start + 1; 1 gives only ``start``, None every timestep.

    Returns:
        Falling timesteps, the first is ``start``.

    Raises:
        ConfigurationError: There are not so many timesteps.
    """
    check_at_least(0, start=start)
    if steps is None:
        steps = start + 1
    if not 1 <= steps <= start + 1:
        raise ConfigurationError(
            f"steps must be from 1 to {start + 1}, the number of timesteps from {start} to 0, "
            f"got {steps}"
        )
    if steps == 1:
        return (start,)
    # whole-number rounding, so that no two neighbours can fall together
    return tuple((start * i + (steps - 1) // 2) // (steps - 1) for i in reversed(range(steps)))


def sample(
    model: Model,
    schedule: NoiseSchedule,
    shape: Sequence[int],
    *,
    steps: int | None = None,
    prediction: PredictionKind = "noise",
    eta: float = 1.0,
    clip: float | None = None,
    generator: torch.Generator | None = None,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Draw images from pure noise; with the defaults, as DDPM does.

    The schedule should end in (nearly) pure noise: the published 500 linear steps don't, unless
    they are rescaled (see :class:`NoiseSchedule`).

    Args:
        model: ``model(x_t, t)``, in eval mode.
        schedule: The noise schedule, on ``device``.
        shape: Shape (B, ...) of the images.
        steps: Number of steps; None = all.
        prediction: What the model's output means.
        eta: Fraction of fresh noise in every step, see :func:`ddim_step`.
        clip: Bound of |x_0|; None = no bound.
        generator: Where all noise comes from. The same generator state gives the same images.
        device: Where the images are made.

    Returns:
        float32 images, shape ``shape``.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """
    noise = _normal(shape, generator, torch.device(device))
    timesteps = strided_timesteps(schedule.timesteps - 1, steps)
    settings = {"prediction": prediction, "eta": eta, "clip": clip, "generator": generator}
    return _walk(model, schedule, noise, timesteps, **settings)


def reconstruct(
    model: Model,
    schedule: NoiseSchedule,
    x0: Tensor,
    t: int,
    *,
    steps: int | None = 1,
    prediction: PredictionKind = "noise",
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
        generator: Where the noise comes from.

    Returns:
        The noisy and the cleaned images.

    Raises:
        ConfigurationError: There is no such timestep, or not so many steps.
    """
    schedule.check_step(t)
    noisy = schedule.q_sample(x0, _steps(x0, t), _normal_like(x0, generator))
    timesteps = strided_timesteps(t, steps)
    return Reconstruction(noisy, _walk(model, schedule, noisy, timesteps, prediction=prediction))


@torch.no_grad()
def _walk(
    model: Model, schedule: NoiseSchedule, x: Tensor, timesteps: Sequence[int], **settings: Any
) -> Tensor:
    """The clean image, by steps between falling ``timesteps`` from the first one, where ``x`` is.

    A network that was cast is asked in the dtype of its parameters; the chain itself stays as
    exact as it was, for its steps are small against the image.
    """
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    own = next((one.dtype for one in parameters if one.is_floating_point()), x.dtype)
    for t, previous in pairwise((*timesteps, -1)):
        output = model(x.to(own), _steps(x, t)).to(x.dtype)
        x = ddim_step(schedule, output, x, t, previous, **settings)
    return x


def _steps(x: Tensor, t: int) -> Tensor:
    return torch.full((x.shape[0],), t, dtype=torch.int64, device=x.device)


def _normal(
    shape: Sequence[int], generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Standard normal numbers, drawn where the generator lives: the same on every device."""
    where = device if generator is None else generator.device
    noise = torch.randn(tuple(shape), generator=generator, device=where, dtype=torch.float32)
    return noise.to(device)


def _normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return _normal(x.shape, generator, x.device).to(x.dtype)
