"""Kill runs at random moments, go on with them, and compare with runs that were left alone.

    python -m tests.kills --runs 10

Every second run is killed again while it goes on. With two processes, every second kill hits the
first process alone; the other must then end by itself. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from hsi_diffusion import (
    DiffusionPretrainModule,
    FeatureClassifierModule,
    SimulatedSceneDataModule,
    UNet2D,
    cli,
)
from hsi_diffusion.networks import CNN2D
from hsi_diffusion.recipes import merge
from tests.processes import environments
from tests.runs.tiny import TINY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS: dict[str, Any] = merge(
    TINY,
    {
        "logger": "csv",
        "pretrain": {"steps": 230, "ema_decay": 0.9, "augmentation": {"dihedral": 1.0}},
        "features": {"timesteps": [10, 50, 100], "levels": [0, 1]},
        "choice": {"steps": 5},
        "classifier": {"steps": 120},
    },
)

STARTS = {
    "Pretraining": "pretraining",
    "Features": "features",
    "Choice": "classification",
    "Training": "training",
}
"""What is printed where a stage begins."""

WRITING = "figures and report"

MAP = "`hsi-diffusion map`"

PATIENCE = 600


@dataclass
class Job:
    """Something to kill.

    Attributes:
        name: For the table.
        processes: That do it together, as torchrun starts them.
        work: Does it; called in a process of its own.
        folder: What it writes into.
        stages: Where it is killed.
        again: Goes on with it; None: as ``work``.
    """

    name: str
    processes: int
    work: Callable[[], object]
    folder: Path
    stages: tuple[str, ...]
    again: Callable[[], object] | None = None


def program(folder: Path, processes: int) -> Job:
    """The program's ``run``."""
    config = folder.with_suffix(".yaml")
    # the second process has ended before any figure is drawn, which takes as long as all the rest
    changes = {"devices": processes, "figures": processes == 1}
    config.write_text(yaml.safe_dump(merge(SETTINGS, changes)))
    run = ["run", "--no-progress"]
    return Job(
        "`hsi-diffusion run`",
        processes,
        partial(cli.main, [*run, "--config", str(config), "--out", str(folder)]),
        folder,
        ("pretraining", "features", "classification", WRITING),
        partial(cli.main, [*run, "--resume", str(folder)]),
    )


def own_trainer(folder: Path, task: str, processes: int) -> Job:
    """A Trainer of a user's."""
    work = partial(train, task, folder, processes)
    return Job(f"own Trainer, {task}", processes, work, folder, ("training",))


def mapping(folder: Path, model: Path, image: Path) -> Job:
    """The program's ``map``, in windows."""
    out = ["--out", f"{folder}/map.npy,{folder}/map.hdr", "--probabilities", f"{folder}/p.hdr"]
    command = ["map", "--model", str(model), "--image", str(image), *out, "--memory", "9MB"]
    return Job(MAP, 1, partial(cli.main, command), folder, ("map",))


def train(task: str, folder: Path, processes: int) -> None:
    """Train as a user would, with checkpoints of Lightning's."""

    class Told(L.Callback):
        def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
            print("Training")

    scene = {"height": 32, "width": 30, "bands": 12, "num_classes": 3, "patch_size": 6}
    L.seed_everything(0, verbose=False)
    module: L.LightningModule
    if task == "pretraining":
        data = SimulatedSceneDataModule(**scene, batch_size=4, samples_per_epoch=100)
        module = DiffusionPretrainModule(
            12, denoiser=partial(UNet2D, channels=8), ema_decay=0.9, lr_schedule="cosine",
            augmentation={"dihedral": 1.0},
        )  # fmt: skip
    else:
        data = SimulatedSceneDataModule(**scene, split="10", batch_size=10)
        module = FeatureClassifierModule(
            12, 3, 6, classifier=CNN2D, augmentation={"gain": 0.1}, lr_schedule="cosine"
        )
    trainer = L.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_steps=80,
        max_epochs=-1,
        logger=False,
        callbacks=[Told(), ModelCheckpoint(folder, save_last=True, every_n_train_steps=9)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data, ckpt_path="last", weights_only=True)
    if trainer.is_global_zero:
        torch.save(module.state_dict(), folder / "weights.pt")


