"""Curves in CSV files, one for each stage."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from tests.runs.logged import Line, drawn, make_trainer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hsi_diffusion.runs import RunLogger


def rows_of(folder: Path, stage: str = "pretrain") -> list[dict[str, str]]:
    with (folder / "logs" / stage / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_csv_holds_one_file_per_stage(
    open_logger: Callable[..., RunLogger], tmp_path: Path
) -> None:
    with open_logger("csv") as logger:
        for stage, slope in (("pretrain", 1.0), ("classifier", 2.0)):
            own = logger.stage(stage)
            assert isinstance(own, CSVLogger)
            make_trainer(own, max_steps=3).fit(Line(slope))
        logger.metrics("test", {"overall_accuracy": 0.9})
        logger.figure("map", drawn())
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "metrics.csv",
        "hparams.yaml",
    }
    for stage, slope in (("pretrain", 1.0), ("classifier", 2.0)):
        rows = rows_of(tmp_path, stage)
        losses = {int(row["step"]): float(row["train/loss"]) for row in rows if row["train/loss"]}
        assert losses == {0: 0, 1: slope, 2: 2 * slope}
        rates = [float(row["lr-SGD"]) for row in rows if row["lr-SGD"]]
        assert rates == [0.5, 0.5, 0.5]
        assert f"slope: {slope}" in (tmp_path / "logs" / stage / "hparams.yaml").read_text()


def test_a_resumed_stage_continues_its_curve_in_csv(
    open_logger: Callable[..., RunLogger], tmp_path: Path
) -> None:
    keep = ModelCheckpoint(tmp_path / "kept", every_n_train_steps=4, filename="last")
    with open_logger("csv") as logger:
        make_trainer(
            logger.stage("pretrain"), max_steps=6, callbacks=[keep], enable_checkpointing=True
        ).fit(Line())
    checkpoint = tmp_path / "kept" / "last.ckpt"
    with open_logger("csv") as logger:
        # trained on otherwise, so that the rows of both sessions can be told apart
        make_trainer(logger.stage("pretrain"), max_steps=9).fit(
            Line(10.0), ckpt_path=checkpoint, weights_only=True
        )
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["pretrain"]
    losses = [(int(row["step"]), float(row["train/loss"])) for row in _with_loss(tmp_path)]
    assert losses == [*((step, step) for step in range(4)), *((s, 10 * s) for s in range(4, 9))]


def test_a_stage_that_begins_again_replaces_its_curve_in_csv(
    open_logger: Callable[..., RunLogger], tmp_path: Path
) -> None:
    for slope in (1.0, 10.0):
        with open_logger("csv") as logger:
            make_trainer(logger.stage("pretrain"), max_steps=2).fit(Line(slope))
    assert [float(row["train/loss"]) for row in _with_loss(tmp_path)] == [0, 10]


def test_new_columns_and_a_row_cut_short_in_csv(
    open_logger: Callable[..., RunLogger], tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "pretrain" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("old,step,train/loss\n5,1,0.5\n,2")
    with open_logger("csv") as logger:
        own = logger.stage("pretrain")
        assert isinstance(own, CSVLogger)
        own.log_metrics({"train/loss": 0.25}, 3)
        own.save()
        own.log_metrics({"val/loss": torch.tensor(0.125)}, 3)
        own.save()
        own.log_metrics({"val/loss": 1.0}, 4)
        own.finalize("success")
    empty = {"old": "", "train/loss": "", "val/loss": ""}
    assert rows_of(tmp_path) == [
        {**empty, "old": "5", "step": "1", "train/loss": "0.5"},
        {**empty, "step": "3", "train/loss": "0.25"},
        {**empty, "step": "3", "val/loss": "0.125"},
        {**empty, "step": "4", "val/loss": "1.0"},
    ]


def _with_loss(folder: Path) -> list[dict[str, str]]:
    return [row for row in rows_of(folder) if row["train/loss"]]
