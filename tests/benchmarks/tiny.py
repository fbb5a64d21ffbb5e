"""Settings of a whole run that takes two seconds."""

from __future__ import annotations

from typing import Any

SIZE = {"height": 24, "width": 24, "bands": 20, "num_classes": 3}
MNF = {"class_path": "MNF", "init_args": {"components": 8}}
TINY: dict[str, Any] = {
    "logger": "none",
    "accelerator": "cpu",
    "simulated": SIZE,
    "split": "8",
    "pretrain": {
        "transform": MNF,
        "denoiser": {"class_path": "UNet3D", "init_args": {"base_channels": 2}},
        "patch_size": 8,
        "batch_size": 4,
        "steps": 3,
        "precision": "float32",
        "prediction": "x0",
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
        "network": {
            "class_path": "SpectralTransformer",
            "init_args": {"dim": 16, "heads": 2, "head_dim": 8, "depth": 1},
        },
        "patch_size": 5,
        "batch_size": 16,
        "steps": 4,
    },
    "raw_bands": [],
}
