"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import wandb
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    jaccard_score,
)

from hsi_diffusion import DiffusionPretrainModule, FeatureClassifierModule, Split, simulate_scene
from hsi_diffusion.scenes import scene as scene_module
from tests.experiments.tiny import TINY

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def finished(main: Callable[[list[str]], int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main([*TINY, "--out", str(folder), "--split", "0.2", "--seed", "5"]) == 0
    return folder


def test_everything_is_written(finished: Path) -> None:
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
        "checkpoints/raw_bands.ckpt",
        "logs/pretrain/metrics.csv",
        "logs/classifier/metrics.csv",
    ):
        assert (finished / name).stat().st_size > 0, name
    logged = (finished / "logs" / "classifier" / "metrics.csv").read_text()
    assert "test/overall_accuracy" in logged
    report = (finished / "report.md").read_text()
    for picture in finished.glob("*.png"):
        assert f"({picture.name})" in report
    assert "training or validation" in report


def test_figures_agree_with_scikit_learn(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    predicted = np.load(finished / "classification_map.npy", allow_pickle=False)
    split = Split.load(finished / "split.npz")
    labels = simulate_scene(40, 36, 24, 4, seed=0).labels
    assert predicted.shape == labels.shape
    assert predicted.min() >= 1
    truth, found = labels.ravel()[split.test], predicted.ravel()[split.test]
    classes = np.unique(truth)
    share = np.array([(truth == c).mean() for c in classes])
    iou = jaccard_score(truth, found, labels=classes, average=None)
    expected = {
        "overall_accuracy": accuracy_score(truth, found),
        "average_accuracy": balanced_accuracy_score(truth, found),
        "kappa": cohen_kappa_score(truth, found),
        "miou": iou.mean(),
        "fwiou": (share * iou).sum(),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-9)
        assert 0 <= metrics["raw_bands"][name] <= 1
    for number, accuracy in enumerate(metrics["per_class_accuracy"], start=1):
        assert accuracy == pytest.approx((found[truth == number] == number).mean(), abs=1e-9)


def test_checkpoints_load(finished: Path) -> None:
    folder = finished / "checkpoints"
    for name, kind in (
        ("pretrain", DiffusionPretrainModule),
        ("classifier", FeatureClassifierModule),
    ):
        kind.load_from_checkpoint(folder / f"{name}.ckpt", weights_only=True)
    stored = torch.load(folder / "pretrain.ckpt", weights_only=True)
    assert stored["SimulatedSceneDataModule"]["transform"]


def test_the_written_configuration_repeats_the_run(
    finished: Path, main: Callable[[list[str]], int], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    config = str(finished / "config.yaml")
    assert main(["--config", config, "--out", str(again), "--no-progress"]) == 0
    maps = [np.load(f / "classification_map.npy", allow_pickle=False) for f in (finished, again)]
    assert (maps[0] == maps[1]).all()
    first, second = (json.loads((f / "metrics.json").read_text()) for f in (finished, again))
    for metrics in (first, second):
        del metrics["seconds"], metrics["costs"]
    assert first == second


def test_a_pretraining_is_used_again(
    finished: Path, main: Callable[[list[str]], int], tmp_path: Path
) -> None:
    out = tmp_path / "other"
    checkpoint = str(finished / "checkpoints" / "pretrain.ckpt")
    # other labels may choose other features, so all candidates' are kept to be compared
    arguments = [*TINY, "--pretrained", checkpoint, "--split", "10", "--out", str(out)]
    assert main([*arguments, "--set", "features.keep=all"]) == 0
    assert not (out / "checkpoints" / "pretrain.ckpt").exists()
    report = (out / "report.md").read_text()
    assert "reconstruction.png" not in report, "nothing was drawn, so nothing is shown"
    assert "base_channels: 2" in report
    # the same denoiser on the same scene: the same features, byte for byte
    names = {path.name for path in (finished / "features").iterdir()}
    assert len(names) == 1
    assert names < {path.name for path in (out / "features").iterdir()}


def test_an_existing_run_is_kept(
    finished: Path,
    main: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    before = (finished / "metrics.json").read_text()
    assert main([*TINY, "--out", str(finished)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (finished / "metrics.json").read_text() == before
    # even where it may be replaced: not before everything that was asked for is known to work
    checkpoint = str(finished / "checkpoints" / "pretrain.ckpt")
    for wrong in (["--split", "abc"], ["--pretrained", checkpoint]):
        assert main([*TINY, "--out", str(finished), "--overwrite", *wrong]) == 2
        assert (finished / "metrics.json").read_text() == before
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main([*TINY, "--out", str(tmp_path), "--overwrite"]) == 2
    assert "replaces only runs" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_warnings_of_the_library_are_lines_for_its_user(
    main: Callable[[list[str]], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back at the end
    assert main([*TINY, "--split", "abc", "--out", str(tmp_path / "out")]) == 2
    own = str(Path(scene_module.__file__))
    assert warnings.formatwarning("text", UserWarning, own, 3) == "warning: text\n"
    other = warnings.formatwarning("text", UserWarning, "other.py", 3, "")
    assert other.startswith("other.py:3: UserWarning: text")


def test_stopping_is_no_traceback(
    main: Callable[[list[str]], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hsi_diffusion.runs.pipeline.pretrain", stop)
    assert main([*TINY, "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err.startswith("stopped")
    assert not (tmp_path / "out").exists()


def test_an_interrupted_run_is_resumed(
    finished: Path,
    main: Callable[[list[str]], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr("hsi_diffusion.runs.network_learner.predict_map", stop)
        assert main([*TINY, "--out", str(out), "--split", "0.2", "--seed", "5"]) == 130
    trained = (out / "checkpoints" / "pretrain.ckpt").stat().st_mtime
    assert main(["--resume", str(out), "--seed", "4"]) == 2
    assert "leave out --seed" in capsys.readouterr().err
    assert main([*TINY, "--out", str(out)]) == 2
    assert f"--resume {out}" in capsys.readouterr().err

    assert main(["--resume", str(out), "--no-progress"]) == 0
    assert (out / "checkpoints" / "pretrain.ckpt").stat().st_mtime == trained
    whole, resumed = (json.loads((f / "metrics.json").read_text()) for f in (finished, out))
    assert (whole.pop("resumed"), resumed.pop("resumed")) == (False, True)
    for metrics in (whole, resumed):
        del metrics["seconds"], metrics["costs"]
    assert resumed == whole
    assert (out / "logs" / "pretrain" / "metrics.csv").stat().st_size > 0
    assert (out / "logs" / "classifier" / "metrics.csv").stat().st_size > 0
    assert main(["--resume", str(out)]) == 2
    assert "is finished" in capsys.readouterr().err
    assert main(["--resume", str(tmp_path)]) == 2
    assert "no config.yaml" in capsys.readouterr().err


def test_only_the_chosen_features_stay(finished: Path) -> None:
    assert len(list((finished / "features").glob("features-*.h5"))) == 1


def test_diffcrn_says_which_timesteps_it_trusts(
    main: Callable[[list[str]], int], tmp_path: Path
) -> None:
    changes = [
        "pretrain.patch_size=16",
        "pretrain.module.denoiser_options={channels: 16, stages: 2, window: 4, groups: 4}",
    ]
    tiny = [part for part in TINY if "denoiser_options" not in part]
    out = tmp_path / "out"
    given = [*tiny, *(f"--set={change}" for change in changes), "--split", "8", "--out", str(out)]
    assert main([*given, "--method", "diffcrn"]) == 0
    assert (out / "timesteps.png").stat().st_size > 0
    report = (out / "report.md").read_text()
    assert "weight t = 50" in report
    assert "3-fold cross-validation" not in report, "there was nothing to choose among"
    assert json.loads((out / "metrics.json").read_text())["timesteps"] == [50, 100]


def test_help_answers_at_once(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "experiments/run.py", "--help"],
        check=True,
        capture_output=True,
        text=True,
        cwd=repository,
    )
    for option in ("--scene", "--split", "--preset", "--seed", "--out", "--logger", "examples:"):
        assert option in done.stdout
    assert " torch" not in done.stderr


@pytest.mark.parametrize("script", ["ablation", "benchmark", "pixel_probe", "summarise"])
def test_the_help_of_other_scripts_answers_at_once(repository: Path, script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", f"experiments/{script}.py", "--help"],
        check=True,
        capture_output=True,
        text=True,
        cwd=repository,
    )
    assert " torch" not in done.stderr


def test_wandb_by_one_word(
    main: Callable[[list[str]], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    out = tmp_path / "tracked"
    assert main([*TINY, "--split", "0.2", "--logger", "wandb", "--out", str(out)]) == 0
    assert len(list(out.rglob("*.wandb"))) == 3
    assert list(out.rglob("media/images/reconstruction*.png"))
    assert len(list(out.rglob("media/images/classification_map*.png"))) == 2
    assert wandb.run is None


def test_a_resumed_run_is_the_same_in_wandb(
    main: Callable[[list[str]], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    out = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr("hsi_diffusion.runs.network_learner.predict_map", stop)
        assert main([*TINY, "--split", "0.2", "--logger", "wandb", "--out", str(out)]) == 130
    assert main(["--resume", str(out), "--no-progress"]) == 0
    # offline-run-DATE_TIME-ID
    parts = [folder.name.split("-")[-1] for folder in out.glob("wandb/offline-run-*")]
    kept = {file.stem: file.read_text() for file in out.glob("wandb/*.id")}
    assert kept.keys() == {"pretrain", "classifier", "raw_bands"}
    # the classifier was interrupted and begun again, as the same run
    times = {stage: parts.count(number) for stage, number in kept.items()}
    assert times == {"pretrain": 1, "classifier": 2, "raw_bands": 1}
    assert len(parts) == 4


def test_two_processes_pretrain_together(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "ddp"
    done = subprocess.run(
        [
            sys.executable,
            "experiments/run.py",
            *TINY,
            *("--split", "0.2", "--devices", "2", "--out", str(out)),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=repository,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((out / "metrics.json").read_text())["overall_accuracy"] > 0
    assert (out / "reconstruction.png").stat().st_size > 0, "the first process draws alone"
    for line in ("Scene simulated", "Pretraining without labels", "Report, maps and checkpoints"):
        assert done.stdout.count(line) == 1


def start_process(repository: Path, rank: int, arguments: list[str]) -> subprocess.Popen[str]:
    """One of two processes, as torchrun starts them."""
    environment = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "test",
    }
    return subprocess.Popen(
        [sys.executable, "experiments/run.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=repository,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("what", ["baseline", "pretrained", "one device"])
def test_only_the_first_of_several_processes_does_what_one_does(
    finished: Path, repository: Path, tmp_path: Path, what: str
) -> None:
    small = "scene={name: simulated, height: 40, width: 36, bands: 24, num_classes: 4}"
    given = {
        "baseline": ["--method", "svm", "--no-progress", "--set", small],
        "pretrained": [*TINY, "--pretrained", str(finished / "checkpoints" / "pretrain.ckpt")],
        "one device": TINY,
    }[what]
    # each into a folder of its own, so that what a process writes can be told apart
    places = [tmp_path / str(rank) for rank in range(2)]
    ranks = (0, 1) if what == "baseline" else (1,)
    started = [
        start_process(repository, rank, [*given, "--split", "0.2", "--out", str(places[rank])])
        for rank in ranks
    ]
    *_, (said, warned) = (process.communicate(timeout=240) for process in started)
    assert {process.returncode for process in started} == {0}
    assert (places[0] / "metrics.json").is_file() == (0 in ranks)
    assert not places[1].exists()
    assert said == ""
    expected = "warning: several processes were started, but the settings pretrain on one"
    assert (expected in warned) == (what == "one device")
