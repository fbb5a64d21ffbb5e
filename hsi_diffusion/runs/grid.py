"""Many runs that belong together: pretrainings shared, finished ones kept, failures told."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError
from hsi_diffusion.files import digest_of, write_text
from hsi_diffusion.runs.folder import FOLLOWED
from hsi_diffusion.runs.locks import only_one
from hsi_diffusion.runs.outputs import write_outputs
from hsi_diffusion.runs.pipeline import check, pretrain_alone, process_rank, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hsi_diffusion.runs.settings import RunSettings


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        row: What it is compared as, such as "no contrast"; cells of one row and one column differ
            by their seed only.
        column: On what, such as "10 per class".
        settings: Everything that decides it, but for the next.
        pretraining_seed: Seed of the pretraining that it shares with other cells; None: its own.
    """

    row: str
    column: str
    settings: RunSettings
    pretraining_seed: int | None = None

    @property
    def name(self) -> str:
        """Name of its folder: readable, and another one for other settings."""
        text = f"{self.row}-{self.column}-seed{self.settings.seed}"
        readable = "".join(letter if letter.isalnum() else "-" for letter in text)
        plain = self.settings.to_dict()
        decisive = {key: value for key, value in plain.items() if key not in FOLLOWED}
        if self.pretraining_seed is not None:
            decisive["pretraining_seed"] = self.pretraining_seed
        return f"{readable}-{digest_of(decisive)[:8]}"

    @property
    def pretraining(self) -> RunSettings:
        """Settings of the run that pretrains for it."""
        if self.pretraining_seed is None:
            return self.settings
        return replace(self.settings, seed=self.pretraining_seed)


@dataclass(frozen=True)
class CellResult:
    """What a cell gave.

    Attributes:
        cell: The cell.
        metrics: What its metrics.json holds; None where it failed or was not run yet.
        error: Why it failed; None where it did not.
        pretraining_seconds: Time of its pretraining, wherever that was computed; None if it is
            unknown, as where it was resumed, or if there is none.
    """

    cell: Cell
    metrics: dict[str, Any] | None
    error: str | None = None
    pretraining_seconds: float | None = None


def run_grid(
    cells: Sequence[Cell],
    folder: Path,
    *,
    pretrained: Path | None = None,
    progress: bool = False,
    say: Callable[[str], None] = print,
) -> list[CellResult]:
    """Run every cell that has not been run yet.

    Cells whose scene, seed and pretraining are the same share one pretraining; the settings of a
    cell are checked before it. A cell that fails is told and left behind; the next call tries it
    again. Stopped at any moment, the next call goes on where this one stopped, within a pretraining
    too. Several processes may run the same grid in the same folder, each on a card of its own: a
    cell that another one is at is left to it, and waited for in the end.

    Args:
        cells: What to run, in this order.
        folder: Holds ``cells/``, ``errors/`` with a trace for every cell that an error in the code
            stopped, ``locks/``, and what the caller makes of the results.
        pretrained: Folder of the pretrainings, which several grids may share; None:
            ``folder/pretrained``.
        progress: Show the progress bars of every stage.
        say: Called with a line of text for every cell.

    Returns:
        One result per cell, in the order of ``cells``.

    Raises:
        ConfigurationError: A cell asks for several devices, or this is one of several processes of
            torchrun or a cluster, of which only the first one would run anything.
    """
    if process_rank():
        raise ConfigurationError(
            "a grid's processes know nothing of each other: start the same command several times, "
            "each with a card of its own (CUDA_VISIBLE_DEVICES), and not with torchrun or srun"
        )
    for cell in cells:
        if cell.settings.devices * cell.settings.num_nodes > 1:
            raise ConfigurationError(
                "a grid pretrains on one device; pretrain on several with experiments/run.py "
                "--devices N, and give its checkpoints/pretrain.ckpt as pretrain.checkpoint"
            )
    place = _Place(folder, pretrained or folder / "pretrained", progress)
    errors: dict[int, str | None] = {}
    start = time.monotonic()
    for wait in (False, True):
        for number, cell in enumerate(cells):
            if number in errors:
                continue
            passed = (time.monotonic() - start) / 60
            known = place.finished(cell)
            say(
                f"[{number + 1}/{len(cells)}, {passed:.1f} min] {cell.row}, {cell.column}, "
                f"seed {cell.settings.seed}{': done before' if known else ''}"
            )
            alone, error = (True, None) if known else _run_if_free(cell, place, wait=wait)
            if not alone:
                say("  another process is at it")
                continue
            if error is not None:
                say(f"  failed, and left out: {error}")
            errors[number] = error
    return [_result(cell, place, errors[number]) for number, cell in enumerate(cells)]


