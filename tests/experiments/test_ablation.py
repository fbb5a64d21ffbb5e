"""The ablation script on a scene that takes seconds."""

from __future__ import annotations

import csv
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

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
def script(request: pytest.FixtureRequest) -> ModuleType:
    path = request.config.rootpath / "experiments" / "ablation.py"
    spec = importlib.util.spec_from_file_location("ablation_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for their own annotations
    spec.loader.exec_module(module)
    return module


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
    assert variants - 5 <= len(names) - 2 < variants
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


def test_a_part_can_be_asked_for(script: ModuleType) -> None:
    preset: dict[str, Any] = {"features": {"noise": "none"}}
    table = script.rows(["extraction"], preset)
    assert [row.name for row in table] == [
        script.PRESET_ROW,
        "extraction: one draw",
        "extraction: mean of 8 draws",
    ]


def test_a_wrong_setting_is_told(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--set", "nonsense", "--out", str(tmp_path / "out")]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
