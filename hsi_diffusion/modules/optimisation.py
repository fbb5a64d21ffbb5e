"""Optimiser, learning-rate schedules and weight averages of both Lightning modules."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from hsi_diffusion.errors import ConfigurationError, reason
from hsi_diffusion.options import check_choice, check_range
from hsi_diffusion.parts import FOREIGN, plain_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import lightning as L
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch import Tensor

LearningRateSchedule = Literal["constant", "cosine"]
"""How the learning rate goes on after the warm-up."""


def learning_rate_factor(
    step: int, *, total: int, schedule: LearningRateSchedule, warmup: float
) -> float:
    """By what the learning rate is multiplied at a step.

    Args:
        step: Optimiser steps taken, from 0.
        total: Steps of the whole training.
        schedule: ``"constant"``, or ``"cosine"`` from 1 to 0.
        warmup: Fraction of ``total`` over which the rate first rises linearly.

    Returns:
        A factor from 0 to 1.
    """
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    progress = min(1.0, (step - rising) / max(1.0, total - rising))
    return 0.5 * (1 + math.cos(math.pi * progress))


class Optimisation:
    """How a module's weights are trained: AdamW, or an optimiser and a schedule of the user's own.

    Args:
        learning_rate: Highest learning rate of AdamW, which is Adam with ``weight_decay=0``.
        lr_schedule: ``"constant"`` or ``"cosine"``, per step, for any optimiser.
        warmup: Fraction of the training over which the learning rate first rises.
        weight_decay: Decoupled weight decay of AdamW.
        optimizer: Called with the parameters instead of AdamW; it has a learning rate and a
            weight decay of its own. Plain data of :func:`~hsi_diffusion.parts.plain_part` says that
            there was one, which is missing.
        lr_scheduler: Likewise, called with the optimiser instead of ``lr_schedule`` and
            ``warmup``; it steps after every optimiser step where the Trainer ends after so many
            (``max_steps`` alone, as in runs), else after every epoch, as with LightningCLI. One
            that watches a metric steps after every epoch.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        lr_schedule: LearningRateSchedule,
        warmup: float,
        weight_decay: float,
        optimizer: object = None,
        lr_scheduler: object = None,
    ) -> None:
        check_choice(get_args(LearningRateSchedule), lr_schedule=lr_schedule)
        check_range("at least 0 and below 1", warmup=warmup)
        check_range("at least 0 and finite", weight_decay=weight_decay)
        if lr_scheduler is not None and (lr_schedule != "constant" or warmup > 0):
            raise ConfigurationError(
                "lr_scheduler takes the place of lr_schedule and warmup, so they must be left at "
                f"'constant' and 0, got {lr_schedule!r} and {warmup}"
            )
        self.learning_rate = learning_rate
        self.schedule: LearningRateSchedule = lr_schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.own = {"optimizer": optimizer, "lr_scheduler": lr_scheduler}
        for name, part in self.own.items():
            if not (part is None or callable(part) or _missing(part)):
                raise ConfigurationError(
                    f"{name} must be a class or function, such as functools.partial("
                    f"torch.optim.SGD, lr=0.01) for optimizer, got {part!r}"
                )

    @property
    def learning_rate(self) -> float:
        """Highest learning rate; it may be changed before a training."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        check_range("above 0 and finite", learning_rate=rate)
        self._learning_rate = rate

    def plain(self) -> dict[str, Any]:
        """The settings by the names of the arguments, as plain data."""
        return {
            "learning_rate": self.learning_rate,
            "lr_schedule": self.schedule,
            "warmup": self.warmup,
            "weight_decay": self.weight_decay,
            **{
                name: part if _missing(part) else plain_part(part, {})
                for name, part in self.own.items()
            },
        }

    def configure(
        self, parameters: Iterable[nn.Parameter], trainer: L.Trainer, *, where: str = ""
    ) -> OptimizerLRScheduler:
        """Optimiser and schedule, in the form that ``configure_optimizers`` returns.

        Args:
            parameters: What is trained.
            trainer: What trains it.
            where: What stands before the names of the settings in messages, such as "pretrain.".

        Raises:
            ConfigurationError: The rate depends on the length of the training, but the Trainer has
                no end; the optimiser or schedule of a checkpoint was not given; or the user's own
                can't be made.
        """
        for name, part in self.own.items():
            if _missing(part):
                raise ConfigurationError(
                    f"this module was trained with {name} {cast('dict[str, str]', part)[FOREIGN]}, "
                    f"which a checkpoint can't hold; to train on, give {name}=... when loading it"
                )
        make = cast("Callable[..., Optimizer] | None", self.own["optimizer"])
        if make is None:
            # one pass over all weights takes a quarter of the time of a pass for each; Lightning
            # clips no gradients for it under autocast
            mixed = isinstance(trainer.precision_plugin, MixedPrecision)
            optimizer: Optimizer = torch.optim.AdamW(
                parameters,
                lr=self.learning_rate,
                weight_decay=self.weight_decay,
                fused=not (mixed and trainer.gradient_clip_val),
            )
        else:
            optimizer = _made(make, parameters, f"{where}optimizer")
            if not isinstance(optimizer, Optimizer):
                raise ConfigurationError(
                    f"{where}optimizer must make a torch.optim.Optimizer, but gave a "
                    f"{type(optimizer).__name__}"
                )
        schedule = cast("Callable[[Optimizer], Any] | None", self.own["lr_scheduler"])
        if schedule is None:
            steps = LambdaLR(optimizer, self._factor(trainer.estimated_stepping_batches))
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": steps, "interval": "step"},
            }
        scheduler = _made(schedule, optimizer, f"{where}lr_scheduler")
        if isinstance(scheduler, ReduceLROnPlateau) and not hasattr(scheduler, "monitor"):
            raise ConfigurationError(
                f"{where}lr_scheduler must name the metric that it watches, and torch's "
                "ReduceLROnPlateau can't: give lightning.pytorch.cli.ReduceLROnPlateau with "
                "monitor, such as train/loss"
            )
        monitored = {"monitor": scheduler.monitor} if hasattr(scheduler, "monitor") else {}
        # the epochs of such a training mean nothing
        counts_steps = trainer.max_epochs == -1 and trainer.max_steps > -1
        interval = "step" if counts_steps and not monitored else "epoch"
        settings: Any = {"scheduler": scheduler, "interval": interval, **monitored}
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def _factor(self, total_steps: float) -> Callable[[int], float]:
        """The learning rate's factor at a step; of a constant one the end need not be known.

        Lightning's ``total_steps`` are infinite for a training without an end, and -1 for one whose
        loader does not know its length.
        """
        known = 0 <= total_steps < math.inf
        if (self.schedule == "cosine" or self.warmup > 0) and not known:
            raise ConfigurationError(
                f"lr_schedule={self.schedule!r} with warmup={self.warmup} needs to know when "
                "training ends: give the Trainer max_steps, or max_epochs with a loader that has "
                "a length, or use lr_schedule='constant' and warmup=0"
            )
        total = int(total_steps) if known else 0
        # not a lambda, which a Trainer that spawns processes could not hand to them
        return partial(
            learning_rate_factor, total=total, schedule=self.schedule, warmup=self.warmup
        )


def _made(maker: Callable[[Any], Any], given: object, name: str) -> Any:
    """What a class or function of the user's makes.

    Raises:
        ConfigurationError: It refuses.
    """
    try:
        return maker(given)
    # torch and what a user has written raise almost anything
    except Exception as error:
        raise ConfigurationError(f"{name} can't be made: {reason(error)}") from error


def _missing(part: object) -> bool:
    """Whether this is the note of a checkpoint that there was a class of the user's."""
    return isinstance(part, Mapping) and FOREIGN in part


