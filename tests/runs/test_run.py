"""Whole runs: what they find first, and how they go on."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only

from hsi_diffusion import SceneClassifier
from hsi_diffusion.errors import (
    CheckpointError,
    ConfigurationError,
    HsiDiffusionError,
    SceneError,
    SplitError,
)
from hsi_diffusion.recipes import merge
from hsi_diffusion.runs import (
    RunResult,
    RunSettings,
    pretrain_alone,
    run,
)
from tests.runs.tiny import BASELINE, TINY, WHOLE, metrics_of, report_of, start, stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
    (tmp_path / "empty.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"or is cut short; .* \(EOFError\)"):
        start(tmp_path / "no", {"pretrained": str(tmp_path / "empty.ckpt")})
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
        ({"features": {"levels": [9]}}, r"0 \(\w+\).* 9|got \[9\]"),
        ({"features": {"tile": 0}}, "tile must be at least 1"),
        ({"pretrain": {"losses": {"l3": 1.0}}}, "l3"),
        ({"pretrain": {"batch_size": 10, "devices": 1}}, r"unknown setting pretrain\.devices"),
        ({"pretrain": {"batch_size": 5}, "devices": 3, "nodes": 1}, "a multiple of 3, got 5; give"),
        ({"classifier": {"warmup": 2.0}}, "warmup must be at least 0 and below 1"),
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


def of_torch(name: str, **init_args: object) -> dict[str, object]:
    return {"class_path": f"torch.optim.{name}", "init_args": init_args}


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"optimizer": of_torch("SGD", lr=-1.0)}, r"\.optimizer can't be made: .*learning rate: -1"),
    (
        {"lr_scheduler": of_torch("lr_scheduler.OneCycleLR", max_lr=0.1)},
        r"\.lr_scheduler can't be made: .*total_steps",
    ),
    (
        {"lr_scheduler": of_torch("lr_scheduler.ReduceLROnPlateau")},
        r"\.lr_scheduler must name the metric that it watches",
    ),
]


@pytest.mark.parametrize("part", ["pretrain", "classifier"])
@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_torch_refuses_is_told_before_anything_is_computed(
    tmp_path: Path, part: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=part + message):
        start(tmp_path / "out", {part: changes})
    assert not (tmp_path / "out").exists()
