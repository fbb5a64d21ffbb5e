"""What loggers are given: settings, a training whose loss is a line, a figure."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from matplotlib.figure import Figure

CONFIG = {"seed": 3, "classifier": {"patch_size": 5, "steps": 4}}


def drawn() -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def make_trainer(logger: Any, **settings: Any) -> L.Trainer:
    """A Trainer that logs every step, with the learning rate."""
    callbacks = [*settings.pop("callbacks", ()), LearningRateMonitor("step")]
    defaults: dict[str, Any] = {
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return L.Trainer(
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=1,
        callbacks=callbacks,
        **defaults | settings,
    )


class Line(L.LightningModule):
    """One weight and a curve that is easy to check: ``train/loss`` is its step."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(3, 1)))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.log("train/loss", self.hparams["slope"] * self.global_step)
        return (self.weight - batch[0]).square().sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.5)
