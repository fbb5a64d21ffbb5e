"""The same figures and the same map from 1, 2 and 3 processes."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest
import torch

from hsi_diffusion import FeatureClassifierModule, SimulatedSceneDataModule
from hsi_diffusion.networks import CNN2D
from tests.modules.ddp_worker import QUIET, SCENE, main
from tests.processes import together

if TYPE_CHECKING:
    from pathlib import Path


def work(rank: int, devices: int, out: Path) -> None:
    # Lightning would have logged something else
    warnings.filterwarnings("error", message=".*sync_dist")
    main(devices, out)


def test_figures_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    main(1, tmp_path / "1.json")
    one: dict[str, Any] = json.loads((tmp_path / "1.json").read_text())
    for devices in (2, 3):
        together(work, devices, devices, tmp_path / f"{devices}.json")
    two, three = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (2, 3))
    for other in (two, three):
        # a count of pixels is exact; a mean of losses is summed in another order
        assert other["test"] == one["test"]
        assert other["map"] == one["map"]
        for part in ("val", "pretrain"):
            assert other[part] == pytest.approx(one[part], rel=1e-5)
        for stage, found in one["trained"].items():
            assert len(found["losses"]) == 10
            for what, values in found.items():
                assert other["trained"][stage][what] == pytest.approx(values, rel=1e-4, abs=2e-5)
    assert (one["steps"], two["steps"], three["steps"]) == (6, 3, 2)
    assert {value for row in one["map"] for value in row} <= {1, 2, 3, 4}
    assert 0 not in {value for row in one["map"] for value in row}


def learn_with_batch_norm(rank: int, folder: Path) -> None:
    """Note what two processes measure in the middle of accumulated gradients; overfit as well."""

    class Note(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, *_: Any) -> None:
            trainer.save_checkpoint(folder / "note.ckpt")
            if rank == 0:
                measured = float(trainer.callback_metrics["val/loss"])
                (folder / "found.json").write_text(json.dumps(measured))

    ddp: dict[str, Any] = {**QUIET, "devices": 2, "strategy": "ddp"}
    torch.manual_seed(0)
    module = FeatureClassifierModule(16, 4, 5, classifier=CNN2D)
    L.Trainer(
        **ddp, max_epochs=1, limit_train_batches=4, accumulate_grad_batches=4,
        val_check_interval=3, callbacks=[Note()],
    ).fit(module, SimulatedSceneDataModule(**SCENE, patch_size=5, batch_size=4))  # fmt: skip
    trainer = L.Trainer(**ddp, max_epochs=2, overfit_batches=2)
    trainer.fit(module, SimulatedSceneDataModule(**SCENE, patch_size=5, batch_size=4))
    assert trainer.global_step == 4


def test_processes_measure_the_network_of_the_checkpoint(tmp_path: Path) -> None:
    """With BatchNorm, whose means each process takes of its own patches."""
    together(learn_with_batch_norm, 2, tmp_path)
    module = FeatureClassifierModule.load_from_checkpoint(tmp_path / "note.ckpt")
    data = SimulatedSceneDataModule(**SCENE, patch_size=5)
    (measured,) = L.Trainer(**QUIET).validate(module, data, verbose=False)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found == pytest.approx(measured["val/loss"], rel=1e-6)
