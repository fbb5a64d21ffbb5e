"""Devices, folder and loggers of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar

from hsi_diffusion.errors import ConfigurationError, OutputError, reason
from hsi_diffusion.files import atomic_path
from hsi_diffusion.hardware import resolve_precision
from hsi_diffusion.modules.divergence import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lightning.pytorch.loggers import Logger

    from hsi_diffusion.hardware import AnyPrecision


class StepBar(RichProgressBar):
    """A progress bar for trainings of so many steps, which Lightning calls Epoch 0/-2.

    The losses of a training are read every :data:`EVERY`-th step, for which a card waits.
    """

    def __init__(self) -> None:
        super().__init__(leave=False)
        self._losses: dict[str, float] = {}

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        if trainer.global_step % EVERY == 1:
            found = trainer.callback_metrics.items()
            self._losses = {key: float(value) for key, value in found if key.startswith("train/")}
        return {**self._losses, **super().get_metrics(trainer, pl_module)}

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Steps (epoch {current_epoch + 1})" if current_epoch else "Steps"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where trainings compute, log and write.

    Attributes:
        folder: For checkpoints and computed features; None writes no files.
        accelerator: Lightning's name of the hardware; ``"auto"`` is CUDA where there is any, and
            the CPU elsewhere.
        devices: Processes per machine that pretrain together.
        num_nodes: Machines that pretrain together.
        loggers: Makes the logger of a stage from its name, or False where nothing is logged;
            None: nothing is logged.
        progress: Show progress bars.
        figures: Draw what a pretrained denoiser restores, for the folder and the loggers.
        deterministic: Have a graphics card take PyTorch's deterministic algorithms, and warn where
            there is none; a CPU gives the same numbers twice anyway.
    """

    folder: Path | None = None
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    loggers: Callable[[str], Logger | bool] | None = None
    progress: bool = False
    figures: bool = True
    deterministic: bool = True

    @property
    def processes(self) -> int:
        """How many processes pretrain together."""
        return self.devices * self.num_nodes

    @property
    def device(self) -> torch.device:
        """The device of everything that runs on one process."""
        if self.accelerator == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", 0)

    def logger(self, stage: str) -> Logger | bool:
        """The logger of a stage; False where nothing is logged."""
        return False if self.loggers is None else self.loggers(stage)

    def checkpoint(self, stage: str) -> Path | None:
        """The file that a stage's last state is written to; None without a folder."""
        return None if self.folder is None else self.folder / "checkpoints" / f"{stage}.ckpt"

    def make_trainer(
        self,
        *,
        steps: int = -1,
        accumulate: int = 1,
        precision: AnyPrecision = "float32",
        gradient_clip: float = 0.0,
        logger: Logger | bool = False,
        checkpoint: Path | None = None,
        together: bool = False,
        validate_every: int | None = None,
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
            together: Compute on all processes, and validate after every epoch.
            validate_every: Validate after so many steps, on one process.
            callbacks: Further callbacks.

        Raises:
            ConfigurationError: The hardware that is asked for is not there.
        """
        resolved = resolve_precision(precision, self.device)
        used = [*callbacks, *([StepBar()] if self.progress else [])]
        if logger and steps > 0:
            used.append(LearningRateMonitor("step"))
        if checkpoint is not None:
            used.append(
                ModelCheckpoint(
                    checkpoint.parent,
                    checkpoint.stem,
                    save_last=False,
                    enable_version_counter=False,
                )
            )
        plugins: list[Any] = [_WholeCheckpoints()]
        # torchrun inside of a job goes first, as in Lightning
        if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
            # its own checkpoints would be taken for those of the next stage
            plugins.append(SLURMEnvironment(auto_requeue=False))
        on_card = self.device.type == "cuda"
        # "auto" as Lightning means it may be hardware that self.device does not know
        accelerator = self.device.type if self.accelerator == "auto" else self.accelerator
        try:
            return L.Trainer(
                accelerator=accelerator,
                devices=self.devices if together else 1,
                num_nodes=self.num_nodes if together else 1,
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
                plugins=plugins,
                enable_checkpointing=checkpoint is not None,
                enable_progress_bar=self.progress,
                enable_model_summary=False,
                limit_val_batches=None if together or validate_every else 0,
                val_check_interval=validate_every,
                check_val_every_n_epoch=1 if validate_every is None else None,
                num_sanity_val_steps=0,
                log_every_n_steps=10,
                default_root_dir=self.folder,
            )
        except (ValueError, ImportError, MisconfigurationException) as error:
            raise ConfigurationError(
                f"accelerator={self.accelerator!r} with devices={self.devices} can't be used here: "
                f"{error}; accelerator='auto' (--accelerator auto) takes what there is"
            ) from error


class _WholeCheckpoints(TorchCheckpointIO):
    """Leaves the old checkpoint or the new one, whatever happens while it is written."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        del storage_options
        with atomic_path(path) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # of a file that can't grow; torch does not say why
                raise OutputError(
                    f"can't write {path}: the disk is full, or files may not be that large "
                    f"({reason(error)}); the checkpoint before stays: free some space"
                ) from error
