"""The ablation script on a scene that takes seconds."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, cast

import pytest

from hsi_diffusion.reports import comparison_table
from hsi_diffusion.runs import CellResult, measurements
from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from hsi_diffusion.runs import Cell

TINY = [
    f"--set={assignment}"
    for assignment in (
        "accelerator=cpu",
        "scene={name: simulated, height: 40, width: 36, bands: 24, num_classes: 4}",
        "pretrain.components=8",
        "pretrain.patch_size=16",
        "pretrain.batch_size=2",
        "pretrain.steps=2",
        "pretrain.precision=float32",
        "pretrain.module.contrast.shift=2",
        "pretrain.module.denoiser_options={channels: 16, stages: 2, window: 4, groups: 4}",
        "features.timesteps=[50, 100]",
        "features.levels=[1]",
        "features.components=8",
        "features.precision=float32",
        "classifier.patch_size=5",
        "classifier.steps=3",
        "classifier.module.classifier_options={dim: 16, heads: 2, head_dim: 8, depth: 1}",
        "raw_bands.spaces=[{transform: mnf, components: 8}]",
    )
]


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "ablation")


def test_every_variant_of_every_part_runs(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--preset", "quick", "--splits", "8", "--seeds", "0", *TINY]
    assert script.main([*arguments, "--out", str(tmp_path)]) == 0, capsys.readouterr()
    with (tmp_path / "ablation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    variants = sum(len(changes) for changes in script.PARTS.values())
    names = {row["row"] for row in rows}
    assert {script.PRESET_ROW, script.RAW_ROW} <= names
    # a variant that is the preset itself is not run again
    usual = {"loss: LAE", "prediction: x0", "space: MNF", "extraction: no noise"}
    usual |= {"fusion: AWAM + CTSSFM", "few labels: no propagation", "few labels: one network"}
    assert names.isdisjoint(usual)
    assert len(names) - 2 == variants - len(usual)
    assert len(rows) == len(names)
    assert all(0 <= float(row["overall_accuracy"]) <= 1 for row in rows)
    report = (tmp_path / "ablation.md").read_text(encoding="utf-8")
    assert "| attention: SSAD only |" in report
    assert "experiments/ablation.py --preset quick" in report
    # losses, contrasts, attention, predictions and spaces need their own; the rest share one
    own = {"loss", "contrast", "attention", "prediction", "space"}
    expected = 1 + sum(name.split(":")[0] in own for name in names)
    assert len(list((tmp_path / "pretrained").iterdir())) == expected

    capsys.readouterr()
    assert script.main([*arguments, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("done before") == len(names) - 1
    assert (tmp_path / "ablation.md").read_text(encoding="utf-8") == report


def cells(script: ModuleType, preset: dict[str, Any], *arguments: str) -> list[Cell]:
    options = script.parse_arguments(["--seeds", "0", *TINY, *arguments])
    return cast("list[Cell]", script.cells(options, script.rows(options.parts), preset))


def test_a_part_can_be_asked_for(script: ModuleType) -> None:
    preset: dict[str, Any] = {"features": {"noise": "none"}}
    assert [row.name for row in script.rows(["extraction"])] == [
        script.PRESET_ROW,
        "extraction: no noise",
        "extraction: one draw",
        "extraction: mean of 8 draws",
    ]
    found = cells(script, preset, "--parts", "extraction", "--splits", "blocks")
    assert [cell.row for cell in found] == [
        script.PRESET_ROW,
        "extraction: one draw",
        "extraction: mean of 8 draws",
    ]


FEW: dict[str, Any] = {
    "classifier": {"steps": 9},
    "few_shot": {"classifier": {"steps": 5, "propagation": {}, "module": {"members": 3}}},
}


def test_what_changes_nothing_on_a_split_is_left_out_there(script: ModuleType) -> None:
    found = cells(script, FEW, "--parts", "few labels", "--splits", "blocks", "10")
    assert [(cell.column, cell.row) for cell in found] == [
        ("blocks", script.PRESET_ROW),
        ("10", script.PRESET_ROW),
        ("10", "few labels: no propagation"),
        ("10", "few labels: one network"),
    ]
    _, usual, without, single = (cell.settings.classifier for cell in found)
    assert usual.propagation is not None
    assert without.propagation is None
    assert (usual.module["members"], without.module["members"]) == (3, 3)
    assert single.propagation == usual.propagation
    assert single.module["members"] == 1
    # and no measurement, which the table shows as a dash
    costs = {"method": {"parameters": 1, "test_seconds": 0.0}}
    metrics = {"overall_accuracy": 0.5, "resumed": False, "seconds": {}, "costs": costs}
    results = [CellResult(cell, metrics) for cell in found]
    table = comparison_table(measurements(results, lambda row: row))
    assert "few labels: one network | - | 50.00" in table.to_markdown()


def test_set_wins_over_what_few_labels_change(script: ModuleType) -> None:
    more = ["--set=classifier.steps=7", "--set=classifier.module.members=1", "--splits", "10"]
    found = cells(script, FEW, "--parts", "few labels", *more)
    assert [cell.row for cell in found] == [script.PRESET_ROW, "few labels: no propagation"]
    assert {cell.settings.classifier.steps for cell in found} == {7}
    assert {cell.settings.classifier.module["members"] for cell in found} == {1}


def test_spaces_have_the_components_of_the_preset(script: ModuleType) -> None:
    found = cells(script, {}, "--parts", "space", "--set=pretrain.components=6")
    components = {cell.row: cell.settings.require_pretrain().components for cell in found}
    # this preset says min-max, so both PCA and MNF are variants of it
    assert components.pop("space: bands, min-max") is None
    assert components == {script.PRESET_ROW: 6, "space: PCA": 6, "space: MNF": 6}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"classifier": {"module": {}}}, {"classifier": {"module": {"members": 1}}}, True),
        ({"classifier": {"module": {"members": 2}}}, {}, False),
        ({"pretrain": {"module": {"contrast": {}}}},
         {"pretrain": {"module": {"contrast": {"cell": 8}}}}, True),
        ({"pretrain": {"module": {"denoiser": "staged"}}},
         {"pretrain": {"module": {"denoiser": "staged", "denoiser_options": {"stages": 4}}}}, True),
        ({"classifier": {"module": {"classifier": "fusion"}}},
         {"classifier": {"module": {"classifier": "fusion",
                                    "classifier_options": {"fusion": "mean"}}}}, False),
    ],
)  # fmt: skip
def test_defaults_are_resolved(
    script: ModuleType, one: dict[str, Any], other: dict[str, Any], equal: bool
) -> None:
    assert (script.resolved(one) == script.resolved(other)) is equal


def test_a_wrong_setting_is_told(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--set", "nonsense", "--out", str(tmp_path / "out")]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
