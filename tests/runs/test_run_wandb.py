"""Whole runs in W&B, offline: read back from the files that it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsi_diffusion import SceneClassifier
from hsi_diffusion.recipes import merge
from tests.runs.tiny import WHOLE, metrics_of, start, stop
from tests.runs.wandb_file import read_parts

if TYPE_CHECKING:
    from pathlib import Path


def test_one_wandb_run_with_sections_for_method_and_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    out = tmp_path / "tracked"
    result = start(out, merge(WHOLE, {"logger": "wandb", "group": "ours"}))
    (part,) = read_parts(out)
    assert (part.name, part.group, part.exit_code) == ("tracked", "ours", 0)
    found = metrics_of(out)
    method, control = found["overall_accuracy"], found["raw_bands"]["overall_accuracy"]
    assert part.summary["test/overall_accuracy"] == pytest.approx(method)
    assert part.summary["control/test/overall_accuracy"] == pytest.approx(control)
    assert part.summary["difference/overall_accuracy"] == pytest.approx(method - control)
    validation = found["validation"]["overall_accuracy"]
    assert part.summary["validation/overall_accuracy"] == pytest.approx(validation)
    assert (part.summary["timesteps"], part.summary["levels"]) == (
        found["timesteps"],
        found["levels"],
    )
    logged = {name for row in part.history for name in row}
    for stage in ("pretrain", "classifier", "control"):
        assert any(name.startswith(f"{stage}/train/loss") for name in logged), stage
        assert any(name.startswith(f"{stage}/lr-") for name in logged), stage
    for name in ("classification_map", "false_colour", "confusion_matrix", "split"):
        assert any(key.startswith(f"{name}.") for key in logged), name
    assert any(key.startswith("pretrain/reconstruction") for key in logged)
    assert any(key.startswith("test/accuracy_of_each_class") for key in logged)
    assert part.config["seed"] == result.settings.seed
    kind, files = part.artifacts[f"model-{part.id}"]
    assert (kind, "model.json" in files) == ("model", True)


def test_a_resumed_run_is_the_same_in_wandb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with monkeypatch.context() as patch:
        patch.setattr(SceneClassifier, "fit", stop)
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path / "cut", {"logger": "wandb"})
    start(tmp_path / "cut", {"logger": "wandb"}, resume=True)
    first, second = read_parts(tmp_path / "cut")
    assert first.id == second.id
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert "test/overall_accuracy" in second.summary
