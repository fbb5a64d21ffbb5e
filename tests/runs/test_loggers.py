from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest
import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from hsi_diffusion.runs.loggers import stage_logger

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


def test_the_log_of_an_interrupted_run_stays(tmp_path: Path) -> None:
    (tmp_path / "logs" / "pretrain").mkdir(parents=True)
    (tmp_path / "logs" / "pretrain-2").mkdir()
    with stage_logger("csv", "pretrain", folder=tmp_path, name="run", config={}) as logger:
        assert isinstance(logger, CSVLogger)
        assert logger.log_dir == str(tmp_path / "logs" / "pretrain-3")
