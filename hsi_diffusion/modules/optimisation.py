"""Optimiser, learning-rate schedules and weight averages that both Lightning modules share."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch import Tensor

LearningRateSchedule = Literal["constant", "cosine"]


def learning_rate_factor(
    step: int, *, total: int, schedule: LearningRateSchedule, warmup: float
) -> float:
    """By what the learning rate is multiplied at a step.

    Args:
        step: Optimiser steps taken, from 0.
        total: Steps of the whole training.
        schedule: ``"constant"``, or ``"cosine"`` from 1 to 0.
        warmup: Share of ``total`` over which the rate first rises linearly.

    Returns:
        A factor from 0 to 1.
    """
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    share = min(1.0, (step - rising) / max(1.0, total - rising))
    return 0.5 * (1 + math.cos(math.pi * share))


def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    schedule: LearningRateSchedule,
    warmup: float,
    total_steps: float,
) -> OptimizerLRScheduler:
    """AdamW with a schedule per step, in the form that ``configure_optimizers`` returns.

    With ``weight_decay=0`` it is Adam. ``total_steps`` may be infinite where the rate is constant
    from the start.

    Raises:
        ConfigurationError: The rate depends on the length of the training, but the Trainer has no
            end.
    """
    if (schedule == "cosine" or warmup > 0) and not math.isfinite(total_steps):
        raise ConfigurationError(
            f"lr_schedule={schedule!r} with warmup={warmup} needs to know when training ends: give "
            "the Trainer max_steps or max_epochs, or use lr_schedule='constant' and warmup=0"
        )
    total = int(total_steps) if math.isfinite(total_steps) else 0
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    scheduler = LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(step, total=total, schedule=schedule, warmup=warmup),
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def check_optimisation(
    schedule: str, warmup: float, learning_rate: float, weight_decay: float
) -> None:
    """Raise a ConfigurationError unless these settings make sense."""
    if schedule not in get_args(LearningRateSchedule):
        allowed = ", ".join(get_args(LearningRateSchedule))
        raise ConfigurationError(f"lr_schedule must be one of {allowed}, got {schedule!r}")
    if not 0 <= warmup < 1:
        raise ConfigurationError(f"warmup must be a share from 0 to below 1, got {warmup}")
    if not learning_rate > 0:
        raise ConfigurationError(f"learning_rate must be above 0, got {learning_rate}")
    if not weight_decay >= 0:
        raise ConfigurationError(f"weight_decay must be at least 0, got {weight_decay}")


class ExponentialAverage(nn.Module):
    """Exponential moving average of a network's weights and buffers.

    The decay rises as (1 + n) / (10 + n) with the number of updates n up to ``decay``, so that a
    short training is not an average over its own initialisation.

    Args:
        network: Copied; its present weights are where the average starts.
        decay: Final share of the old average in the new one, in [0, 1).

    Raises:
        ConfigurationError: ``decay`` is out of range.
    """

    updates: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ConfigurationError(f"ema_decay must be from 0 to below 1, got {decay}")
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the weights and buffers of ``network`` into the average."""
        done = self.updates.float()  # stays on its device: no waiting for a GPU
        weight = 1 - ((1 + done) / (10 + done)).clamp(max=self.decay)
        mine: dict[str, Any] = self.network.state_dict()
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                mine[name].lerp_(value, weight.to(value.dtype))
            else:
                mine[name].copy_(value)
        self.updates += 1

    def train(self, mode: bool = True) -> ExponentialAverage:
        """Stay in evaluation mode: an average is never trained."""
        del mode
        return super().train(False)
