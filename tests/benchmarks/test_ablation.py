"""The ablation on a scene that takes seconds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from hsi_diffusion.benchmarks.command import PLANS, ablate
from hsi_diffusion.benchmarks.plan import BenchmarkSettings, benchmark_cells
from hsi_diffusion.recipes import merge, read_yaml
from tests.benchmarks.tiny import MNF, SIZE

if TYPE_CHECKING:
    from hsi_diffusion.benchmarks.cells import Cell

ABLATION = read_yaml(PLANS / "ablation.yaml")
SCENE = {"name": "simulated", **SIZE, "height": 40, "width": 36}
TINY: dict[str, Any] = {
    "accelerator": "cpu",
    "pretrain": {
        "transform": {"components": 8},
        "denoiser": {"channels": 16, "stages": 2, "window": 4, "groups": 4},
        "patch_size": 16,
        "batch_size": 2,
        "steps": 2,
        "precision": "float32",
        "contrast": {"shift": 2},
    },
    "features": {
        "timesteps": [50, 100],
        "levels": [1],
        "components": 8,
        "precision": "float32",
    },
    "classifier": {
        "patch_size": 5,
        "steps": 3,
        "network": {"dim": 16, "heads": 2, "head_dim": 8, "depth": 1},
    },
    "raw_bands": [{"transform": MNF}],
}
USUAL = {
    "loss: LAE",
    "prediction: x0",
    "extraction: no noise",
    "fusion: AWAM + CTSSFM",
    "few labels: no propagation",
    "few labels: one network",
}
"""Variants that are what the quick preset says already."""


def cells(*splits: str, **changes: Any) -> list[Cell]:
    columns = [{"title": split, "scene": SCENE, "split": split} for split in splits]
    plain = {**ABLATION, "columns": columns, "preset": "quick", "seeds": 1, "set": TINY}
    return benchmark_cells(BenchmarkSettings.from_dict(merge(plain, changes)))


def test_every_variant_that_changes_something_is_run() -> None:
    titles = [method["title"] for method in ABLATION["methods"]]
    assert len(titles) == 25
    assert [cell.row for cell in cells("8")] == [name for name in titles if name not in USUAL]
    # losses, contrasts, attention, predictions and spaces need their own; the rest share one
    own = {"loss", "contrast", "attention", "prediction", "space"}
    found = cells("8")
    expected = 1 + sum(cell.row.split(":")[0] in own for cell in found)
    assert len({cell.pretraining_folder(Path()) for cell in found}) == expected


def test_what_changes_nothing_on_a_split_is_not_run_there() -> None:
    few = {cell.row for cell in cells("10", preset="cpu")}
    blocks = {cell.row for cell in cells("blocks", preset="cpu")}
    assert few - blocks == {"few labels: no propagation", "few labels: one network"}


def test_the_table_gives_differences_to_the_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    columns = [{"title": "eight", "scene": SCENE, "split": "8"}]
    plan.write_text(yaml.safe_dump({**ABLATION, "columns": columns, "set": TINY}), encoding="utf-8")
    out = tmp_path / "out"
    part = ["--methods", "extraction*", "attention: SSAD only", "--seeds", "0"]
    assert ablate([str(plan), "--preset", "quick", *part, "--out", str(out)]) == 0, (
        capsys.readouterr()
    )
    with (out / "benchmark.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["row"] for row in csv.DictReader(file)]
    assert rows == [
        "as the preset",
        "as the preset: raw bands",
        "attention: SSAD only",
        "extraction: one draw",
        "extraction: mean of 8 draws",
    ]
    report = (out / "benchmark.md").read_text(encoding="utf-8")
    assert "# DiffCRN, one part changed at a time" in report
    assert "| attention: SSAD only |" in report
    assert 'difference to "as the preset" is taken seed by seed' in report
    assert "| attention: SSAD only - as the preset | eight | 1 |" in report
    assert "p (t)" in report
    assert "Not run yet: 13 of 18 runs." not in report
    assert f"hsi-diffusion ablate {plan}" in report
    latex = (out / "benchmark.tex").read_text(encoding="utf-8")
    assert r"\caption{DiffCRN, one part changed at a time}" in latex
    assert "attention: SSAD only & " in latex
    assert len(list((out / "pretrained").iterdir())) == 2
    capsys.readouterr()
    again = [str(plan), "--preset", "quick", *part, "--out", str(out)]
    assert ablate(again) == 0
    assert "4 of 4 runs were done before" in capsys.readouterr().out
    assert (out / "benchmark.md").read_text(encoding="utf-8") == report


def test_scenes_and_splits_are_those_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate(["--tables-only", "--scenes", "salinas", "--out", str(tmp_path)]) == 0
    assert "Not run yet" in capsys.readouterr().out


@pytest.mark.parametrize("assignment", ["nonsense", "scene.name=salinas"])
def test_a_wrong_setting_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], assignment: str
) -> None:
    assert ablate(["--set", assignment, "--out", str(tmp_path / "out")]) == 2
    assert "set must" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
