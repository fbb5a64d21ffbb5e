"""Cells as tasks: pretrainings shared, finished ones kept, failures reported."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hsi_diffusion.benchmarks.cells import check_alone
from hsi_diffusion.console import quieten
from hsi_diffusion.errors import HsiDiffusionError
from hsi_diffusion.files import write_text
from hsi_diffusion.runs import check
from hsi_diffusion.tasks import Task, run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from hsi_diffusion.benchmarks.cells import Cell


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
    only: Collection[Cell] | None = None,
    pretrained: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = False,
    say: Callable[[str], None] = print,
) -> list[CellResult]:
    """Run every cell that has not been run yet.

    Cells whose scene, seed and pretraining are the same share one pretraining; the settings of a
    cell are checked before it. A cell that fails is reported and skipped; the next call tries it
    again. Stopped at any moment, the next call goes on where this one stopped, within a pretraining
    too.

    Args:
        cells: All cells.
        only: Those to run, in the order of ``cells``; None: all.
        folder: Holds ``cells/``, ``errors/`` with a trace for every cell and pretraining that an
            error in the code stopped, and what the caller makes of the results. One benchmark at a
            time works in it.
        pretrained: Folder of the pretrainings, which several benchmarks may share, one after the
            other; None: ``folder/pretrained``.
        workers: Processes to start on this machine; None: work in this process.
        scheduler: Address of the scheduler of a Dask cluster; None: none.
        progress: Show the progress bars of every stage.
        say: Called with a line of text for every cell.

    Returns:
        One result per cell, in the order of ``cells``, without metrics where it is not finished.

    Raises:
        ConfigurationError: A cell asks for several devices, this is one of several processes of
            torchrun or a cluster, or there is no such Dask cluster.
    """
    asked = [cell for cell in cells if only is None or cell in only]
    check_alone(asked)
    there = workers is not None or scheduler is not None
    place = _Place(folder, pretrained or folder / "pretrained", progress, there)
    wanted = [cell for cell in asked if not place.finished(cell)]
    if before := len(asked) - len(wanted):
        say(f"{before} of {len(asked)} runs were done before")
    errors = run_tasks(_tasks(wanted, place), workers=workers, scheduler=scheduler, say=say)
    return [_result(cell, place, errors.get(cell.name)) for cell in cells]


@dataclass(frozen=True)
class _Place:
    """Where a grid keeps its files, whether it shows progress bars, and has Dask workers."""

    folder: Path
    pretrained: Path
    progress: bool
    workers: bool

    def cell(self, cell: Cell) -> Path:
        """Folder of a cell's run."""
        return self.folder / "cells" / cell.name

    def finished(self, cell: Cell) -> bool:
        """Whether it was run to its end."""
        return (self.cell(cell) / "metrics.json").is_file()


def _tasks(cells: Sequence[Cell], place: _Place) -> list[Task]:
    """A task per cell, and before the first that needs it one per pretraining."""
    sharing: dict[Path, list[Cell]] = {}
    for cell in cells:
        if (where := cell.pretraining_folder(place.pretrained)) is not None:
            sharing.setdefault(where, []).append(cell)
    tasks: dict[str, Task] = {}
    for cell in cells:
        before, where = None, cell.pretraining_folder(place.pretrained)
        if where is not None:
            before = f"pretraining-{where.name}"
            work = partial(_pretrain, sharing[where], place, where)
            tasks.setdefault(before, Task(before, partial(_attempt, before, place, work)))
        work = partial(_run, cell, place)
        title = f"{cell.row}, {cell.column}, seed {cell.seed}"
        task = Task(cell.name, partial(_attempt, cell.name, place, work), before, title)
        tasks[cell.name] = task
    return list(tasks.values())


def _attempt(name: str, place: _Place, work: Callable[[], None]) -> str | None:
    """Do some work; why it failed, or None."""
    # not in the cell's folder, where no run would start beside a file that no run writes
    trace = place.folder / "errors" / f"{name}.txt"
    if place.workers:  # here the command does it
        quieten()
    try:
        work()
    except HsiDiffusionError as error:
        trace.unlink(missing_ok=True)  # of another failure
        return str(error)
    # whatever it is, the other cells can do without this one
    except Exception as error:
        write_text(trace, traceback.format_exc())
        return f"{type(error).__name__}: {error} (see {trace})"
    trace.unlink(missing_ok=True)
    return None


def _pretrain(cells: Sequence[Cell], place: _Place, folder: Path) -> None:
    """Pretrain once for several cells; not at all where each of them would be refused."""
    for cell in cells:
        refused = partial(check, cell.settings, place.cell(cell))
        if _attempt(cell.name, place, refused) is None:
            cell.pretrain(folder, progress=place.progress)
            return


def _run(cell: Cell, place: _Place) -> None:
    check(cell.settings, place.cell(cell))
    cell.run(place.cell(cell), place.pretrained, progress=place.progress)


def _result(cell: Cell, place: _Place, error: str | None) -> CellResult:
    metrics, seconds = None, None
    if place.finished(cell):
        file = place.cell(cell) / "metrics.json"
        metrics = json.loads(file.read_text(encoding="utf-8"))
    where = cell.pretraining_folder(place.pretrained)
    if where is not None and (timing := where / "seconds.json").is_file():
        seconds = json.loads(timing.read_text(encoding="utf-8"))["pretraining"]
    return CellResult(cell, metrics, error, seconds)
