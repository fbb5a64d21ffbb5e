from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from hsi_diffusion import FeatureClassifierModule, SimulatedSceneDataModule
from hsi_diffusion.runs import RunSettings
from hsi_diffusion.runs.loggers import stage_logger
from tests.runs.tiny import TINY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, Any]:
    return {"folder": tmp_path, "name": "test", "config": {"seed": 3}}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_PROJECT", "of_the_user")


def test_csv_goes_into_the_folder(whole: dict[str, Any], tmp_path: Path) -> None:
    with stage_logger("csv", "stage", **whole) as logger:
        assert isinstance(logger, CSVLogger)
        logger.log_metrics({"loss": 0.5}, 7)
        logger.save()
    with (tmp_path / "logs" / "stage" / "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"loss": "0.5", "step": "7"}]


def test_none_writes_nothing(whole: dict[str, Any], tmp_path: Path) -> None:
    with stage_logger("none", "stage", **whole) as logger:
        assert logger is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("offline")
def test_a_wandb_run_ends_with_its_stage(whole: dict[str, Any]) -> None:
    runs = []
    for stage in ("first", "second"):
        with stage_logger("wandb", stage, **whole) as logger:
            assert isinstance(logger, WandbLogger)
            runs.append(logger.experiment)
            assert logger.experiment.project == "of_the_user"
            assert logger.experiment.group == "test"
            assert logger.experiment.config["seed"] == 3
        with pytest.raises(wandb.errors.UsageError):
            runs[-1].log({"too": 1})
    assert runs[0].id != runs[1].id


@pytest.mark.usefixtures("offline")
def test_wandb_shows_the_settings_of_the_run_and_those_of_the_module(tmp_path: Path) -> None:
    config = RunSettings.from_dict(TINY).to_dict()
    data = SimulatedSceneDataModule(20, 18, 8, 3, split="5", patch_size=3, batch_size=8)
    module = FeatureClassifierModule(8, 3, 3, classifier_options={"heads": 1, "head_dim": 8})
    with stage_logger("wandb", "classifier", folder=tmp_path, name="a", config=config) as logger:
        assert isinstance(logger, WandbLogger)
        L.Trainer(
            max_steps=1,
            accelerator="cpu",
            logger=logger,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        ).fit(module, data)
        shown = dict(logger.experiment.config)
    assert shown["module"]["classifier"] == "spectral_transformer"
    assert shown["module"]["learning_rate"] == 1e-3
    assert shown.keys() == {*config, "module"}
    for section in ("classifier", "scene"):
        assert shown[section] == _without_empty(config[section])


def _without_empty(section: dict[str, Any]) -> dict[str, Any]:
    """W&B leaves out empty mappings."""
    return {key: value for key, value in section.items() if value != {}}


INTERRUPTED = """
import signal, sys
from pathlib import Path
from hsi_diffusion.runs.loggers import stage_logger
with stage_logger("wandb", "pretrain", folder=Path(sys.argv[1]), name="a", config={}) as logger:
    print(logger.experiment.id, flush=True)
    signal.pause()
"""


@pytest.mark.usefixtures("offline")
def test_a_stage_that_was_killed_goes_on_as_the_same_wandb_run(tmp_path: Path) -> None:
    # a process that knows of no W&B service here starts its own, which dies with it
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        number = process.stdout.readline().strip()
        os.killpg(process.pid, signal.SIGKILL)  # W&B's own processes too: nothing is tidied up
    whole: dict[str, Any] = {"folder": tmp_path, "name": "a", "config": {}}
    for stage, same in (("pretrain", True), ("classifier", False)):
        with stage_logger("wandb", stage, **whole) as logger:
            assert isinstance(logger, WandbLogger)
            assert (logger.experiment.id == number) == same
            logger.log_metrics({"loss": 0.5}, 7)
    # both parts are there to be synchronised, as parts of one run
    ids = [folder.name.split("-")[-1] for folder in tmp_path.glob("wandb/offline-run-*")]
    assert sorted((ids.count(number), len(ids))) == [2, 3]


@pytest.mark.usefixtures("offline")
def test_a_wandb_run_ends_with_a_failure(whole: dict[str, Any]) -> None:
    kept = []

    def fail() -> None:
        with stage_logger("wandb", "stage", **whole) as logger:
            assert isinstance(logger, WandbLogger)
            kept.append(logger.experiment)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(wandb.errors.UsageError):
        kept[0].log({"too": 1})


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore:There is a wandb run already in progress")
def test_a_wandb_run_of_the_caller_is_used_and_left_open(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    with wandb.init(dir=tmp_path) as mine:
        with stage_logger("wandb", "stage", **whole) as logger:
            assert isinstance(logger, WandbLogger)
            assert logger.experiment is mine
        mine.log({"still": 1})
    assert not list(tmp_path.rglob("*.id")), "the caller's run is not the stage's to go on with"


def test_the_log_of_an_interrupted_run_stays(tmp_path: Path) -> None:
    (tmp_path / "logs" / "pretrain").mkdir(parents=True)
    (tmp_path / "logs" / "pretrain-2").mkdir()
    with stage_logger("csv", "pretrain", folder=tmp_path, name="run", config={}) as logger:
        assert isinstance(logger, CSVLogger)
        assert logger.log_dir == str(tmp_path / "logs" / "pretrain-3")
