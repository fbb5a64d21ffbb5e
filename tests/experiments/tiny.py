"""A run of experiments/throughput.py that takes seconds."""

from __future__ import annotations

TINY = [
    "--no-progress",
    "--accelerator",
    "cpu",
    *(
        f"--set={assignment}"
        for assignment in (
            "simulated={height: 40, width: 36, bands: 24, num_classes: 4}",
            "pretrain.transform={class_path: MNF, init_args: {components: 8}}",
            "pretrain.patch_size=8",
            "pretrain.batch_size=4",
            "pretrain.steps=3",
            "pretrain.denoiser.base_channels=2",
            "features.timesteps=[50, 100]",
            "features.levels=[1]",
            "features.components=8",
            "choice.steps=3",
            "classifier.patch_size=5",
            "classifier.steps=30",
            "raw_bands=[{transform: {class_path: MNF, init_args: {components: 8}}}]",
        )
    ),
]
