"""A training that diverges stops there, in any Trainer, and leaves the last good checkpoint."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from hsi_diffusion import (
    DiffusionPretrainModule,
    FeatureClassifierModule,
    SimulatedSceneDataModule,
    UNet2D,
)
from hsi_diffusion.errors import DivergenceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import lightning as L


@pytest.mark.parametrize("stage", ["pretrain", "classify"])
def test_a_diverging_training_stops_and_keeps_the_last_checkpoint(
    stage: str,
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    data = small_scene(samples_per_epoch=96)
    exploding = partial(torch.optim.SGD, lr=1e30)
    module: L.LightningModule
    if stage == "pretrain":
        module = DiffusionPretrainModule(
            16, denoiser=partial(UNet2D, channels=4), optimizer=exploding, ema_decay=0.9
        )
    else:
        network = torch.nn.Sequential(
            torch.nn.Conv2d(16, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 4)
        )
        module = FeatureClassifierModule(16, 4, 5, classifier=network, optimizer=exploding)
    keep = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    trainer = quiet_trainer(max_steps=20, callbacks=[keep], enable_checkpointing=True)
    with pytest.raises(DivergenceError, match=r"nan or infinite at step \d+ .*learning_rate"):
        trainer.fit(module, data)
    assert trainer.global_step < 20
    for path in tmp_path.glob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in state.values())
