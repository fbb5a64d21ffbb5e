"""Finished cells of a grid as measurements for tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hsi_diffusion.reports import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsi_diffusion.benchmarks.cells import Cell
    from hsi_diffusion.benchmarks.grid import CellResult


ALIKE = 3
"""Runs of a column that may fail for one reason before they are told together."""


def control_row(row: str) -> str:
    """Name of the control of a row."""
    return f"{row}: raw bands"


def measurements(results: Sequence[CellResult]) -> list[Measurement]:
    """Every finished cell, and its control as a row of its own behind it.

    The training time is everything before the last map: pretraining, features, graph, choice and
    the training itself; a pretraining that several cells share counts for each of them. It is None
    where a part of it is unknown, because the cell or its pretraining was stopped on its way or the
    pretraining was done elsewhere.

    Args:
        results: What a grid gave; cells without metrics are left out.
    """
    found = []
    for result in results:
        if (metrics := result.metrics) is None:
            continue
        cell, costs = result.cell, metrics["costs"]
        alone: float | None = None
        total: float | None = None
        if not metrics["resumed"]:
            seconds = dict(metrics["seconds"])
            seconds.pop("pretraining", None)  # the time to load it
            of_control = seconds.pop("raw_bands", 0.0)
            alone = of_control + seconds.get("graph", 0.0)
            # the raw bands of a baseline are the method itself
            before = of_control if cell.is_baseline else result.pretraining_seconds
            total = None if before is None else before + sum(seconds.values())
        found.append(_measurement(cell, cell.row, metrics, costs["method"], total))
        if "raw_bands" in metrics:
            row, figures = control_row(cell.row), metrics["raw_bands"]
            raw = _measurement(cell, row, figures, costs["control"], alone)
            found.append(replace(raw, recipe=cell.digest(control=True)))
    return found


def matching(
    earlier: Sequence[Measurement], cells: Sequence[Cell]
) -> tuple[list[Measurement], list[Measurement]]:
    """Tell measurements from elsewhere that cells would give too from those of other settings.

    The first ones match the cells, or have the name of none; the second ones have the name of a
    cell but were made with other settings. Where one doesn't know what it was made with, its row,
    column and seed decide.
    """
    expected = {}
    for cell in cells:
        expected[cell.key] = cell.digest()
        expected[control_row(cell.row), cell.column, cell.seed] = cell.digest(control=True)
    same: list[Measurement] = []
    others: list[Measurement] = []
    for m in earlier:
        own = expected.get(m.key, m.recipe)
        (same if m.recipe in (own, None) else others).append(m)
    return same, others


def failures(results: Sequence[CellResult]) -> list[str]:
    """A line of Markdown for every cell that failed, or for all of a column that fail alike."""
    alike: dict[tuple[str, str], list[Cell]] = {}
    for result in results:
        if result.error is not None:
            alike.setdefault((result.cell.column, result.error), []).append(result.cell)
    lines = []
    for (column, error), cells in alike.items():
        if len(cells) > ALIKE:
            lines.append(f"- {column}, {len(cells)} runs: {error}")
        else:
            lines += [f"- {cell.row}, {column}, seed {cell.seed}: {error}" for cell in cells]
    return lines


def _measurement(
    cell: Cell, row: str, figures: dict[str, Any], costs: dict[str, Any], total: float | None
) -> Measurement:
    return Measurement(
        row,
        cell.column,
        cell.seed,
        figures,
        None if total is None else round(total, 2),
        training_seconds=None if total is None else round(total - costs["test_seconds"], 2),
        test_seconds=costs["test_seconds"],
        parameters=costs["parameters"],
        recipe=cell.digest(),
    )
