"""Several methods on several splits over several seeds: one table, and files of every value."""

from __future__ import annotations

import csv
import io
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.tables import EXTRAS, NOTHING, SCORES, TextTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Values = dict[tuple[str, str], dict[int, float]]
    """The values of every seed, for each row and column."""

COSTS = ("training_seconds", "test_seconds", "parameters")
"""Names of the fields that hold the costs of a method."""


@dataclass(frozen=True)
class Measurement:
    """Figures of one method on one split with one seed.

    Attributes:
        row: The method, or the variant of one.
        column: The split, or the scene and its split.
        seed: The seed of split, pretraining and classifier.
        figures: Overall accuracy and the other scalar figures of merit by name, as fractions. It
            may also hold ``"per_class_accuracy"``, a list of K fractions, and
            ``"training_accuracy"``, the overall accuracy on the pixels that were learned from, and
            ``"unseen_fields_accuracy"``, that on the test pixels in fields without labels; None
            and NaN stand for what there is not, such as the accuracy of a class without test
            pixels.
        seconds: Time of everything, pretraining included; None where it is unknown, as of a run
            that was stopped on its way.
        training_seconds: Time of all that is learnt, pretraining included; None = unknown.
        test_seconds: Time to classify the scene, or its test pixels, with what was learnt; None =
            unknown.
        parameters: Numbers that are learnt, over all networks of the method; None where they are
            unknown, or there is nothing to count, as with nearest neighbours.
        recipe: A name of the settings that it was made with, the same wherever they are; None =
            unknown.
    """

    row: str
    column: str
    seed: int
    figures: Mapping[str, Any]
    seconds: float | None = None
    training_seconds: float | None = None
    test_seconds: float | None = None
    parameters: float | None = None
    recipe: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """Row, column and seed, which tell the measurements of a comparison apart."""
        return self.row, self.column, self.seed


def comparison_table(
    measurements: Sequence[Measurement],
    *,
    reference: str | None = None,
) -> TextTable:
    """Mean and standard deviation of the overall accuracy over the seeds, a row per method.

    Args:
        measurements: In the order of the rows and columns that the table shall have.
        reference: A row to which all others are compared: for each column another one with the mean
            and standard deviation of the difference seed by seed, in percentage points, over the
            seeds that both have.

    Returns:
        The table, in percent; a dash where a method has no measurement. The sample standard
        deviation is left out where there is a single seed.

    Raises:
        ConfigurationError: If no measurement holds the overall accuracy, or two are of the same
            row, column and seed.
    """
    names = list(dict.fromkeys(m.row for m in measurements))
    columns = list(dict.fromkeys(m.column for m in measurements))
    values = {
        key: {seed: 100 * fraction for seed, fraction in seeds.items()}
        for key, seeds in fractions(measurements, "overall_accuracy").items()
    }

    header, body = [""], [[name] for name in names]
    for column in columns:
        header.append(f"{column}, OA %")
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


def by_seed(
    measurements: Sequence[Measurement], value: Callable[[Measurement], float | None]
) -> Values:
    """One value of every measurement, for each row and column those of its seeds.

    Seeds whose value is None or NaN are left out.

    Raises:
        ConfigurationError: If two measurements are of the same row, column and seed.
    """
    found: Values = {}
    seen = set()
    for m in measurements:
        if m.key in seen:
            raise ConfigurationError(
                f"measurements must hold each row, column and seed once, got {m.key} twice; give "
                "the rows names of their own, or leave one out"
            )
        seen.add(m.key)
        number = value(m)
        if number is not None and not math.isnan(number):
            found.setdefault((m.row, m.column), {})[m.seed] = number
    return found


def fractions(measurements: Sequence[Measurement], figure: str) -> Values:
    """A scalar figure of merit of every measurement, as :func:`by_seed` gives it.

    Raises:
        ConfigurationError: If there are measurements but none holds the figure, or two are of the
            same row, column and seed.
    """
    held = dict.fromkeys(name for m in measurements for name in m.figures)
    if measurements and figure not in held:
        raise ConfigurationError(
            f"figure must be one that the measurements hold, {', '.join(held) or 'none'}; "
            f"got {figure!r}"
        )
    return by_seed(measurements, lambda m: m.figures.get(figure))


def spread(values: Sequence[float], *, signed: bool = False) -> str:
    """Mean and sample standard deviation, two decimals; a dash for no values at all."""
    if not values:
        return NOTHING
    mean = f"{statistics.mean(values):+.2f}" if signed else f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def best(cells: Sequence[Sequence[float]]) -> set[int]:
    """Which cells of a table have the best mean, as :func:`spread` shows it.

    Means that look the same with two decimals are equally good.

    Args:
        cells: The values behind each cell; none at all where it shows a dash.

    Returns:
        Numbers of the cells from 0; empty where fewer than two cells have values, and there is
        nothing to be better than.
    """
    means = {
        number: round(statistics.mean(values), 2) for number, values in enumerate(cells) if values
    }
    if len(means) < 2:
        return set()
    top = max(means.values())
    return {number for number, mean in means.items() if mean == top}


def measurements_csv(measurements: Sequence[Measurement]) -> str:
    """Every measurement as a line of CSV, figures as fractions; no lists, see per_class_csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "column", "seed", *SCORES, "seconds", *COSTS, *EXTRAS, "recipe"])
    for m in measurements:
        scores, more = ([m.figures.get(name) for name in names] for names in (SCORES, EXTRAS))
        costs = [getattr(m, name) for name in COSTS]
        # what is None is written as nothing
        writer.writerow([m.row, m.column, m.seed, *scores, m.seconds, *costs, *more, m.recipe])
    return text.getvalue()


def per_class_csv(measurements: Sequence[Measurement]) -> str:
    """The accuracy of every class in every measurement that holds it, as a line of CSV each.

    Args:
        measurements: Those without ``"per_class_accuracy"`` are left out.

    Returns:
        Lines of row, column, seed, class (1..K), name, and accuracy as a fraction, which is empty
        for classes without test pixels; every name is empty too, as a column may be any scene.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "column", "seed", "class", "name", "accuracy"])
    for m in measurements:
        for number, accuracy in enumerate(class_accuracies(m) or [], start=1):
            writer.writerow([m.row, m.column, m.seed, number, "", accuracy])
    return text.getvalue()


def class_accuracies(
    measurement: Measurement, classes: int | None = None
) -> list[float | None] | None:
    """The accuracy of each class as a fraction, None for absent ones; None where it is not known.

    Raises:
        ConfigurationError: If there are not as many ``classes``; None = any number.
    """
    values = measurement.figures.get("per_class_accuracy")
    if values is None:
        return None
    if classes is not None and len(values) != classes:
        raise ConfigurationError(
            f"per_class_accuracy of {measurement.row!r} on {measurement.column!r} must hold "
            f"{classes} values, one per class name, got {len(values)}"
        )
    return [None if value is None or math.isnan(value) else float(value) for value in values]
