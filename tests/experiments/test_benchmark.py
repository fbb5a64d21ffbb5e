"""The benchmark script on a scene that takes seconds, killed and started again."""

from __future__ import annotations

import csv
import os
import signal
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import wandb
import yaml
from PIL import Image

from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

SCENE = {"name": "simulated", "height": 40, "width": 36, "bands": 24, "num_classes": 4}
DIFFUSION = {
    "accelerator": "cpu",
    "pretrain": {
        "components": 8,
        "patch_size": 8,
        "batch_size": 4,
        "steps": 3,
        "module": {"denoiser_options": {"base_channels": 2}},
    },
    "features": {"timesteps": [50], "levels": [1], "components": 8},
    "classifier": {"patch_size": 5, "steps": 10, "propagation": None, "module": {"members": 1}},
    "raw_bands": {"spaces": [{"transform": "mnf", "components": 8}]},
}
PLAN: dict[str, Any] = {
    "title": "A tiny benchmark",
    "note": "Of no use,\nbut quick.",
    "preset": "quick",
    "seeds": 2,
    "methods": [
        {"method": "knn", "title": "kNN"},
        {"method": "spectraldiff", "title": "SpectralDiff", "set": DIFFUSION},
        {
            "method": "spectraldiff",
            "title": "levels",
            "seeds": 1,
            "set": DIFFUSION,
            "vary": {"features.timesteps": [[10], [50]], "features.levels": [[1], [2]]},
        },
    ],
    "pairs": [["SpectralDiff", "kNN"]],
    "columns": [
        {"title": "ten", "scene": SCENE, "split": "10", "published": {"kNN": 67.07}},
        {"title": "tenth", "scene": SCENE, "split": "0.1", "methods": ["kNN"]},
    ],
}


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "benchmark")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "tiny.yaml"
    path.write_text(yaml.safe_dump(PLAN, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(script: ModuleType, plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a benchmark that ran through."""
    folder = tmp_path_factory.mktemp("benchmark")
    assert script.main([str(plan), "--out", str(folder)]) == 0
    return folder


def figures(folder: Path) -> list[list[str]]:
    """Everything in benchmark.csv but times."""
    with (folder / "benchmark.csv").open(encoding="utf-8") as file:
        lines = list(csv.reader(file))
    kept = [index for index, name in enumerate(lines[0]) if "seconds" not in name]
    return [[line[index] for index in kept] for line in lines]


def test_tables_hold_every_method_and_its_control(finished: Path) -> None:
    text = (finished / "benchmark.md").read_text(encoding="utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| class"))
    assert [cell.strip() for cell in header.split("|")[2:-1]] == [
        "kNN",
        "SpectralDiff",
        "SpectralDiff: raw bands",
    ]
    for part in (
        "# A tiny benchmark\n\nOf no use, but quick.\n",
        "## ten",
        "## tenth",
        "Published OA",
        "67.07",
    ):
        assert part in text
    # timesteps down, levels across
    assert "`features.timesteps` down and `features.levels` across" in text
    assert "SpectralDiff: raw bands" in text.split("Paired over the seeds")[1]
    assert r"\begin{tabular}" in (finished / "benchmark.tex").read_text(encoding="utf-8")
    rows = figures(finished)
    assert len(rows) == 1 + 2 + 2 * 2 + 4 + 2
    assert (finished / "per_class.csv").read_text(encoding="utf-8").count("\n") > len(rows)
    for name in ("maps-1", "maps-2", "differences"):
        with Image.open(finished / f"{name}.png") as image:
            image.verify()


def test_all_methods_on_all_splits_stand_in_one_table(finished: Path) -> None:
    text = (finished / "benchmark.md").read_text(encoding="utf-8")
    overview = text.split("## Overall accuracy")[1].split("##")[0]
    with (finished / "benchmark.csv").open(encoding="utf-8") as file:
        values = [
            100 * float(line["overall_accuracy"])
            for line in csv.DictReader(file)
            if line["row"] == "kNN"
        ]
    of_ten, of_tenth = (
        f"{statistics.mean(part):.2f} ± {statistics.stdev(part):.2f}"
        for part in (values[:2], values[2:])
    )
    rows = [line for line in overview.splitlines() if line.startswith("|")][2:]
    assert rows[0] == f"| kNN | {of_ten} | {of_tenth} |"
    assert [row.split(" | ")[0] for row in rows[1:]] == [
        "| SpectralDiff",
        "| SpectralDiff: raw bands",
    ]


def test_what_was_measured_elsewhere_is_not_run_again(
    finished: Path,
    script: ModuleType,
    plan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = tmp_path / "part"
    part.mkdir()
    for name in ("benchmark.csv", "per_class.csv"):
        lines = (finished / name).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("kNN,ten,1")]
        (part / name).write_text("".join(kept), encoding="utf-8")
    place = tmp_path / "rest"
    assert script.main([str(plan), "--out", str(place), "--also", str(part)]) == 0
    assert [folder.name.split("-seed")[0] for folder in (place / "cells").iterdir()] == ["kNN-ten"]
    assert figures(place) == figures(finished)
    text = (place / "benchmark.md").read_text(encoding="utf-8")
    assert "## tenth" in text
    assert "Not run yet" not in text
    missing = ["--tables-only", "--out", str(tmp_path / "none")]
    other = [*missing, "--also", str(part), "--set", "classifier.steps=2"]
    capsys.readouterr()
    assert script.main([str(plan), *other]) == 0
    said = capsys.readouterr()
    assert "3 measurements were made with other settings" in said.err
    assert "(the first: kNN, ten, seed 0)" in said.err
    assert "Not run yet: 4 of 10 runs" in said.out  # SpectralDiff says its steps itself
    assert script.main([str(plan), *missing, "--also", str(part)]) == 0
    text = (tmp_path / "none" / "benchmark.md").read_text(encoding="utf-8")
    assert "Not run yet: 1 of 10 runs" in text
    assert script.main([str(plan), *missing, "--also", str(tmp_path)]) == 2


def test_one_pretraining_serves_all_that_can_use_it(finished: Path) -> None:
    assert len(list((finished / "pretrained").glob("*/checkpoints/pretrain.ckpt"))) == 2


def test_killed_and_started_again_it_gives_the_same_table(
    finished: Path, plan: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command = [sys.executable, "experiments/benchmark.py", str(plan), "--out", str(tmp_path)]
    # as many threads as here: sums over several round differently
    place: dict[str, Any] = {
        "cwd": request.config.rootpath,
        "env": {**os.environ, "OMP_NUM_THREADS": "1"},
    }
    process = subprocess.Popen(command, **place, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("cells/*/metrics.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(tmp_path.glob("cells/*/metrics.json")))
    assert 2 <= done < 10
    assert not (tmp_path / "benchmark.md").exists()
    again = subprocess.run(command, **place, capture_output=True, text=True, check=True)
    assert again.stdout.count(": done before") == done
    assert figures(tmp_path) == figures(finished)


def test_options_run_a_part_of_a_file(
    script: ModuleType, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = [str(plan), "--out", str(tmp_path)]
    assert script.main([*part, "--methods", "kNN", "--splits", "10"]) == 0
    assert len(figures(tmp_path)) == 1 + 2
    assert "Not run yet: 8 of 10 runs." in capsys.readouterr().out
    # the tables keep what was run before
    assert script.main([*part, "--splits", "0.1"]) == 0
    assert len(figures(tmp_path)) == 1 + 4
    (tmp_path / "benchmark.csv").unlink()
    assert script.main([*part, "--tables-only"]) == 0
    assert len(figures(tmp_path)) == 1 + 4
    capsys.readouterr()
    assert script.main([*part, "--methods", "svm"]) == 2
    assert "--methods must name some of the file's (kNN, SpectralDiff" in capsys.readouterr().err
    assert script.main([*part, "--methods", "SpectralDiff", "--splits", "0.1"]) == 2
    assert "no run of --methods, --scenes and --splits together" in capsys.readouterr().err
    options = script.parse_arguments([*part, "--seeds", "4"])
    assert script.settings_from(options).seeds == (4,)


def test_a_stopped_training_says_how_to_go_on(
    script: ModuleType,
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise SystemExit(1)  # what Lightning makes of Ctrl-C

    monkeypatch.setattr("hsi_diffusion.runs.network_learner.train_classifier", stop)
    options = [str(plan), "--methods", "SpectralDiff", "--out", str(tmp_path)]
    assert script.main(options) == 130
    assert "stopped; the same command goes on" in capsys.readouterr().err


def test_a_failed_cell_is_told_and_stops_nothing(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {
        "method": "knn",
        "title": "broken",
        "set": {"classifier": {"estimator": {"name": ""}}},
    }
    plan = tmp_path / "plan.yaml"
    content = {**PLAN, "methods": ["knn", broken], "columns": PLAN["columns"][:1], "pairs": []}
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert script.main([str(plan), "--seeds", "0", "--out", str(tmp_path / "out")]) == 1
    assert "- broken, ten, seed 0: classifier.estimator" in capsys.readouterr().out
    assert len(figures(tmp_path / "out")) == 2


def test_it_needs_methods(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([]) == 2
    assert "name the methods to compare (--methods, of cnn1d" in capsys.readouterr().err


def test_runs_are_followed_as_one_group(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    groups = []
    init = wandb.init

    def note(*given: Any, **options: Any) -> Any:
        groups.append((options["group"], options["job_type"]))
        return init(*given, **options)

    monkeypatch.setattr(wandb, "init", note)
    plan = tmp_path / "plan.yaml"
    methods = ["knn", {**PLAN["methods"][1], "control": False}]
    content = {**PLAN, "methods": methods, "columns": PLAN["columns"][:1], "pairs": []}
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    options = ["--seeds", "0", "--logger", "wandb", "--out", str(tmp_path / "out")]
    assert script.main([str(plan), *options]) == 0
    stages = ("raw_bands", "pretrain", "classifier")
    assert groups == [("A tiny benchmark", stage) for stage in stages]
    assert len(list((tmp_path / "out").rglob("offline-run-*"))) == 3
