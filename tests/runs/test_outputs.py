"""What a run leaves behind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from skimage.measure import label
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from hsi_diffusion import HSIMetrics, SceneClassifier, Split, simulate_scene
from hsi_diffusion.recipes import FeatureCandidate, merge
from hsi_diffusion.runs import (
    RunLogger,
    RunResult,
    show_result,
    write_outputs,
)
from tests.runs.tiny import BASELINE, MNF, metrics_of, report_of, start

if TYPE_CHECKING:
    from pathlib import Path


def test_everything_is_written(finished: tuple[Path, RunResult]) -> None:
    folder, result = finished
    assert f"\n\n24 x 24 pixels with {result.scene.bands} bands, 400 to " in report_of(folder)
    for name in (
        "config.yaml",
        "report.md",
        "metrics.json",
        "split.npz",
        "classification_map.npy",
        "control_map.npy",
        "classification_map.png",
        "false_colour.png",
        "confusion_matrix.png",
        "split.png",
        "reconstruction.png",
        "reconstruction_spectra.png",
        "checkpoints/pretrain.ckpt",
        "checkpoints/classifier.ckpt",
        "checkpoints/control.ckpt",
        "logs/pretrain/metrics.csv",
        "logs/classifier/metrics.csv",
        "logs/control/metrics.csv",
        "model/model.json",
    ):
        assert (folder / name).stat().st_size > 0, name
    for picture in folder.glob("*.png"):
        assert f"({picture.name})" in report_of(folder)
    assert "timesteps.png" not in report_of(folder), "this classifier weighs none"
    assert f"hsi-diffusion run --config {folder}/config.yaml" in report_of(folder)
    assert len(list((folder / "features").glob("*.h5"))) == 1, "only the chosen features stay"


def test_a_run_draws_only_where_figures_are_wanted(baseline: tuple[Path, RunResult]) -> None:
    folder, _ = baseline
    assert (folder / "classification_map.npy").is_file()
    assert [path.name for path in folder.rglob("*") if path.suffix in (".png", ".pdf")] == []
    assert ".png" not in report_of(folder)


def test_figures_agree_with_scikit_learn(finished: tuple[Path, RunResult]) -> None:
    folder, _ = finished
    metrics = metrics_of(folder)
    mapped = np.load(folder / "classification_map.npy", allow_pickle=False)
    labels = simulate_scene(24, 24, 16, 3, seed=0).labels
    split = Split.load(folder / "split.npz")
    assert (mapped.shape, mapped.dtype, mapped.min()) == (labels.shape, np.uint8, 1)
    control = np.load(folder / "control_map.npy", allow_pickle=False)
    for found, predicted in ((metrics, mapped), (metrics["raw_bands"], control)):
        truth, given = (array.ravel()[split.test] for array in (labels, predicted))
        for name, score in {
            "overall_accuracy": accuracy_score,
            "average_accuracy": balanced_accuracy_score,
            "kappa": cohen_kappa_score,
        }.items():
            assert found[name] == pytest.approx(score(truth, given), abs=1e-9)
        recalls = [(given[truth == number] == number).mean() for number in (1, 2, 3)]
        assert found["per_class_accuracy"] == pytest.approx(recalls, abs=1e-9)
        precisions, _, f1, _ = precision_recall_fscore_support(
            truth, given, labels=[1, 2, 3], zero_division=np.nan
        )
        assert found["per_class_users_accuracy"] == pytest.approx(precisions, nan_ok=True)
        assert found["per_class_f1"] == pytest.approx(f1, nan_ok=True)
        assert found["confusion_matrix"] == {
            "rows": "ground truth",
            "columns": "predicted",
            "pixels": confusion_matrix(truth, given, labels=[1, 2, 3]).tolist(),
        }
        learned = (labels.ravel() == predicted.ravel())[split.labelled]
        assert found["training_accuracy"] == pytest.approx(learned.mean())
        fields = label(labels, connectivity=2)  # type: ignore[no-untyped-call]
        unseen = ~np.isin(fields, np.unique(fields.ravel()[split.labelled]))
        unseen &= np.isin(np.arange(labels.size).reshape(labels.shape), split.test)
        right = (labels == predicted)[unseen].mean() if unseen.any() else None
        assert found["unseen_fields_accuracy"] == pytest.approx(right)
    assert metrics["raw_bands"]["space"] == "mnf-5"
    assert metrics["pixels"] == {
        part: len(getattr(split, part)) for part in ("train", "val", "test")
    }
    assert metrics["leakage"] == pytest.approx(split.leakage(3, "reflect"))
    rows, columns = np.divmod(split.test, labels.shape[1])
    known = np.divmod(split.labelled, labels.shape[1])
    away = np.hypot(rows[:, None] - known[0], columns[:, None] - known[1]).min(axis=1)
    told = f"The nearest one is {away.min():.3g} pixels away at least, {np.median(away):.3g} in the"
    assert (told in report_of(folder)) == (metrics["leakage"] <= 0.05)


def test_costs_count_the_denoiser_where_there_is_one(finished: tuple[Path, RunResult]) -> None:
    folder, result = finished
    module = result.method.model.pretrained
    assert module is not None
    denoiser = sum(weight.numel() for weight in module.trained_denoiser.parameters())
    costs = metrics_of(folder)["costs"]
    # features are reduced to 8 components, raw bands to 5: one convolution differs
    more = costs["method"]["parameters"] - costs["control"]["parameters"] - denoiser
    weights = torch.load(folder / "checkpoints" / "control.ckpt", weights_only=True)["state_dict"]
    first = next(weight for weight in weights.values() if weight.ndim == 4)
    assert more == 3 * first[:, 0].numel()


def test_the_saved_model_gives_the_map_of_the_run(finished: tuple[Path, RunResult]) -> None:
    folder, result = finished
    model = SceneClassifier.from_pretrained(folder / "model")
    assert np.array_equal(model.predict(result.scene).classes, result.method.predicted)


def test_what_was_chosen_is_told(
    finished: tuple[Path, RunResult], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = finished
    best = FeatureCandidate(
        tuple(metrics_of(folder)["timesteps"]), tuple(metrics_of(folder)["levels"])
    )
    assert str(best) in report_of(folder)
    assert "Test pixels were not looked at" in report_of(folder)
    assert result.method.model.record is not None
    trials = result.method.model.record.trials
    [score] = (trial for trial in trials if trial.candidate == best)
    assert metrics_of(folder)["validation"] == {
        "overall_accuracy": score.accuracy,
        "cross_entropy": score.loss,
    }
    show_result(result, folder)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Learned from features of {best}; raw bands as mnf-5;" in shown
    assert "report.md" in shown


def written(result: RunResult, folder: Path) -> dict[str, Any]:
    (folder / "model").mkdir()
    with RunLogger("none", folder, "test", {}) as logger:
        write_outputs(result, folder, logger)
    return metrics_of(folder)


def test_a_class_without_test_pixels_has_no_figure(
    finished: tuple[Path, RunResult], tmp_path: Path
) -> None:
    _, result = finished
    metrics = HSIMetrics(3)
    metrics.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    found = written(replace(result, method=replace(result.method, metrics=metrics)), tmp_path)
    assert found["per_class_accuracy"] == [0.5, 1, None]
    assert found["per_class_users_accuracy"] == [1, 0.5, None]
    assert found["per_class_f1"] == pytest.approx([2 / 3, 2 / 3, None])
    assert "| 50.00 | 100.00 | 66.67 |" in report_of(tmp_path)


def test_timesteps_that_the_classifier_trusts_are_shown(
    finished: tuple[Path, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = finished
    model, record = result.method.model, result.method.model.record
    assert record is not None
    weights = np.full((24, 24, 2), 0.25, dtype=np.float32)
    weights[..., 1] = 0.75
    best = FeatureCandidate((50, 200), (1,))
    changed = replace(record, best=replace(record.best, candidate=best), timestep_weights=weights)
    monkeypatch.setattr(model, "record", changed)
    found = written(result, tmp_path)
    assert "(timesteps.png)" in report_of(tmp_path)
    assert "| whole scene | 25.00 | 75.00 |" in report_of(tmp_path)
    assert found["timesteps"] == [50, 200]


def test_a_run_without_a_control_says_nothing_of_raw_bands(
    finished: tuple[Path, RunResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = replace(finished[1], control=None, seconds={"scene": 1.0})
    assert "raw_bands" not in written(alone, tmp_path)
    assert "raw bands |" not in report_of(tmp_path)
    show_result(alone, tmp_path)
    assert "raw bands" not in capsys.readouterr().out


def test_a_baseline_is_told_without_diffusion(
    baseline: tuple[Path, RunResult], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = baseline
    found = metrics_of(folder)
    assert found["space"] == "mnf-5, blur 2"
    assert not {"raw_bands", "timesteps", "levels"} & found.keys()
    assert found["costs"]["method"]["parameters"] is None
    # how far a pixel is mixed with others counts: 2 pixels of blur reach 8 to each side
    assert found["leakage"] == pytest.approx(result.split.leakage(17))
    assert not (folder / "features").exists()
    report = report_of(folder)
    assert "# knn on Simulated scene" in report
    assert "iffusion" not in report.split("## To repeat it")[0]
    show_result(result, folder)
    assert "Learned from raw bands as mnf-5, blur 2;" in " ".join(capsys.readouterr().out.split())


def test_a_network_whose_labels_are_spread_sees_the_whole_scene(tmp_path: Path) -> None:
    spread = {"spreading": {"label_weight": 1.0, "space": MNF}, "raw_bands": [MNF]}
    start(tmp_path, {"pretrain": {"denoiser": None}, **spread})
    assert metrics_of(tmp_path)["leakage"] is None
    assert "joined with its nearest neighbours in the whole scene" in report_of(tmp_path)


def test_times_of_a_run_that_was_stopped_are_told_as_those_of_a_session(
    finished: tuple[Path, RunResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, result = finished
    assert "last session" not in report_of(folder)
    resumed = replace(result, resumed=True)
    assert written(resumed, tmp_path)["resumed"]
    assert "the times of its last session only" in report_of(tmp_path)
    show_result(resumed, tmp_path)
    assert "s in its last session." in " ".join(capsys.readouterr().out.split())


def test_an_only_candidate_is_scored_where_that_is_wanted(
    baseline: tuple[Path, RunResult], tmp_path: Path
) -> None:
    folder, result = baseline
    assert metrics_of(folder)["validation"] == {}
    start(tmp_path, merge(BASELINE, {"choice": {"score": True}}))
    assert 0.3 < metrics_of(tmp_path)["validation"]["overall_accuracy"] < 1
    report = report_of(tmp_path)
    assert "Its score: by the overall accuracy on" in report
    assert "| candidate | validation OA |" in report
    assert np.array_equal(np.load(tmp_path / "classification_map.npy"), result.method.predicted), (
        "the score changes nothing else"
    )


def test_a_report_tells_that_few_bands_give_few_components(tmp_path: Path) -> None:
    asked = {"transform": {"class_path": "MNF", "init_args": {"components": 50}}}
    result = start(tmp_path, merge(BASELINE, {"raw_bands": [asked]}))
    bands = result.scene.bands
    assert f"the scene has {bands} bands, so that no transform gives 50" in report_of(tmp_path)


def test_a_report_tells_what_an_svm_chose_and_no_settings_that_played_no_part(
    tmp_path: Path,
) -> None:
    machine = {"estimator": "hsi_diffusion.classifiers.SupportVectorMachine"}
    start(tmp_path, merge(BASELINE, {"method": "svm", "classifier": machine}))
    sigma = metrics_of(tmp_path)["found"]["sigma"]
    report = report_of(tmp_path)
    assert f"SupportVectorMachine chose itself on raw bands: sigma {sigma:.4g}, cost " in report
    settings = report.partition("Settings:")[2]
    assert "raw_bands:" in settings
    assert "simulated:" in settings
    assert "pretrain:" not in settings
    assert "timesteps:" not in settings
    network = ("network:", "patch_size:", "batch_size:", "steps:", "spreading:")
    assert [name for name in network if name in settings] == []


def test_an_svm_that_chose_nothing_tells_no_figures_of_a_choice(tmp_path: Path) -> None:
    machine = {"class_path": "SupportVectorMachine", "init_args": {"sigmas": [2], "costs": [10]}}
    start(tmp_path, merge(BASELINE, {"method": "svm", "classifier": {"estimator": machine}}))
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    found = metrics_of(tmp_path)["found"]
    assert found == {"name": "SupportVectorMachine", "rows": 30, "channels": 5}
    assert "chose itself" not in report_of(tmp_path)


def test_a_report_tells_what_few_pixels_were_taken(tmp_path: Path) -> None:
    start(tmp_path, merge(BASELINE, {"split": "5000"}))
    assert "- 5000 asked per class, and half of a class is kept" in report_of(tmp_path)


@pytest.mark.parametrize("failing", ["write_report", "save_both"])
def test_a_run_is_finished_only_when_all_is_written(
    finished: tuple[Path, RunResult],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(f"hsi_diffusion.runs.outputs.{failing}", fail)
    with pytest.raises(OSError, match="full"):
        written(finished[1], tmp_path)
    assert not (tmp_path / "metrics.json").exists()
