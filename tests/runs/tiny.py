"""Settings of whole runs that take seconds, and how they are started, stopped and read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hsi_diffusion.recipes import merge
from hsi_diffusion.runs import RunResult, RunSettings, run

if TYPE_CHECKING:
    from pathlib import Path

TINY: dict[str, Any] = {
    "logger": "none",
    "figures": False,
    "accelerator": "cpu",
    "simulated": {"height": 24, "width": 24, "bands": 16, "num_classes": 3},
    "split": "10",
    "pretrain": {
        "transform": {"class_path": "MNF", "init_args": {"components": 6}},
        "denoiser": {"class_path": "UNet2D", "init_args": {"channels": 8, "multipliers": [1, 2]}},
        "prediction": "x0",
        "patch_size": 8,
        "batch_size": 4,
        "steps": 3,
        "precision": "float32",
    },
    "features": {
        "timesteps": [50],
        "levels": [1],
        "noise": "none",
        "precision": "float32",
        "components": 8,
    },
    "choice": {"steps": 2},
    "classifier": {"network": "CNN2D", "patch_size": 3, "batch_size": 16, "steps": 4},
    "raw_bands": [],
}

MNF = {"transform": {"class_path": "MNF", "init_args": {"components": 5}}}
WHOLE = merge(
    TINY,
    {
        "figures": True,
        # curves have a point every 10 steps
        "pretrain": {"steps": 10},
        "features": {"levels": [0, 1]},
        "classifier": {"steps": 10},
        "raw_bands": [MNF],
        "logger": "csv",
    },
)


def start(folder: Path, changes: dict[str, Any], **options: Any) -> RunResult:
    """Run with these changes of the tiny settings."""
    settings = RunSettings.from_dict(merge(TINY, changes))
    result = run(settings, folder, progress=False, say=lambda _: None, **options)
    assert result is not None
    return result


def metrics_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


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
