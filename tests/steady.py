"""Memory and open files of a long training, and of many fits in one process.

    python -m tests.steady

Prints a Markdown table. Allocators and caches fill in the first fifth, so that growth is counted
from there.
"""

from __future__ import annotations

import argparse
import gc
import logging
import warnings
from functools import partial
from typing import Any

import lightning as L
import psutil

from hsi_diffusion import (
    DiffusionPretrainModule,
    SceneClassifier,
    SimulatedSceneDataModule,
    UNet2D,
)
from tests.models.tiny import FEATURES, NETWORK, recipe, scene, split


class Watched:
    """Resident memory and open files, now and then."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.found: list[tuple[float, int]] = []

    def look(self) -> None:
        gc.collect()
        self.found.append((self.process.memory_info().rss / 2**20, self.process.num_fds()))

    def row(self, what: str) -> str:
        (first, files), (last, files_now) = self.found[len(self.found) // 5], self.found[-1]
        largest = max(memory for memory, _ in self.found)
        memory = f"{first:.0f} | {last:.0f} | {largest:.0f}"
        return f"| {what} | {memory} | {files} | {files_now} |"


def train(steps: int) -> str:
    """One pretraining, with validation and augmentation."""
    watched = Watched()

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step % (steps // 50) == 0:
                watched.look()

    data = SimulatedSceneDataModule(
        24, 20, 8, 3, patch_size=6, batch_size=2, samples_per_epoch=100, holdout=0.1
    )
    module = DiffusionPretrainModule(
        8, denoiser=partial(UNet2D, channels=4, multipliers=(1, 2)), ema_decay=0.9,
        augmentation={"dihedral": 1.0},
    )  # fmt: skip
    L.Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, callbacks=[Look()],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(module, data)  # fmt: skip
    return watched.row(f"{steps:,} steps of a pretraining")


def fit(times: int) -> str:
    """Whole fits: pretraining, features, classifier, map."""
    watched = Watched()
    for _ in range(times):
        SceneClassifier(recipe(FEATURES, NETWORK)).fit(scene(), split()).predict(scene(1))
        watched.look()
    return watched.row(f"{times:,} fits and maps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--fits", type=int, default=100)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print("| | MiB after a fifth | at the end | at most | open files | at the end |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    print(train(options.steps), flush=True)
    print(fit(options.fits), flush=True)


if __name__ == "__main__":
    main()
