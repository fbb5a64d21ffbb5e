from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from hsi_diffusion.modules import Runtime

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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


class Signalled(L.Callback):
    """Sends this process what SLURM sends before the time of a job is over."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGUSR1)


SLURM = {
    "JOB_ID": "4711", "JOB_NAME": "job", "NTASKS": "1", "PROCID": "0", "LOCALID": "0",
    "NODEID": "0", "NNODES": "1", "NODELIST": "localhost",
}  # fmt: skip
TORCHRUN = {
    "RANK": "1", "GROUP_RANK": "0", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip


def test_torchrun_inside_of_a_job_of_slurm_says_which_process_this_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ({f"SLURM_{key}": one for key, one in SLURM.items()} | TORCHRUN).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # which the Trainer sets
    trainer = Runtime(accelerator="cpu", devices=2).make_trainer(steps=1, together=True)
    assert (trainer.world_size, trainer.global_rank) == (2, 1)


def test_a_job_of_slurm_leaves_no_checkpoint_for_the_next_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
    try:
        runtime = Runtime(accelerator="cpu", folder=tmp_path)
        data: DataLoader[Any] = DataLoader(torch.ones(3, 2))  # type: ignore[arg-type]
        runtime.make_trainer(steps=3, callbacks=[Signalled()]).fit(Falling(), data)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]
    assert not list(tmp_path.rglob("*.ckpt"))