@dataclass(frozen=True)
class _Place:
    """Where a grid keeps its files, and whether it shows progress bars."""

    folder: Path
    pretrained: Path
    progress: bool = False

    def cell(self, cell: Cell) -> Path:
        """Folder of a cell's run."""
        return self.folder / "cells" / cell.name

    def finished(self, cell: Cell) -> bool:
        """Whether it was run to its end."""
        return (self.cell(cell) / "metrics.json").is_file()


def _run_if_free(cell: Cell, place: _Place, *, wait: bool) -> tuple[bool, str | None]:
    """Whether no other process is at a cell, which is then run; and why it failed, or None."""
    error = _attempt(cell, place, partial(check, cell.settings, place.cell(cell)))
    if error is not None:
        return True, error
    with only_one(place.folder / "locks" / f"{cell.name}.lock", wait=wait) as alone:
        if alone and not place.finished(cell):
            error = _attempt(cell, place, partial(_run_cell, cell, place))
        return alone, error


def _attempt(cell: Cell, place: _Place, work: Callable[[], None]) -> str | None:
    """Do something for a cell; why it failed, or None."""
    # not in the cell's folder, where no run would start beside a file that no run writes
    trace = place.folder / "errors" / f"{cell.name}.txt"
    try:
        work()
    except HsiDiffusionError as error:
        trace.unlink(missing_ok=True)  # of another failure
        return str(error)
    # whatever it is, the cells that follow can do without this one
    except Exception as error:
        write_text(trace, traceback.format_exc())
        return f"{type(error).__name__}: {error} (see {trace})"
    trace.unlink(missing_ok=True)
    return None


def _run_cell(cell: Cell, place: _Place) -> None:
    folder = place.cell(cell)
    settings = _with_pretraining(cell, place)
    # the features of many cells would fill a disk; they can be had again from the denoiser
    settings = replace(settings, features=replace(settings.features, keep="none"))
    started = (folder / "config.yaml").is_file()
    result = run(settings, folder, resume=started, progress=place.progress, say=_say_nothing)
    if result is not None:
        write_outputs(result, settings, folder)


def _with_pretraining(cell: Cell, place: _Place) -> RunSettings:
    """Settings that use the pretraining of all runs like this one, made if it is not there yet."""
    settings = cell.settings
    if settings.pretrain is None or settings.pretrain.checkpoint is not None:
        return settings
    folder = pretraining_folder(cell.pretraining, place.pretrained)
    done = folder / "seconds.json"
    # the second of two processes waits for the pretraining of the first
    with only_one(folder / "pretraining.lock"):
        if not done.is_file():
            resumed = (folder / "checkpoints").exists()  # how long it took before is not known
            start = time.monotonic()
            pretrain_alone(cell.pretraining, folder, progress=place.progress)
            seconds = None if resumed else round(time.monotonic() - start, 2)
            write_text(done, json.dumps({"pretraining": seconds}))
    checkpoint = str(folder / "checkpoints" / "pretrain.ckpt")
    return replace(settings, pretrain=replace(settings.pretrain, checkpoint=checkpoint))


def pretraining_folder(settings: RunSettings, pretrained: Path) -> Path:
    """Where a grid keeps the pretraining of a run: one folder for all runs that can share it.

    Args:
        settings: Of the run. Its scene, pretraining, seed and number of processes name the folder.
        pretrained: The folder of all pretrainings.

    Returns:
        The folder to give :func:`~hsi_diffusion.runs.pretrain_alone`, whether it is there or not.
    """
    plain = settings.to_dict()
    identity = {key: plain[key] for key in ("scene", "pretrain", "seed", "devices", "num_nodes")}
    return pretrained / digest_of(identity)[:16]


def grid_results(
    cells: Sequence[Cell], folder: Path, *, pretrained: Path | None = None
) -> list[CellResult]:
    """What is there of a grid, without running anything.

    Args:
        cells: Its cells.
        folder: The grid's folder.
        pretrained: Folder of the pretrainings; None: ``folder/pretrained``.

    Returns:
        One result per cell, in the order of ``cells``, without metrics where a cell is not
        finished.
    """
    place = _Place(folder, pretrained or folder / "pretrained")
    return [_result(cell, place, None) for cell in cells]


def _result(cell: Cell, place: _Place, error: str | None) -> CellResult:
    metrics = None
    if place.finished(cell):
        error = None  # what failed here, another process may have done since
        file = place.cell(cell) / "metrics.json"
        metrics = json.loads(file.read_text(encoding="utf-8"))
    seconds = None
    if cell.settings.pretrain is not None:
        timing = pretraining_folder(cell.pretraining, place.pretrained) / "seconds.json"
        if timing.is_file():
            seconds = json.loads(timing.read_text(encoding="utf-8"))["pretraining"]
    return CellResult(cell, metrics, error, seconds)


def _say_nothing(_: str) -> None:
    """The line of the cell says enough."""
