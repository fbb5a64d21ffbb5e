"""Where a run computes, logs and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs.hardware import resolve_precision
from hsi_diffusion.runs.loggers import stage_logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from lightning.pytorch.loggers import Logger

    from hsi_diffusion.runs.settings import AnyPrecision


@dataclass(frozen=True)
class Workplace:
    """Where a run computes, logs and writes.

    Attributes:
        folder: The run's output folder.
        accelerator: Lightning's name of the hardware; ``"auto"`` is CUDA where there is any, and
            the CPU elsewhere.
        devices: Processes per machine that pretrain together.
        num_nodes: Machines that pretrain together.
        logger: ``"csv"``, ``"wandb"`` or ``"none"``.
        name: Name of the run for loggers.
        config: The run's settings as plain data, for loggers.
        group: Name of the runs that W&B shows together with this one; None: its stages only.
        progress: Show progress bars.
        deterministic: Have a graphics card take PyTorch's deterministic algorithms, and warn where
            there is none; a CPU gives the same numbers twice anyway.
    """

    folder: Path
    accelerator: str
    devices: int
    logger: str
    name: str
    config: dict[str, Any]
    num_nodes: int = 1
    group: str | None = None
    progress: bool = True
    deterministic: bool = True

    @property
    def device(self) -> torch.device:
        """The device of everything that runs on one process."""
        if self.accelerator == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", 0)

    def logging(self, stage: str) -> AbstractContextManager[Logger | bool]:
        """The logger of one stage, see :func:`~hsi_diffusion.runs.loggers.stage_logger`."""
        return stage_logger(
            self.logger,
            stage,
            folder=self.folder,
            name=self.name,
            config=self.config,
            group=self.group,
        )

    def make_trainer(
        self,
        *,
        steps: int = -1,
        accumulate: int = 1,
        precision: AnyPrecision = "float32",
        gradient_clip: float = 0.0,
        logger: Logger | bool = False,
        checkpoint: Path | None = None,
        devices: int = 1,
        num_nodes: int = 1,
        validate: bool = False,
        callbacks: Sequence[L.Callback] = (),
    ) -> L.Trainer:
        """A Trainer for one stage.

        Args:
            steps: Optimiser steps; -1 for stages that don't train.
            accumulate: Batches of each step.
            precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
            gradient_clip: Largest norm of a gradient; 0 = unlimited.
            logger: Where figures go.
            checkpoint: File that the last state is written to; None writes none.
            devices: Processes per machine.
            num_nodes: Machines.
            validate: Validate after every epoch.
            callbacks: Further callbacks.
        """
        resolved = resolve_precision(precision, self.device)
        used = [*callbacks, *([RichProgressBar(leave=False)] if self.progress else [])]
        if checkpoint is not None:
            used.append(
                ModelCheckpoint(
                    checkpoint.parent,
                    checkpoint.stem,
                    save_last=False,
                    enable_version_counter=False,
                )
            )
        on_card = self.device.type == "cuda"
        # "auto" as Lightning means it may be hardware that self.device does not know
        accelerator = self.device.type if self.accelerator == "auto" else self.accelerator
        try:
            return L.Trainer(
                accelerator=accelerator,
                devices=devices,
                num_nodes=num_nodes,
                max_steps=steps,
                max_epochs=-1,
                accumulate_grad_batches=accumulate,
                precision="bf16-mixed" if resolved == "bfloat16" else "32-true",
                gradient_clip_val=gradient_clip or None,
                # an error would forbid resizing and padding layers whose gradient is a sum in any
                # order; it differs in the last digit
                deterministic="warn" if self.deterministic and on_card else None,
                logger=logger,
                callbacks=used,
                enable_checkpointing=checkpoint is not None,
                enable_progress_bar=self.progress,
                enable_model_summary=False,
                limit_val_batches=None if validate else 0,
                num_sanity_val_steps=0,
                log_every_n_steps=10,
                default_root_dir=self.folder,
            )
        except (ValueError, ImportError, MisconfigurationException) as error:
            raise ConfigurationError(
                f"accelerator={self.accelerator!r} with devices={devices} can't be used here: "
                f"{error}; accelerator='auto' (--accelerator auto) takes what there is"
            ) from error
