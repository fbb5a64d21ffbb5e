"""What stands in a run's folder is what the run found."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from hsi_diffusion import DiffusionPretrainModule, HSIMetrics, SimulatedSceneDataModule, Split
from hsi_diffusion.features.selection import Choice, Score, Trial
from hsi_diffusion.reports import IMAGES
from hsi_diffusion.runs import RunResult, RunSettings, show_result, write_outputs
from hsi_diffusion.runs.candidates import FeatureCandidate
from hsi_diffusion.runs.classification import Outcome
from hsi_diffusion.runs.learner_base import Classified, Costs
from hsi_diffusion.runs.outputs import plain_figures
from hsi_diffusion.runs.settings import SpaceSettings

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, Any] = {
    "scene": {"height": 40, "width": 36, "bands": 16, "num_classes": 4},
    "pretrain": {"patch_size": 8},
    "classifier": {"patch_size": 5},
}


@pytest.fixture(scope="module")
def result() -> RunResult:
    """Of a classifier that is right everywhere, and a control that takes 1 for 2."""
    data = SimulatedSceneDataModule(40, 36, 16, 4, split="10")
    data.setup()
    truth = torch.from_numpy(data.labels.ravel()[data.require_split().test] - 1)
    metrics, raw_metrics = HSIMetrics(4), HSIMetrics(4)
    metrics.update(truth, truth)
    raw_metrics.update(truth.where(truth != 1, 0), truth)
    best, other = FeatureCandidate((50,), (1,)), FeatureCandidate((5,), (0,))
    space = SpaceSettings(transform="mnf", components=5)
    return RunResult(
        data=data,
        pretrained=DiffusionPretrainModule(16, denoiser_options={"base_channels": 2}),
        method=Outcome(
            Choice((Trial(other, Score(0.5, 1.5)), Trial(best, Score(0.75, 0.25))), best),
            Classified(np.maximum(data.labels, 1), metrics, Costs(100, 1.23456, 0.5), 5),
        ),
        control=Outcome(
            Choice((Trial(space, Score(float("nan"), float("nan"))),), space),
            Classified(np.ones_like(data.labels), raw_metrics, Costs(90, 1.0, 0.25), 5),
        ),
        folds=1,
        seconds={"scene": 0.1234, "classifier": 2.0},
    )


@pytest.fixture(scope="module")
def folder(result: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    Image.new("RGB", (4, 4)).save(path / "reconstruction.png")  # the pretraining draws it
    write_outputs(result, RunSettings.from_dict(SETTINGS), path)
    return path


def test_metrics_are_those_of_the_result(result: RunResult, folder: Path) -> None:
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert found["overall_accuracy"] == found["kappa"] == found["miou"] == 1
    split = result.data.require_split()
    test = result.data.labels.ravel()[split.test]
    assert found["raw_bands"]["overall_accuracy"] == pytest.approx((test != 2).mean())
    assert found["raw_bands"]["per_class_accuracy"] == [1, 0, 1, 1]
    # the control calls everything 1
    labelled = result.data.labels.ravel()[split.labelled]
    assert found["training_accuracy"] == 1
    assert found["raw_bands"]["training_accuracy"] == pytest.approx((labelled == 1).mean())
    assert found["raw_bands"]["space"] == "mnf-5"
    assert found["pixels"] == {
        "train": len(split.train),
        "val": len(split.val),
        "test": len(split.test),
    }
    assert found["leakage"] == pytest.approx(split.leakage(5, "reflect"))
    assert found["seconds"] == {"scene": 0.12, "classifier": 2.0}
    module = result.pretrained
    assert module is not None
    denoiser = sum(weight.numel() for weight in module.trained_denoiser.parameters())
    assert found["costs"] == {
        "method": {"parameters": 100 + denoiser, "training_seconds": 1.23, "test_seconds": 0.5},
        "control": {"parameters": 90, "training_seconds": 1.0, "test_seconds": 0.25},
    }


def test_map_and_split_come_back(result: RunResult, folder: Path) -> None:
    stored = np.load(folder / "classification_map.npy")
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, result.method.classified.predicted)
    split = Split.load(folder / "split.npz")
    expected = result.data.require_split()
    for part in ("train", "val", "test"):
        assert getattr(split, part).tolist() == getattr(expected, part).tolist()


def test_the_report_shows_every_picture_that_is_there(folder: Path) -> None:
    report = (folder / "report.md").read_text(encoding="utf-8")
    missing = {"reconstruction_spectra.png", "timesteps.png"}
    drawn = set(IMAGES.values()) - missing
    for name in drawn:
        with Image.open(folder / name) as image:
            image.verify()
        assert f"({name})" in report
    assert not any(name in report for name in missing)
    assert str(FeatureCandidate((50,), (1,))) in report
    assert "mnf-5" in report
    assert f"--config {folder}/config.yaml" in report


def test_the_console_names_what_was_chosen(
    result: RunResult, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_result(result, folder)
    shown = " ".join(capsys.readouterr().out.split())
    assert "raw bands as mnf-5; 2 s in all" in shown
    assert "report.md" in shown


@pytest.mark.parametrize("failing", ["write_report", "save_figure"])
def test_a_run_is_finished_only_when_all_is_written(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(f"hsi_diffusion.runs.outputs.{failing}", fail)
    with pytest.raises(OSError, match="full"):
        write_outputs(result, RunSettings.from_dict(SETTINGS), tmp_path)
    assert not (tmp_path / "metrics.json").exists()


def test_a_class_without_test_pixels_has_no_figure() -> None:
    metrics = HSIMetrics(3)
    metrics.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    figures = plain_figures(metrics)
    assert figures["per_class_accuracy"] == [0.5, 1, None]
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_timesteps_that_the_classifier_trusts_are_shown(result: RunResult, tmp_path: Path) -> None:
    weights = np.full((40, 36, 2), 0.25, dtype=np.float32)
    weights[..., 1] = 0.75
    best = FeatureCandidate((50, 200), (1,))
    found = replace(
        result,
        method=Outcome(
            Choice((Trial(best, Score(0.5, 1.5)),), best),
            result.method.classified._replace(timestep_weights=weights),
        ),
    )
    write_outputs(found, RunSettings.from_dict(SETTINGS), tmp_path)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "(timesteps.png)" in report
    assert "| whole scene | 25.00 | 75.00 |" in report
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["timesteps"] == [50, 200]


def test_a_run_without_a_control_says_nothing_of_raw_bands(
    result: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = replace(result, control=None)
    write_outputs(alone, RunSettings.from_dict(SETTINGS), tmp_path)
    assert "raw_bands" not in json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert "raw bands |" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    show_result(alone, tmp_path)
    assert "raw bands" not in capsys.readouterr().out


def test_a_baseline_is_told_without_diffusion(
    result: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert result.control is not None
    baseline = replace(result, pretrained=None, method=result.control, control=None)
    settings = {**SETTINGS, "method": "svm", "pretrain": None}
    write_outputs(baseline, RunSettings.from_dict(settings), tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert found["per_class_accuracy"] == [1, 0, 1, 1]
    assert found["space"] == "mnf-5"
    assert not {"raw_bands", "timesteps", "levels"} & found.keys()
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "# svm on Simulated scene" in report
    assert "Space of the raw bands: mnf-5" in report
    assert "iffusion" not in report.split("## To repeat it")[0]
    show_result(baseline, tmp_path)
    assert "Learned from raw bands as mnf-5" in " ".join(capsys.readouterr().out.split())
