from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from hsi_diffusion.modules import Runtime


class Falling(L.LightningModule):
    """Logs its loss as a module on a card does: the bar must not read it at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = (self.weight * batch.sum()).square().mean()
        self.log("train/loss", loss.detach())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_the_bar_shows_the_loss_without_a_look_at_every_step() -> None:
    module = Falling()
    data: DataLoader[Any] = DataLoader(torch.ones(3, 2))  # type: ignore[arg-type]
    trainer = Runtime(accelerator="cpu", progress=True).make_trainer(steps=3)
    trainer.fit(module, data)
    bar = trainer.progress_bar_callback
    assert bar is not None
    shown = bar.get_metrics(trainer, module)
    assert shown["train/loss"] == 4.0, "that of the first step, the last one that was looked at"
    assert float(trainer.callback_metrics["train/loss"]) < 4
