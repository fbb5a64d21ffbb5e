"""Tables of results, for the terminal (rich) and for Markdown, from the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Metrics = Mapping[str, Any]

SCORES = {
    "overall_accuracy": "OA",
    "average_accuracy": "AA",
    "kappa": "kappa",
    "fwiou": "FWIoU",
    "miou": "MIoU",
}
"""Names of the scalar metrics, and how papers abbreviate them."""

NOTHING = "-"
"""What a cell shows where there is no value, such as the accuracy of an absent class."""


@dataclass(frozen=True)
class TextTable:
    """A table of strings; the first column is left-aligned, the others right-aligned.

    Attributes:
        header: One string per column.
        rows: Strings, as many per row as columns.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Refuse rows that don't fit the header."""
        for row in self.rows:
            if len(row) != len(self.header):
                raise ConfigurationError(
                    f"rows must have {len(self.header)} cells, as many as {self.header}, got {row}"
                )

    def to_rich(self, title: str | None = None) -> Table:
        """For ``rich.print``."""
        table = Table(title=title)
        for index, name in enumerate(self.header):
            table.add_column(Text(name), justify="right" if index else "left", no_wrap=index > 0)
        for row in self.rows:
            # Text, so that brackets in names are not taken for markup
            table.add_row(*map(Text, row))
        return table

    def to_markdown(self) -> str:
        """A Markdown table, without a newline at its end."""
        rule = ("---", *("---:" for _ in self.header[1:]))
        return "\n".join(
            "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
            for row in (self.header, rule, *self.rows)
        )


def results_table(results: Mapping[str, Metrics]) -> TextTable:
    """OA, AA, kappa, FWIoU and MIoU in percent, a row per method.

    Args:
        results: For each method (``"diffusion_features"``, ``"raw_bands"``, ...) its metrics by
            name as fractions 0..1; None and NaN leave the cell empty.
    """
    return TextTable(
        ("method", *SCORES.values()),
        tuple(
            (readable(method), *(percent(metrics.get(name)) for name in SCORES))
            for method, metrics in results.items()
        ),
    )


def class_table(
    results: Mapping[str, Metrics],
    class_names: Sequence[str],
    *,
    metric: str = "per_class_accuracy",
) -> TextTable:
    """One figure of every class in percent, a row per class, a column per method.

    Args:
        results: As for :func:`results_table`.
        class_names: K names.
        metric: ``"per_class_accuracy"`` or ``"per_class_iou"``: K fractions; None and NaN stand
            for classes that are absent from the test pixels.

    Raises:
        ConfigurationError: If a method has another number of values than there are classes.
    """
    columns = {}
    for method, metrics in results.items():
        values = metrics.get(metric)
        columns[method] = [None] * len(class_names) if values is None else list(values)
        if len(columns[method]) != len(class_names):
            raise ConfigurationError(
                f"{metric} of {method!r} must hold {len(class_names)} values, one per class, "
                f"got {len(columns[method])}"
            )
    return TextTable(
        ("class", *map(readable, results)),
        tuple(
            (name, *(percent(values[index]) for values in columns.values()))
            for index, name in enumerate(class_names)
        ),
    )


def split_table(per_class: Sequence[Mapping[str, int]], class_names: Sequence[str]) -> TextTable:
    """Pixels of every class in training, validation and test.

    Args:
        per_class: As :meth:`~hsi_diffusion.patches.Split.summary` gives it: for each class a
            mapping with ``"class"`` (1..K), ``"train"``, ``"val"`` and ``"test"``.
        class_names: K names.

    Raises:
        ConfigurationError: If a class has no name.
    """
    parts = ("train", "val", "test")
    rows = []
    for counts in per_class:
        if not 1 <= counts["class"] <= len(class_names):
            raise ConfigurationError(
                f"per_class must count the classes 1 to {len(class_names)}, got {counts['class']}"
            )
        name = class_names[counts["class"] - 1]
        rows.append((name, *(f"{counts[part]:,}" for part in parts)))
    totals = (f"{sum(counts[part] for counts in per_class):,}" for part in parts)
    return TextTable(("class", *parts), (*rows, ("all", *totals)))


def percent(value: Any) -> str:
    """A fraction as a percentage with two decimals; None and NaN as a dash."""
    if value is None or math.isnan(float(value)):
        return NOTHING
    return f"{100 * float(value):.2f}"


def readable(name: str) -> str:
    """A key such as ``"raw_bands"`` for people."""
    return name.replace("_", " ")
