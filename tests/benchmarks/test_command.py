"""Benchmarks on a scene that takes seconds, killed and started again."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import re
import signal
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import wandb
import yaml
from PIL import Image

from hsi_diffusion import make_split, simulate_scene
from hsi_diffusion.benchmarks.command import ablate, benchmark
from tests.benchmarks.tiny import MNF, SIZE
from tests.processes import run_python, start_python

if TYPE_CHECKING:
    from pathlib import Path

SCENE = {"name": "simulated", **SIZE}
DIFFUSION = {
    "accelerator": "cpu",
    "pretrain": {
        "transform": MNF,
        "denoiser": {"base_channels": 2},
        "patch_size": 8,
        "batch_size": 4,
        "steps": 3,
    },
    "features": {"timesteps": [50], "levels": [1], "components": 8},
    "classifier": {"patch_size": 5, "steps": 10, "members": 1},
    "spreading": {"label_weight": 0},
    "raw_bands": [{"transform": MNF}],
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
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "tiny.yaml"
    path.write_text(yaml.safe_dump(PLAN, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a benchmark that ran through."""
    folder = tmp_path_factory.mktemp("benchmark")
    assert benchmark([str(plan), "--out", str(folder)]) == 0
    return folder


def figures(folder: Path) -> list[list[str]]:
    """Everything in benchmark.csv but times."""
    with (folder / "benchmark.csv").open(encoding="utf-8") as file:
        lines = list(csv.reader(file))
    kept = [index for index, name in enumerate(lines[0]) if "seconds" not in name]
    return [[line[index] for index in kept] for line in lines]


PART = ["--methods", "kNN", "SpectralDiff", "--splits", "10"]


def figures_of_part(folder: Path) -> list[list[str]]:
    """The figures of the runs that ``PART`` asks for."""
    found = [row for row in figures(folder) if row[1] != "tenth" and "levels" not in row[0]]
    assert len(found) == 1 + 2 + 2 * 2
    return found


