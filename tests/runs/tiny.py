"""Settings of a whole run that takes two seconds."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "logger": "none",
    "accelerator": "cpu",
    "scene": {"height": 40, "width": 36, "bands": 16, "num_classes": 4},
    "split": {"kind": "10"},
    "pretrain": {
        "transform": "mnf",
        "components": 8,
        "patch_size": 8,
        "batch_size": 4,
        "steps": 3,
        "precision": "float32",
        "module": {"denoiser_options": {"base_channels": 2}, "prediction": "x0"},
    },
    "features": {
        "timesteps": [50],
        "levels": [1],
        "noise": "none",
        "precision": "float32",
        "components": 8,
    },
    "choice": {"steps": 2},
    "classifier": {
        "patch_size": 5,
        "batch_size": 16,
        "steps": 4,
        "module": {"classifier_options": {"dim": 16, "heads": 2, "head_dim": 8, "depth": 1}},
    },
    "raw_bands": {"spaces": []},
}
