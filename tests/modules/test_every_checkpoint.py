"""What a step of a training sees follows from its number alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from hsi_diffusion import DiffusionPretrainModule, FeatureClassifierModule, NoiseSchedule
from hsi_diffusion.denoisers import UNet2D
from hsi_diffusion.networks import CNN2D

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsi_diffusion import SimulatedSceneDataModule
    from hsi_diffusion.types import PatchBatch

    Module = DiffusionPretrainModule | FeatureClassifierModule


class Keep(L.Callback):
    """Writes a checkpoint wherever Lightning may write one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        path = self.folder / f"step={trainer.global_step}-batch.ckpt"
        if not path.exists():  # not in the middle of accumulated gradients, as ModelCheckpoint
            trainer.save_checkpoint(path)

    def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step}-val.ckpt")

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step}-epoch.ckpt")


def build(
    small_scene: Callable[..., SimulatedSceneDataModule], task: str, seen: list[list[int]]
) -> tuple[Module, SimulatedSceneDataModule]:
    """A module that notes the pixels of its steps, and its data: 4 steps an epoch."""
    torch.manual_seed(0)
    if task == "pretrain":

        class Pretraining(DiffusionPretrainModule):
            def training_step(self, batch: PatchBatch, batch_idx: int) -> torch.Tensor:
                seen.append(batch["index"].tolist())
                return super().training_step(batch, batch_idx)

        module: Module = Pretraining(
            16, denoiser=UNet2D(16, channels=8, multipliers=(1, 2)), schedule=NoiseSchedule(50),
            ema_decay=0.9, lr_schedule="cosine", augmentation={"dihedral": 1.0},
        )  # fmt: skip
        return module, small_scene(task=task, patch_size=6, batch_size=4, samples_per_epoch=15)

    class Classifier(FeatureClassifierModule):
        def training_step(self, batch: PatchBatch, batch_idx: int) -> torch.Tensor:
            seen.append(batch["index"].tolist())
            return super().training_step(batch, batch_idx)

    module = Classifier(16, 4, 5, classifier=CNN2D, augmentation={"gain": 0.1, "band_dropout": 0.1})
    return module, small_scene(split="10", batch_size=10)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("task", ["pretrain", "classify"])
def test_every_checkpoint_goes_on_exactly(
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
    task: str,
    accumulate: int,
) -> None:
    """Of the middle and the end of epochs, twice in a row, in a training that ends by its steps."""

    def train(folder: Path, start: Path | None) -> tuple[Module, list[list[int]], list[str]]:
        seen: list[list[int]] = []
        module, data = build(small_scene, task, seen)
        logger = CSVLogger(folder, flush_logs_every_n_steps=1)
        quiet_trainer(
            max_epochs=-1, max_steps=9, callbacks=[Keep(folder)], logger=logger,
            accumulate_grad_batches=accumulate, log_every_n_steps=1,
        ).fit(module, data, ckpt_path=start, weights_only=True)  # fmt: skip
        with Path(logger.experiment.metrics_file_path).open(encoding="utf-8") as file:
            curve = [f"{row['step']}: {row['train/loss']}" for row in csv.DictReader(file)]
        return module, seen, [row for row in curve if row[-1] != " "]

    whole, seen, curve = train(tmp_path / "0", None)
    assert [row.partition(":")[0] for row in curve] == [*map(str, range(9))]
    each = 4 // accumulate
    names = {path.stem for path in (tmp_path / "0").iterdir()}
    assert {f"step={each}-val", f"step={each}-epoch", f"step={each}-batch"} <= names
    for number, name in enumerate((f"step={each}-val", f"step={each}-epoch", "step=3-batch")):
        first = int(name.partition("-")[0].removeprefix("step="))
        again = tmp_path / f"{number}-again"
        start = tmp_path / "0" / f"{name}.ckpt"
        for _ in range(2):
            resumed, rest, curve_of_rest = train(again, start)
            assert rest == seen[-len(rest) :]
            assert curve_of_rest == curve[-len(curve_of_rest) :]
            for key, value in whole.state_dict().items():
                assert torch.equal(value, resumed.state_dict()[key]), (name, key)
            steps = {int(path.stem[5:-4]): path for path in again.glob("*-val.ckpt")}
            later = [path for step, path in sorted(steps.items()) if first < step < 9]
            if not later:
                break
            start = later[0]


class Course(L.Callback):
    """Notes epoch, step and batch of the epoch of every batch, and the hooks of epochs."""

    def __init__(self) -> None:
        self.found: list[tuple[int | str, ...]] = []

    def on_train_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.found.append((trainer.current_epoch, "start"))

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.found.append((trainer.current_epoch, "end"))

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        self.found.append((trainer.current_epoch, trainer.global_step, batch_idx))


@pytest.mark.parametrize(
    "settings",
    [
        {"limit_val_batches": 0, "accumulate_grad_batches": 3},
        {"val_check_interval": 3, "check_val_every_n_epoch": None},
        {},
    ],
)
def test_end_of_an_epoch_with_and_without_validation(
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
    settings: dict[str, Any],
) -> None:
    """The next batch is the first one of the next epoch, also in a training that ends by steps."""

    def train(start: Path | None, steps: int = 7) -> tuple[Module, list[tuple[int | str, ...]]]:
        module, data = build(small_scene, "classify", [])
        course = Course()
        trainer = quiet_trainer(
            max_epochs=-1, max_steps=steps, callbacks=[course, Keep(tmp_path)], **settings
        )
        trainer.fit(module, data, ckpt_path=start, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"after-{steps}.ckpt")
        return module, course.found

    each = 2 if "accumulate_grad_batches" in settings else 4
    train(None, each)
    whole, found = train(None)
    for name in (f"step={each}-batch", f"step={each}-epoch", f"after-{each}"):
        resumed, rest = train(tmp_path / f"{name}.ckpt")
        assert rest == found[found.index((1, "start")) :], name
        for key, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[key]), (name, key)


@pytest.mark.parametrize("batch", [1, 5, 6])
def test_an_exception_in_the_middle_of_a_step(
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
    batch: int,
) -> None:
    """The step is repeated with its own batch."""
    path = tmp_path / "exception.ckpt"

    class Fail(L.Callback):
        def on_after_backward(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step == batch - 1:
                raise RuntimeError("out of memory")

        def on_exception(self, trainer: L.Trainer, *_: Any) -> None:
            trainer.save_checkpoint(path)

    def train(*callbacks: L.Callback, start: Path | None = None) -> tuple[Module, list[list[int]]]:
        seen: list[list[int]] = []
        module, data = build(small_scene, "pretrain", seen)
        quiet_trainer(max_epochs=3, callbacks=list(callbacks)).fit(
            module, data, ckpt_path=start, weights_only=True
        )
        return module, seen

    whole, seen = train()
    with pytest.raises(RuntimeError, match="out of memory"):
        train(Fail())
    saved = torch.load(path, weights_only=True)
    learned = [{"batches": batch - 1}]
    assert saved["loops"]["fit_loop"]["state_dict"]["combined_loader"] == learned
    assert [saved["SimulatedSceneDataModule"]["train_loader"]] == learned
    resumed, rest = train(start=path)
    assert rest == seen[batch - 1 :]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
