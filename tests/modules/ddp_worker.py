"""Started by test_ddp.py: trains, validates, tests and predicts on a given number of processes."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning as L
import torch

from hsi_diffusion import (
    DiffusionPretrainModule,
    FeatureClassifierModule,
    NoiseSchedule,
    SimulatedSceneDataModule,
    UNet2D,
    UNet3D,
)
from hsi_diffusion.modules import ClassificationMap
from hsi_diffusion.networks import SpectralTransformer

if TYPE_CHECKING:
    from pathlib import Path

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
"""Settings of a Trainer that computes on the CPU and says nothing."""

SCENE = {"height": 40, "width": 36, "bands": 16, "num_classes": 4}


def main(devices: int, out: Path) -> None:
    """Measure fixed models on ``devices`` processes; train a little as well."""
    strategy = "ddp" if devices > 1 else "auto"
    quiet: dict[str, Any] = {**QUIET, "devices": devices, "strategy": strategy}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = SimulatedSceneDataModule(**SCENE, patch_size=5, split="0.3", eval_batch_size=7)
    classifier = FeatureClassifierModule(
        16, 4, 5, classifier=partial(SpectralTransformer, dim=8, heads=1, head_dim=8, depth=1)
    )
    trainer = L.Trainer(**quiet)
    (val,) = trainer.validate(classifier, data, verbose=False)
    (test,) = trainer.test(classifier, data, verbose=False)
    collect = ClassificationMap()
    L.Trainer(**quiet, callbacks=[collect]).predict(classifier, data, return_predictions=False)

    scene = SimulatedSceneDataModule(
        **SCENE, task="pretrain", patch_size=8, batch_size=4, samples_per_epoch=24, holdout=0.15
    )
    pretrain = DiffusionPretrainModule(
        16,
        denoiser=partial(UNet3D, base_channels=2, depth=1),
        schedule=NoiseSchedule(50),
        ema_decay=0.9,
    )
    (pre,) = L.Trainer(**quiet).validate(pretrain, scene, verbose=False)
    trainer = L.Trainer(**quiet, max_epochs=1)
    trainer.fit(pretrain, scene)
    trained = {"pretrain": train_pretraining(devices, quiet), "classifier": train(devices, quiet)}
    if trainer.is_global_zero:
        result = {
            "val": val,
            "test": test,
            "pretrain": pre,
            "map": collect.predicted.tolist(),
            "steps": trainer.global_step,
            "trained": trained,
        }
        out.write_text(json.dumps(result))


class Losses(L.Callback):
    """Keeps the loss of every step, over all processes."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Note the loss."""
        loss = trainer.strategy.reduce(trainer.callback_metrics["train/loss"], reduce_op="mean")
        self.found.append(float(loss))


def weights(module: L.LightningModule) -> list[float]:
    """All of them in one row."""
    return torch.cat([part.detach().flatten() for part in module.parameters()]).tolist()


def train_pretraining(devices: int, quiet: dict[str, Any]) -> dict[str, Any]:
    """Ten steps of twelve patches each, with augmentations, on a denoiser without BatchNorm."""
    scene = SimulatedSceneDataModule(
        **SCENE, task="pretrain", patch_size=8, batch_size=12 // devices, samples_per_epoch=60
    )
    torch.manual_seed(1)
    module = DiffusionPretrainModule(
        16,
        denoiser=partial(UNet2D, channels=8),
        augmentation={"dihedral": 1.0, "gain": 0.1, "band_noise": 0.1},
        learning_rate=1e-3,
    )
    losses = Losses()
    L.Trainer(**quiet, max_steps=10, callbacks=[losses]).fit(module, scene)
    return {"losses": losses.found, "weights": weights(module)}


def train(devices: int, quiet: dict[str, Any]) -> dict[str, Any]:
    """Likewise a classifier, without dropout."""
    data = SimulatedSceneDataModule(
        **SCENE, patch_size=5, split="0.3", batch_size=12 // devices, samples_per_epoch=60
    )
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Conv2d(16, 4, 5), torch.nn.Flatten())
    module = FeatureClassifierModule(
        16, 4, 5, classifier=network, augmentation={"dihedral": 1.0, "band_dropout": 0.2}
    )
    losses = Losses()
    L.Trainer(**quiet, max_steps=10, callbacks=[losses]).fit(module, data)
    return {"losses": losses.found, "weights": weights(module)}