def test_tables_hold_every_method_and_its_control(finished: Path) -> None:
    text = (finished / "benchmark.md").read_text(encoding="utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| class"))
    assert [cell.strip() for cell in header.split("|")[2:-1]] == [
        "kNN",
        "SpectralDiff",
        "SpectralDiff: raw bands",
    ]
    for part in (
        "# A tiny benchmark\n\nOf no use, but quick.\n\n",
        "**SpectralDiff against SpectralDiff: raw bands, ten: ",
        "over 2 seeds, ",
        "## ten",
        "## tenth",
        "Published OA",
        "67.07",
    ):
        assert part in text
    cell = json.loads(next(finished.glob("cells/*/metrics.json")).read_text(encoding="utf-8"))
    learned = cell["pixels"]["train"] + cell["pixels"]["val"]
    told = re.findall(
        r"Pixels of seed \d: ([\d,]+) are learned .*, [\d,]+ tested\. Leakage: ", text
    )
    assert len(told) == 2
    assert learned in {int(number.replace(",", "")) for number in told}
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
        assert (finished / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_two_methods_on_two_numbers_of_labels(tmp_path: Path) -> None:
    plan = tmp_path / "two.yaml"
    columns = [{"scene": SCENE, "split": split} for split in ("5", "10")]
    plan.write_text(yaml.safe_dump({"methods": ["knn", "random_forest"], "columns": columns}))
    assert benchmark([str(plan), "--seeds", "0", "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "benchmark.md").read_text(encoding="utf-8")
    for split in ("5", "10"):
        assert f"**knn against random_forest, simulated, {split}: " in text
    assert text.count("over 1 seed, which is too little to tell it from chance") == 2
    assert "(learning-curves-1.png)" in text
    assert (tmp_path / "out" / "learning-curves-1.pdf").is_file()


def test_blocks_are_told_of_fields_without_labels(tmp_path: Path) -> None:
    plan, scene = (
        tmp_path / "two.yaml",
        {"name": "simulated", "height": 60, "width": 60, "bands": 8},
    )
    columns = [{"scene": scene, "split": split} for split in ("blocks", "10")]
    plan.write_text(yaml.safe_dump({"methods": ["knn", "random_forest"], "columns": columns}))
    assert benchmark([str(plan), "--seeds", "0", "1", "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "benchmark.md").read_text(encoding="utf-8")
    blocks, random = text.split("## simulated, 10")
    with (tmp_path / "out" / "benchmark.csv").open(encoding="utf-8") as file:
        shares = {
            (line["row"], int(line["seed"])): 100 * float(line["unseen_fields_accuracy"])
            for line in csv.DictReader(file)
            if line["column"] == "simulated, blocks"
        }
    points = [shares["knn", seed] - shares["random_forest", seed] for seed in (0, 1)]
    told = f"| {statistics.mean(points):+.2f} ± {statistics.stdev(points):.2f} |"
    assert told in blocks.split("in fields (connected areas of one class) without any label:")[1]
    assert "without any label" not in random


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
    assert benchmark([str(plan), "--out", str(place), "--also", str(part)]) == 0
    assert [folder.name.split("-seed")[0] for folder in (place / "cells").iterdir()] == ["kNN-ten"]
    assert figures(place) == figures(finished)
    text = (place / "benchmark.md").read_text(encoding="utf-8")
    assert "## tenth" in text
    assert "Not run yet" not in text
    missing = ["--tables-only", "--out", str(tmp_path / "none")]
    other = [*missing, "--also", str(part), "--set", "classifier.steps=2"]
    capsys.readouterr()
    assert benchmark([str(plan), *other]) == 0
    said = capsys.readouterr()
    assert "3 measurements were made with other settings" in said.err
    assert "(the first: kNN, ten, seed 0)" in said.err
    assert "Not run yet: 4 of 10 runs" in said.out  # SpectralDiff says its steps itself
    assert benchmark([str(plan), *missing, "--also", str(part)]) == 0
    text = (tmp_path / "none" / "benchmark.md").read_text(encoding="utf-8")
    assert "Not run yet: 1 of 10 runs" in text
    assert benchmark([str(plan), *missing, "--also", str(tmp_path)]) == 2


def test_cells_draw_nothing_of_their_own(finished: Path) -> None:
    assert {path.parent for path in finished.rglob("*.png")} == {finished}


def test_one_pretraining_serves_all_that_can_use_it(finished: Path) -> None:
    assert len(list((finished / "pretrained").glob("*/checkpoints/pretrain.ckpt"))) == 2


def test_killed_and_started_again_it_gives_the_same_table(
    finished: Path, plan: Path, tmp_path: Path
) -> None:
    command = ["experiments/benchmark.py", str(plan), "--out", str(tmp_path), *PART]
    process = start_python(command)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("cells/*/metrics.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.join()
    done = len(list(tmp_path.glob("cells/*/metrics.json")))
    assert 1 <= done < 4
    assert not (tmp_path / "benchmark.md").exists()
    again = run_python(command)
    assert again.returncode == 0, again.stderr
    assert f"{done} of 4 runs were done before" in again.stdout
    assert figures(tmp_path) == figures_of_part(finished)


def test_a_worker_that_is_killed_changes_nothing(
    finished: Path, plan: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        """Kill a worker as soon as a run is on its way."""
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("cells/*/config.yaml")) and time.monotonic() < deadline:
            time.sleep(0.01)
        killed.extend(child.pid for child in multiprocessing.active_children()[:1] if child.pid)
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    assert benchmark([str(plan), "--out", str(tmp_path), "--workers", "2", *PART]) == 0
    killer.join()
    assert len(killed) == 1
    assert figures(tmp_path) == figures_of_part(finished)


def test_options_run_a_part_of_a_file(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = [str(plan), "--out", str(tmp_path)]
    assert benchmark([*part, "--methods", "kNN", "--splits", "10"]) == 0
    assert len(figures(tmp_path)) == 1 + 2
    assert "Not run yet: 8 of 10 runs." in capsys.readouterr().out
    # the tables keep what was run before
    assert benchmark([*part, "--splits", "0.1"]) == 0
    assert len(figures(tmp_path)) == 1 + 4
    (tmp_path / "benchmark.csv").unlink()
    assert benchmark([*part, "--tables-only"]) == 0
    assert len(figures(tmp_path)) == 1 + 4
    capsys.readouterr()
    assert benchmark([*part, "--methods", "svm"]) == 2
    assert "--methods must name some of the plan's (kNN, SpectralDiff" in capsys.readouterr().err
    assert benchmark([*part, "--methods", "SpectralDiff", "--splits", "0.1"]) == 2
    assert "no run of --methods, --scenes and --splits together" in capsys.readouterr().err
    assert benchmark([*part, "--seeds", "4", "--methods", "k*", "--splits", "1*"]) == 0
    assert [line[:3] for line in figures(tmp_path)[1:]] == [["kNN", "ten", "4"]]


def test_flags_are_laid_over_what_a_plan_says_of_one_method(tmp_path: Path) -> None:
    plan, title = tmp_path / "plan.yaml", "kNN [ten]"
    methods = ["svm", {"method": "knn", "title": title, "preset": "quick", "seeds": [1, 2]}]
    plan.write_text(yaml.safe_dump({"methods": methods, "columns": PLAN["columns"][:1]}))
    flags = ["--methods", title, "--preset", "cpu", "--seeds", "0", "--out", str(tmp_path / "out")]
    assert benchmark([str(plan), *flags]) == 0
    (config,) = (tmp_path / "out").glob("cells/*/config.yaml")
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert (settings["method"], settings["preset"], settings["seed"]) == ("knn", "cpu", 0)


def test_a_variant_may_be_the_reference(tmp_path: Path) -> None:
    plan, key = tmp_path / "plan.yaml", "classifier.estimator.n_neighbors"
    methods = [{"method": "knn", "title": "kNN", "vary": {key: [1, 3]}}, "random_forest", "svm"]
    columns = PLAN["columns"][:1]
    content = {"methods": methods, "columns": columns, "reference": "kNN, 1", "seeds": 1}
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    out = tmp_path / "out"
    assert benchmark([str(plan), "--methods", "random_forest", "--out", str(out)]) == 0
    assert [line[0] for line in figures(out)[1:]] == ["kNN, 1", "random_forest"]
    text = (out / "benchmark.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| random_forest |")]
    assert row.split(" | ")[2][0] in "+-"
    latex = (out / "benchmark.tex").read_text(encoding="utf-8")
    assert row.split(" | ")[1] in latex
    assert r"\label{tab:benchmark-1}" in latex


def test_what_spreads_labels_is_named_as_what_sees_the_whole_scene(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    spread = {"label_weight": 1.0, "space": {"transform": MNF}}
    steps = {"classifier": {"steps": 2, "patch_size": 5}}
    methods = [
        "knn",
        {"method": "cnn2d", "title": "net", "set": {**steps, "spreading": spread}},
        {"method": "spectraldiff", "title": "ours", "set": {**DIFFUSION, "spreading": spread}},
    ]
    content = {"methods": methods, "columns": PLAN["columns"][:1], "preset": "quick", "seeds": 1}
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert benchmark([str(plan), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "benchmark.md").read_text(encoding="utf-8")
    joined = "join every pixel with neighbours of the whole scene, so that nothing is disjoint:"
    assert f"sees a learned one. Methods that {joined} net, ours.\n" in text
    assert ", for net, ours and its control, and for no other method." in text


@pytest.mark.parametrize("split", ["images", "{root}/split.npz"])
def test_seeds_of_one_split_are_not_judged(tmp_path: Path, split: str) -> None:
    scene, own = simulate_scene(24, 24, 20, 3), SCENE
    make_split(scene.labels, "10", patch_size=1, seed=0).save(tmp_path / "split.npz")
    if split == "images":
        for name, half in (("a", np.s_[:12]), ("b", np.s_[12:])):
            np.save(tmp_path / f"{name}.npy", scene.cube[half])
            np.save(tmp_path / f"{name}-labels.npy", scene.labels[half])
        own = {
            "cube": [f"{{root}}/{name}.npy" for name in "ab"],
            "labels": [f"{{root}}/{name}-labels.npy" for name in "ab"],
        }
    plan, columns = tmp_path / "plan.yaml", [{"title": "own", "scene": own, "split": split}]
    content = {"methods": ["knn", "random_forest"], "columns": columns, "root": str(tmp_path)}
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    out = tmp_path / "out"
    assert benchmark([str(plan), "--seeds", "0", "1", "--out", str(out)]) == 0
    text = (out / "benchmark.md").read_text(encoding="utf-8")
    assert "over 2 seeds, on one split, which says nothing of other training pixels." in text
    assert "There is one split: all seeds learn and test the same pixels" in text
    assert "it takes 6" not in text


def test_tables_stay_where_nothing_there_is_of_these_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, out = simulate_scene(24, 24, 20, 3), tmp_path / "out"
    files = [tmp_path / name for name in ("field.npy", "labels.npy")]
    for file, values in zip(files, (scene.cube, scene.labels), strict=True):
        np.save(file, values)
    own = ["--cube", str(files[0]), "--labels", str(files[1]), "--splits", "10", "--seeds", "0"]
    given = ["--methods", "knn", *own, "--out", str(out)]
    assert benchmark(given) == 0
    before = {path.name: path.read_bytes() for path in out.glob("*.*")}
    os.utime(files[0], (0, 0))  # as a copy would have another time
    capsys.readouterr()
    assert benchmark([*given, "--tables-only"]) == 2
    assert "holds finished runs but none of these settings" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.glob("*.*")} == before
    assert benchmark([*given, "--tables-only", "--also", str(out)]) == 0
    assert len(figures(out)) == 2


def test_a_folder_that_cannot_be_written_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    scene = ["--scenes", "simulated", "--splits", "10", "--seeds", "0"]
    for name, why in (("file", "is a file; name a folder"), ("file/below", "is not a folder")):
        assert benchmark(["--methods", "knn", *scene, "--out", str(tmp_path / name)]) == 2
        said = capsys.readouterr()
        assert why in said.err
        assert said.err.count("\n") == 1
        assert "failed and skipped" not in said.out

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "benchmark.csv")

    monkeypatch.setattr("hsi_diffusion.benchmarks.tables.write_benchmark", refuse)
    given = ["--methods", "knn", *scene, "--tables-only", "--out", str(tmp_path / "out")]
    assert benchmark(given) == 2
    assert capsys.readouterr().err == "error: Permission denied: benchmark.csv\n"


def test_a_stopped_training_says_how_to_go_on(
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise SystemExit(1)  # what Lightning makes of Ctrl-C

    monkeypatch.setattr("hsi_diffusion.classifiers.NetworkClassifier.fit", stop)
    options = [str(plan), "--methods", "SpectralDiff", "--out", str(tmp_path)]
    assert benchmark(options) == 130
    assert "stopped; the same command goes on" in capsys.readouterr().err


def test_a_failed_run_is_reported_and_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {
        "method": "knn",
        "title": "broken",
        "set": {"classifier": {"estimator": {"n_neighbors": 0}}},
    }
    plan = tmp_path / "plan.yaml"
    content = {**PLAN, "methods": ["knn", broken], "columns": PLAN["columns"][:1], "pairs": []}
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert benchmark([str(plan), "--seeds", "0", "--out", str(tmp_path / "out")]) == 1
    assert "- broken, ten, seed 0: classifier.estimator" in capsys.readouterr().out
    assert len(figures(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("=3", "--set must look like KEY=VALUE, got '=3'"),
        ("classifier.steps=[1", "classifier.steps must be valid YAML"),
    ],
)
def test_a_setting_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], assignment: str, message: str
) -> None:
    given = ["--methods", "knn", "--set", assignment, "--out", str(tmp_path / "out")]
    assert benchmark(given) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_it_needs_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark([]) == 2
    assert "name the methods to compare (--methods, of cnn1d" in capsys.readouterr().err


def test_runs_are_followed_as_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    groups = []
    init = wandb.init

    def note(*given: Any, **options: Any) -> Any:
        groups.append(options["group"])
        return init(*given, **options)

    monkeypatch.setattr(wandb, "init", note)
    plan = tmp_path / "plan.yaml"
    methods = ["knn", {**PLAN["methods"][1], "control": False}]
    content = {**PLAN, "methods": methods, "columns": PLAN["columns"][:1], "pairs": []}
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    options = ["--seeds", "0", "--logger", "wandb", "--out", str(tmp_path / "out")]
    assert benchmark([str(plan), *options]) == 0
    # two cells, and a pretraining that others might share
    assert groups == ["A tiny benchmark"] * 3
    assert len(list((tmp_path / "out").rglob("offline-run-*"))) == 3
    for name in ("classification_map.png", "reconstruction.png"):
        assert list((tmp_path / "out").rglob(name)), "W&B shows figures"


def test_an_own_image_needs_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = simulate_scene(24, 24, 20, 3)
    files = [str(tmp_path / name) for name in ("field.npy", "labels.npy")]
    for file, values in zip(files, (scene.cube, scene.labels), strict=True):
        np.save(file, values)
    own = ["--cube", files[0], "--labels", files[1], "--out", str(tmp_path / "out")]
    given = ["--methods", "knn", "--seeds", "0", *own]
    assert benchmark([*given, "--splits", "10"]) == 0
    (run,) = figures(tmp_path / "out")[1:]
    assert run[:3] == ["knn", "custom, 10", "0"]
    np.save(files[1], np.roll(scene.labels, 1, axis=0))  # the ground truth is another one now
    assert benchmark([*given, "--splits", "10"]) == 0
    (changed,) = figures(tmp_path / "out")[1:]
    assert changed[3] != run[3]
    np.save(tmp_path / "other.npy", simulate_scene(24, 24, 20, 3, image=1).cube)
    more = ["--cube", str(tmp_path / "other.npy"), "--labels", files[1], "--splits", "images"]
    assert benchmark([*given, *more]) == 0
    (both,) = figures(tmp_path / "out")[1:]
    assert both[1] == "custom, images"
    for wrong in ([*given, "--scenes", "salinas"], ["few_shot", *own], given[:4] + own[2:]):
        capsys.readouterr()
        assert benchmark(wrong) == 2
        assert "in the place of --scenes, without a plan" in capsys.readouterr().err


def test_a_missing_scene_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--methods", "knn", "svm", "--scenes", "salinas", "--out", str(tmp_path / "out")]
    assert benchmark([*given, "--root", str(tmp_path / "nowhere")]) == 2
    told = capsys.readouterr()
    assert told.err.count("root must be the folder that holds the scenes") == 1
    assert "salinas" not in told.out
    assert benchmark([*given, "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_a_misspelt_plan_is_answered_with_the_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark(["feww_shot", "--out", str(tmp_path / "out")]) == 2
    assert "there is no plan feww_shot" in (told := capsys.readouterr().err)
    assert told.endswith("did you mean few_shot?\n")


def test_the_ablation_has_examples_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ablate(["--help"])
    shown = capsys.readouterr().out
    assert "hsi-diffusion ablate --scenes indian_pines --root data --splits 10" in shown
    assert "few_shot" not in shown.partition("examples:")[2]
