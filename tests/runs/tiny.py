"""Settings of a whole run that takes two seconds."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "logger": "none",
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
