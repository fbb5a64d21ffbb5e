"""A run of experiments/run.py that takes seconds."""

from __future__ import annotations

TINY = [
    "--no-progress",
    "--accelerator",
    "cpu",
    *(
        f"--set={assignment}"
        for assignment in (
            "scene.height=40",
            "scene.width=36",
            "scene.bands=24",
            "scene.num_classes=4",
            "pretrain.components=8",
            "pretrain.patch_size=8",
            "pretrain.batch_size=4",
            "pretrain.steps=3",
            "pretrain.module.denoiser_options.base_channels=2",
            "features.timesteps=[50, 100]",
            "features.levels=[1]",
            "features.components=8",
            "choice.steps=3",
            "classifier.patch_size=5",
            "classifier.steps=30",
            "raw_bands.spaces=[{transform: mnf, components: 8}]",
        )
    ),
]
