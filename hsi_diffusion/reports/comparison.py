"""Several methods on several splits over several seeds, in one table."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsi_diffusion.reports.tables import NOTHING, SCORES, TextTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Measurement:
    """What one method reached on one split with one seed.

    Attributes:
        row: The method, or the variant of one.
        column: The split, or the scene and its split.
        seed: The seed of split, pretraining and classifier.
        figures: Overall accuracy and the other scalar figures of merit by name, as fractions.
        seconds: Time of everything, pretraining included; None where it is unknown. Of a stage that
            was resumed, only its last session counts.
    """

    row: str
    column: str
    seed: int
    figures: Mapping[str, float]
    seconds: float | None = None


def comparison_table(
    measurements: Sequence[Measurement],
    *,
    reference: str | None = None,
    figure: str = "overall_accuracy",
) -> TextTable:
    """Mean and standard deviation over the seeds, a row per method, in percent.

    Args:
        measurements: In the order of the rows and columns that the table shall have.
        reference: A row to which all others are compared: for each column another one with the mean
            and standard deviation of the difference seed by seed, in percentage points, over the
            seeds that both have.
        figure: Which figure of merit.

    Returns:
        The table; a dash where a method has no measurement. The sample standard deviation is left
        out where there is a single seed.
    """
    names = list(dict.fromkeys(m.row for m in measurements))
    columns = list(dict.fromkeys(m.column for m in measurements))
    values: dict[tuple[str, str], dict[int, float]] = {}
    for m in measurements:
        values.setdefault((m.row, m.column), {})[m.seed] = 100 * m.figures[figure]

    header, body = [""], [[name] for name in names]
    for column in columns:
        header.append(f"{column}, {SCORES.get(figure, figure)} %")
        for name, cells in zip(names, body, strict=True):
            cells.append(spread(list(values.get((name, column), {}).values())))
        if reference is None:
            continue
        header.append("difference")
        base = values.get((reference, column), {})
        for name, cells in zip(names, body, strict=True):
            own = values.get((name, column), {})
            pairs = [own[seed] - base[seed] for seed in sorted(own.keys() & base.keys())]
            cells.append(NOTHING if name == reference else spread(pairs, signed=True))
    return TextTable(tuple(header), tuple(map(tuple, body)))


def spread(values: Sequence[float], *, signed: bool = False) -> str:
    """Mean and sample standard deviation, two decimals; a dash for no values at all."""
    if not values:
        return NOTHING
    mean = f"{statistics.mean(values):+.2f}" if signed else f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def measurements_csv(measurements: Sequence[Measurement]) -> str:
    """Every measurement as a line of CSV, figures as fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "column", "seed", *SCORES, "seconds"])
    for m in measurements:
        figures = [m.figures.get(name, "") for name in SCORES]
        writer.writerow([m.row, m.column, m.seed, *figures, "" if m.seconds is None else m.seconds])
    return text.getvalue()