class ExponentialAverage(nn.Module):
    """Exponential moving average of a network's weights and buffers.

    It is never trained: whoever uses ``network`` puts it into evaluation mode.

    The decay rises as (1 + n) / (10 + n) with the number of updates n up to ``decay``, so that a
    short training is not an average over its own initialisation.

    Args:
        network: Copied; its present weights are where the average starts.
        decay: Final weight of the old average in the new one, in [0, 1).

    Raises:
        ConfigurationError: ``decay`` is out of range; or, with the first update, the weights are
            half precision numbers, too coarse for an average that moves little by little.
    """

    updates: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        check_range("at least 0 and below 1", ema_decay=decay)
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the weights and buffers of ``network`` into the average."""
        done = self.updates.float()  # stays on its device: no waiting for a GPU
        weight = 1 - ((1 + done) / (10 + done)).clamp(max=self.decay)
        # in their order, each once: torch.compile changes names, and tied weights have several
        mine = chain(self.network.parameters(), self.network.buffers())
        theirs = chain(network.named_parameters(), network.named_buffers())
        for old, (name, value) in zip(mine, theirs, strict=True):
            if not value.is_floating_point():
                old.copy_(value)
            elif not isinstance(value, nn.Parameter):
                moved = old.lerp(value, weight.to(value.dtype))
                # two equal infinities, as in a mask, have no mean
                old.copy_(torch.where(old == value, value, moved))
            elif value.dtype.itemsize < 4:
                raise ConfigurationError(
                    f"ema_decay needs weights in float32, but {name} is {value.dtype}: take "
                    'precision="bf16-mixed" in the Trainer, or ema_decay=None'
                )
            else:
                old.lerp_(value, weight.to(value.dtype))
        self.updates += 1
