"""Finished cells of a grid as measurements for tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsi_diffusion.reports import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hsi_diffusion.runs.grid import Cell, CellResult


def measurements(results: Sequence[CellResult], control: Callable[[str], str]) -> list[Measurement]:
    """Every finished cell, and its control as a row of its own behind it.

    The training time is everything before the last map: pretraining, features, choice and the
    training itself; a pretraining that several cells share counts for each of them.

    Args:
        results: What a grid gave; cells that failed are left out.
        control: Names the row of a cell's control from the cell's row.
    """
    found = []
    for result in results:
        if (metrics := result.metrics) is None:
            continue
        cell = result.cell
        seconds = dict(metrics["seconds"])
        seconds.pop("pretraining", None)  # the time to load it
        alone = seconds.get("raw_bands", 0.0)
        baseline = cell.settings.pretrain is None
        if not baseline:
            seconds.pop("raw_bands", None)
            seconds["pretraining"] = result.pretraining_seconds or 0.0
        total = sum(seconds.values())
        costs = metrics["costs"]
        found.append(_measurement(cell, cell.row, metrics, costs["method"], total))
        if "raw_bands" in metrics:
            row, figures = control(cell.row), metrics["raw_bands"]
            found.append(_measurement(cell, row, figures, costs["control"], alone))
    return found


def _measurement(
    cell: Cell, row: str, figures: dict[str, Any], costs: dict[str, Any], total: float
) -> Measurement:
    return Measurement(
        row,
        cell.column,
        cell.settings.seed,
        figures,
        round(total, 2),
        training_seconds=round(total - costs["test_seconds"], 2),
        test_seconds=costs["test_seconds"],
        parameters=costs["parameters"],
    )