class Trial:
    """One started job: forked, since the imports take longer than the work."""

    def __init__(self, job: Job, work: Callable[[], object]) -> None:
        self.job = job
        self.log = job.folder.with_suffix(".log")
        self.log.write_text("")
        self.running = [
            self._fork(work, rank, told) for rank, told in enumerate(environments(job.processes))
        ]

    def _fork(self, work: Callable[[], object], rank: int, told: dict[str, str]) -> int:
        if child := os.fork():
            return child
        code: object = 1
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout = os.fdopen(1, "w", buffering=1)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            if self.job.processes > 1:
                os.environ |= told
                rank_zero_only.rank = rank  # type: ignore[attr-defined]  # read by its import
            code = work() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(int(bool(code)))

    def alive(self) -> bool:
        """Whether any process is left; those that have ended are buried."""
        self.failed = getattr(self, "failed", False)
        for child in list(self.running):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                self.running.remove(child)
                self.failed |= status != 0
        return bool(self.running)

    def stage(self) -> str:
        """Where it is."""
        now = "start"
        for line in self.log.read_text(errors="replace").splitlines():
            now = next((stage for sign, stage in STARTS.items() if line.startswith(sign)), now)
        if any(self.job.folder.glob(".*.windows/*.npz")):
            now = "map"
        return WRITING if (self.job.folder / "model" / "model.json").exists() else now

    def until(self, stage: str, seconds: float) -> str:
        """Wait for a stage to begin ("": for nothing), and so long; where it is then, "" = done."""
        began = None
        while self.alive():
            if began is None and (not stage or self.stage() == stage):
                began = time.monotonic()
            if began is not None and time.monotonic() >= began + seconds:
                return self.stage()
            time.sleep(0.005)
        return ""

    def kill(self, *, first_alone: bool = False) -> None:
        """SIGKILL for all processes; or for the first one alone, and wait for the others."""
        for child in self.running[: 1 if first_alone else None]:
            os.kill(child, signal.SIGKILL)
        end = time.monotonic() + PATIENCE
        while self.alive():
            if time.monotonic() > end:
                self.kill()
                raise RuntimeError("a process did not end after the first was killed")
            time.sleep(0.02)

    def finish(self) -> None:
        """Let it end well."""
        while self.alive():
            time.sleep(0.02)
        if self.failed:
            raise RuntimeError(f"{self.job.name} failed:\n{self.log.read_text()[-2000:]}")


def results(folder: Path) -> dict[str, Any]:
    """Everything of a run that must not depend on kills, by the names of its files."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".ckpt" and folder.name.startswith("own"):
            continue  # as many as were written
        if path.suffix == ".ckpt":
            found[name] = torch.load(path, weights_only=True)["state_dict"]
        elif name == "metrics.json":
            told = json.loads(path.read_text())
            found[name] = {key: told[key] for key in told if key not in CHANGING}
        elif path.name == "metrics.csv":
            found[name] = list(csv.DictReader(path.open()))
        elif path.suffix == ".pt":
            found[name] = torch.load(path, weights_only=True)
        elif path.suffix in (".npy", ".img", ".png", ".safetensors"):
            found[name] = path.read_bytes()
        elif path.is_file():
            found[name] = True
    return found


CHANGING = ("seconds", "costs", "resumed")


def differences(one: Any, other: Any, name: str = "") -> Iterator[str]:
    """Names of what differs in any bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{name}/{key}")
    elif isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if not torch.equal(one, other):
            yield name
    elif one != other:
        yield name


def survey(job: Job, runs: int, seed: int) -> Iterator[tuple[str, int, list[str]]]:
    """Kill a job in every stage; the kills, and what differed in the end."""
    chance = random.Random(seed)
    again = job.again or job.work
    whole, starts = Trial(job, job.work), dict[str, float]()
    while whole.alive():
        starts.setdefault(whole.stage(), time.monotonic())
        time.sleep(0.005)
    whole.finish()
    lasts = dict(zip(starts, np.diff([*starts.values(), time.monotonic()]), strict=True))
    wanted = results(job.folder)
    for stage in job.stages:
        done, kills, wrong = 0, 0, list[str]()
        while done < runs:
            shutil.rmtree(job.folder)
            job.folder.mkdir()
            trial = Trial(job, job.work)
            if trial.until(stage, chance.uniform(0, lasts[stage])) != stage:
                trial.kill()
                lasts[stage] *= 0.7  # it was over by then: the machine is less busy than before
                continue
            try:
                trial.kill(first_alone=done % 4 > 1)
                kills += 1
                if done % 2:
                    trial = Trial(job, again)
                    if trial.until("", chance.uniform(0, sum(lasts.values()))):
                        trial.kill()
                        kills += 1
                if not (job.folder / "metrics.json").exists():
                    Trial(job, again).finish()
                if found := list(differences(wanted, results(job.folder))):
                    wrong.append(", ".join(found))
            except RuntimeError as error:
                wrong.append(str(error))
            done += 1
        yield stage, kills, wrong


def jobs(folder: Path, only: str) -> Iterator[Job]:
    """All that is killed."""
    for processes in (1, 2):
        yield program(made(folder / f"run{processes}"), processes)
    for task in ("pretraining", "classification"):
        for processes in (1, 2):
            yield own_trainer(made(folder / f"own-{task}{processes}"), task, processes)
    if only not in MAP:
        return
    fitting, image = program(made(folder / "fitted"), 1), folder / "image.npy"
    Trial(fitting, fitting.work).finish()
    np.save(image, np.random.default_rng(0).normal(size=(300, 280, 16)).astype(np.float32))
    yield mapping(made(folder / "map"), fitting.folder / "model", image)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="runs of each stage that are killed")
    parser.add_argument("--only", default="", help="jobs whose names hold this")
    parser.add_argument("--processes", type=int, help="jobs of so many processes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| what | processes | stage | runs | kills | equal |")
    print("| --- | ---: | --- | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for job in jobs(Path(folder), options.only):
            if options.only not in job.name or options.processes not in (None, job.processes):
                continue
            for stage, kills, wrong in survey(job, options.runs, options.seed):
                numbers = f"{options.runs} | {kills} | {options.runs - len(wrong)}"
                print(f"| {job.name} | {job.processes} | {stage} | {numbers} |", flush=True)
                print(*wrong, sep="\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
