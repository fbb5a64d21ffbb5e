"""Whole runs: what they find first, what they leave behind, and how they go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score

from hsi_diffusion import HSIMetrics, SceneClassifier, Split, simulate_scene
from hsi_diffusion.errors import (
    CheckpointError,
    ConfigurationError,
    HsiDiffusionError,
    SceneError,
    SplitError,
)
from hsi_diffusion.recipes import FeatureCandidate, merge
from hsi_diffusion.runs import (
    RunLogger,
    RunResult,
    RunSettings,
    pretrain_alone,
    run,
    show_result,
    write_outputs,
)
from tests.runs.tiny import MNF, TINY, WHOLE, metrics_of, start, stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASELINE = merge(
    TINY,
    {
        "method": "knn",
        "pretrain": {"denoiser": None},
        "classifier": {"estimator": "sklearn.neighbors.KNeighborsClassifier"},
        "raw_bands": [{**MNF, "blur": 2.0}],
    },
)


def report_of(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A method with two candidates, and its control."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, start(folder, WHOLE)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    folder = tmp_path_factory.mktemp("runs") / "baseline"
    return folder, start(folder, BASELINE)


def test_everything_is_written(finished: tuple[Path, RunResult]) -> None:
    folder, result = finished
    assert f"\n\n24 x 24 pixels with {result.scene.bands} bands, 400 to " in report_of(folder)
    for name in (
        "config.yaml",
        "report.md",
        "metrics.json",
        "split.npz",
        "classification_map.npy",
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
    folder, result = finished
    metrics = metrics_of(folder)
    mapped = np.load(folder / "classification_map.npy", allow_pickle=False)
    labels = simulate_scene(24, 24, 16, 3, seed=0).labels
    split = Split.load(folder / "split.npz")
    assert (mapped.shape, mapped.dtype, mapped.min()) == (labels.shape, np.uint8, 1)
    assert result.control is not None
    for found, predicted in ((metrics, mapped), (metrics["raw_bands"], result.control.predicted)):
        truth, given = (array.ravel()[split.test] for array in (labels, predicted))
        for name, score in {
            "overall_accuracy": accuracy_score,
            "average_accuracy": balanced_accuracy_score,
            "kappa": cohen_kappa_score,
        }.items():
            assert found[name] == pytest.approx(score(truth, given), abs=1e-9)
        recalls = [(given[truth == number] == number).mean() for number in (1, 2, 3)]
        assert found["per_class_accuracy"] == pytest.approx(recalls, abs=1e-9)
        learned = (labels.ravel() == predicted.ravel())[split.labelled]
        assert found["training_accuracy"] == pytest.approx(learned.mean())
    assert metrics["raw_bands"]["space"] == "mnf-5"
    assert metrics["pixels"] == {
        part: len(getattr(split, part)) for part in ("train", "val", "test")
    }
    assert metrics["leakage"] == pytest.approx(split.leakage(3, "reflect"))


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
    trials = result.method.model.record.choice.trials
    [score] = (trial.score for trial in trials if trial.candidate == best)
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


def test_timesteps_that_the_classifier_trusts_are_shown(
    finished: tuple[Path, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = finished
    model, record = result.method.model, result.method.model.record
    assert record is not None
    weights = np.full((24, 24, 2), 0.25, dtype=np.float32)
    weights[..., 1] = 0.75
    best = FeatureCandidate((50, 200), (1,))
    changed = replace(record, choice=replace(record.choice, best=best), timestep_weights=weights)
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


def test_an_only_candidate_is_scored_where_that_is_wanted(
    baseline: tuple[Path, RunResult], tmp_path: Path
) -> None:
    folder, result = baseline
    assert metrics_of(folder)["validation"] == {}
    start(tmp_path, merge(BASELINE, {"choice": {"score": True}}))
    assert 0.3 < metrics_of(tmp_path)["validation"]["overall_accuracy"] < 1
    assert "Its score: by the overall accuracy on" in report_of(tmp_path)
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


def test_an_interrupted_run_is_resumed(
    finished: tuple[Path, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(SceneClassifier, "fit", stop)
        with pytest.raises(KeyboardInterrupt):
            start(out, WHOLE)
    checkpoint = out / "checkpoints" / "pretrain.ckpt"
    trained = checkpoint.stat().st_mtime_ns
    figure = out / "reconstruction.png"
    drawn = figure.read_bytes()
    figure.unlink()  # killed between the checkpoint and its figures
    # as a process that was killed leaves it
    (out / "features" / ".spool-x1_").mkdir(parents=True)
    half = out / f".reconstruction-{'0a' * 8}.png"
    half.touch()
    with pytest.raises(ConfigurationError, match=r"had other settings \(seed\)"):
        start(out, {**WHOLE, "seed": 4}, resume=True)
    start(out, WHOLE, resume=True)
    assert checkpoint.stat().st_mtime_ns == trained
    assert figure.read_bytes() == drawn
    assert not half.exists()
    curve = "logs/pretrain/metrics.csv"
    assert (out / curve).read_text() == (finished[0] / curve).read_text()
    assert "epoch" not in (out / curve).read_text(), "it depends on where a training went on"
    assert all(path.suffix == ".h5" for path in (out / "features").iterdir())
    whole, resumed = metrics_of(finished[0]), metrics_of(out)
    assert (whole.pop("resumed"), resumed.pop("resumed")) == (False, True)
    for metrics in (whole, resumed):
        del metrics["seconds"], metrics["costs"]
    assert resumed == whole


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def of_another_network(path: Path) -> None:
    stored = torch.load(path, weights_only=True)
    first = next(iter(stored["state_dict"]))
    stored["state_dict"][first] = torch.zeros(3)
    torch.save(stored, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"pretrain\.ckpt can't be read as the checkpoint of a pretraining"),
        (of_another_network, r"another network: .* has shape \(3,\)"),
    ],
)
def test_a_damaged_checkpoint_is_told(
    finished: tuple[Path, RunResult],
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    out = tmp_path / "damaged"
    shutil.copytree(finished[0], out)
    (out / "metrics.json").unlink()
    damage(out / "checkpoints" / "pretrain.ckpt")
    with pytest.raises(CheckpointError, match=message):
        start(out, WHOLE, resume=True)


def test_a_pretraining_is_used_again(finished: tuple[Path, RunResult], tmp_path: Path) -> None:
    folder, _ = finished
    checkpoint = str(folder / "checkpoints" / "pretrain.ckpt")
    out = tmp_path / "again"
    changes = {"pretrained": checkpoint, "pretrain": {"steps": 99}, "features": {"keep": "all"}}
    start(out, merge(WHOLE, changes))
    assert not (out / "checkpoints" / "pretrain.ckpt").exists()
    assert "reconstruction.png" not in report_of(out), "nothing was drawn, so nothing is shown"
    # the same denoiser on the same scene: the same features
    names = {path.name for path in (folder / "features").iterdir()}
    assert names < {path.name for path in (out / "features").iterdir()}
    with pytest.raises(ConfigurationError, match=r"was trained on 16 bands, but .* has 12"):
        start(tmp_path / "no", merge(WHOLE, changes | {"simulated": {"bands": 12}}))
    with pytest.raises(CheckpointError, match=r"there is no checkpoint file .*pretrain\.ckpt"):
        start(tmp_path / "no", {"pretrained": str(tmp_path)})
    assert not (tmp_path / "no").exists()


def test_a_checkpoint_of_another_scene_is_told(
    finished: tuple[Path, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = str(finished[0] / "checkpoints" / "pretrain.ckpt")
    labels = np.kron([[1, 2]], np.ones((20, 10), dtype=int))
    changes = merge(custom(tmp_path, labels, bands=16), {"pretrained": checkpoint})
    monkeypatch.setattr(SceneClassifier, "fit", stop)
    with (
        pytest.warns(UserWarning, match=r"another scene: 576 pixels \(all pixels of sim"),
        pytest.raises(KeyboardInterrupt),
    ):
        start(tmp_path / "run", changes)
    np.savetxt(tmp_path / "waves.txt", np.linspace(900, 1700, 16))
    other = changes | {"wavelengths": str(tmp_path / "waves.txt")}
    with pytest.raises(SceneError, match=r"wavelengths of 576 pixels .* this denoiser was fitted"):
        start(tmp_path / "other", other)


def test_steps_in_parts_are_as_many_and_see_as_many_patches(tmp_path: Path) -> None:
    def pretrained(name: str, micro: int | None) -> dict[str, int]:
        plain = merge(TINY, {"pretrain": {"micro_batch_size": micro, "steps": 2}})
        pretrain_alone(RunSettings.from_dict(plain), tmp_path / name, progress=False)
        path = tmp_path / name / "checkpoints" / "pretrain.ckpt"
        stored = torch.load(path, map_location="cpu", weights_only=True)
        batches = stored["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["completed"]
        return {"steps": stored["global_step"], "batches": batches}

    assert pretrained("whole", None) == {"steps": 2, "batches": 2}
    assert pretrained("parts", 1) == {"steps": 2, "batches": 8}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"timesteps": [700]}}, "t must be from 0 to 499 .*700"),
        ({"features": {"levels": [9]}}, r"0 \(\w+\).* 9|\[9\] was given"),
        ({"features": {"tile": 0}}, "tile must be at least 1"),
        ({"pretrain": {"losses": {"l3": 1.0}}}, "l3"),
        ({"pretrain": {"batch_size": 10, "devices": 1}}, r"unknown setting pretrain\.devices"),
        ({"pretrain": {"batch_size": 5}, "devices": 3, "nodes": 1}, "a multiple of 3, got 5; give"),
        ({"classifier": {"warmup": 2.0}}, "warmup must be a fraction"),
        ({"classifier": {"members": 0}}, "members must be"),
        (
            {"spreading": {"label_weight": 1.0, "neighbours": 576}},
            r"spreading\.neighbours must be below the number of pixels, 576, got 576",
        ),
        ({"accelerator": "abacus"}, r"accelerator='abacus' .* can't be used here.*auto"),
        ({"split": "1", "features": {"levels": [0, 1]}}, "don't fill 3 folds"),
        ({"val_fraction": 0, "choice": {"folds": 1}, "raw_bands": [{}, {}]}, "no validation pixel"),
        ({"split": "1.5"}, r"1\.5"),
        ({"split": "none.npz"}, r"none\.npz"),
        ({"split": "fixed"}, "train_mask"),
    ],
)
def test_settings_of_late_stages_are_checked_first(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(HsiDiffusionError, match=message):
        start(tmp_path / "run", changes)
    assert not (tmp_path / "run").exists()


def custom(folder: Path, labels: np.ndarray[Any, Any], bands: int = 8) -> dict[str, Any]:
    cube = np.random.default_rng(0).normal(size=(*labels.shape, bands))
    np.save(folder / "cube.npy", cube)
    np.save(folder / "labels.npy", labels)
    return {"cube": str(folder / "cube.npy"), "labels": str(folder / "labels.npy")}


def test_there_must_be_classes_and_something_left_to_test(tmp_path: Path) -> None:
    changes = custom(tmp_path, np.eye(30, dtype=np.uint8))
    with pytest.raises(SceneError, match=r"a single class.*0 means unlabelled"):
        start(tmp_path / "run", changes)
    changes = custom(tmp_path, np.diag([1, 2, *[0] * 28]))  # two classes with one pixel each
    with pytest.raises(SplitError, match="no test pixels"):
        start(tmp_path / "run", changes)
    changes = custom(tmp_path, np.zeros((20, 20), dtype=np.uint8))
    with pytest.raises(SplitError, match="unlabelled"):
        start(tmp_path / "run", changes)
    assert not (tmp_path / "run").exists()


def test_a_failure_before_anything_is_computed_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        assert (tmp_path / "run" / "config.yaml").is_file()
        raise HsiDiffusionError("no")

    monkeypatch.setattr(SceneClassifier, "pretrain", fail)
    with pytest.raises(HsiDiffusionError):
        start(tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "warns"), [(BASELINE, False), ({}, True), ({"pretrained": "any.ckpt"}, False)]
)
def test_only_the_first_of_several_processes_does_what_one_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
    changes: dict[str, Any],
    warns: bool,
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    settings = RunSettings.from_dict(merge(TINY, changes))
    said: list[str] = []
    assert run(settings, tmp_path / "run", progress=False, say=said.append) is None
    assert not (tmp_path / "run").exists()
    assert said == []
    expected = "several processes were started, but the settings pretrain on one"
    assert any(expected in str(warning.message) for warning in recwarn) == warns
