"""Tables laid out as papers of this field have them: classes by methods, timesteps by levels."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.comparison import best, by_seed, class_accuracies, spread
from hsi_diffusion.reports.tables import EXTRAS, NOTHING, SCORES, TextTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hsi_diffusion.reports.comparison import Measurement


def paper_table(measurements: Sequence[Measurement], class_names: Sequence[str]) -> TextTable:
    """The figures of all methods on one split, a column per method.

    Laid out as the tables of SpectralDiff (Chen et al., TGRS 2023): first the accuracy of each
    class, then OA, AA and kappa. FWIoU, MIoU and the rows below them are ours.

    Args:
        measurements: Measurements of one column of a comparison, in the order of the methods.
        class_names: K names.

    Returns:
        A table of the class accuracies, OA, AA, FWIoU and MIoU in percent and kappa times 100, each
        as mean and sample standard deviation over the seeds, which is left out where there is one
        value; then, where a method knows it, the overall accuracy on the pixels that it learned
        from; the number of seeds, the mean times of training and test in seconds, and the mean
        number of parameters. The best mean of each row of accuracies is bold, and so is every
        other one that looks the same with two decimals; nothing is bold where the methods don't all
        have the same seeds. A dash where nothing is known, such as for a class without test pixels;
        a seed without a value does not count.

    Raises:
        ConfigurationError: If there are no measurements or those of several columns, if a method
            has another number of classes, or if two measurements are of the same method and seed.
    """
    columns = sorted({m.column for m in measurements})
    if len(columns) != 1:
        raise ConfigurationError(
            f"measurements must be of one column, got {', '.join(columns) or 'none at all'}; "
            "make a table for each"
        )
    methods = list(dict.fromkeys(m.row for m in measurements))

    def of_methods(value: Callable[[Measurement], float | None]) -> list[list[float]]:
        values = by_seed(measurements, value)
        return [list(values.get((method, columns[0]), {}).values()) for method in methods]

    def percents(value: Callable[[Measurement], float | None]) -> list[list[float]]:
        return [[100 * fraction for fraction in cell] for cell in of_methods(value)]

    def of_class(index: int) -> list[list[float]]:
        unknown = [None] * len(class_names)
        return percents(lambda m: (class_accuracies(m, len(class_names)) or unknown)[index])

    def of_score(name: str) -> list[list[float]]:
        return percents(lambda m: m.figures.get(name))

    scored = [
        *((f"{index + 1} {name}", of_class(index)) for index, name in enumerate(class_names)),
        *((label, of_score(name)) for name, label in SCORES.items()),
    ]
    extras = [(label, of_score(name)) for name, label in EXTRAS.items()]
    seeds = [f"{len(values)}" for values in of_methods(lambda m: m.seed)]
    rows = [
        *((label, *map(spread, cells)) for label, cells in scored),
        *((label, *map(spread, cells)) for label, cells in extras if any(cells)),
        ("seeds", *seeds),
        ("training time, s", *map(_seconds, of_methods(lambda m: m.training_seconds))),
        ("test time, s", *map(_seconds, of_methods(lambda m: m.test_seconds))),
        ("parameters", *map(_count, of_methods(lambda m: m.parameters))),
    ]
    bold = {(row, 1 + method) for row, (_, cells) in enumerate(scored) for method in best(cells)}
    draws = {frozenset(m.seed for m in measurements if m.row == method) for method in methods}
    if len(draws) > 1:  # means over other seeds are means over other splits
        bold = set()
    rules = {len(class_names), len(scored)}
    return TextTable(("class", *methods), tuple(rows), frozenset(bold), frozenset(rules))


def grid_table(values: Mapping[tuple[Any, Any], Sequence[float]]) -> TextTable:
    """Mean and standard deviation in a grid, such as of timesteps by levels.

    SpectralDiff's Table VI compares the timestep and the layer of the features in this way.

    Args:
        values: For each pair of a row and a column (``(100, "level 2")``) the values of all seeds
            as they shall be shown, such as percentages; NaN does not count. Rows and columns stand
            in the order in which they first occur.

    Returns:
        The table; a dash where there is no value. The best mean is bold, and so is every other one
        that looks the same with two decimals.
    """
    names = list(dict.fromkeys(row for row, _ in values))
    columns = list(dict.fromkeys(column for _, column in values))
    cells = [
        [value for value in values.get((row, column), ()) if not math.isnan(value)]
        for row in names
        for column in columns
    ]
    width = len(columns)
    texts = list(map(spread, cells))
    return TextTable(
        ("", *map(str, columns)),
        tuple(
            (str(row), *texts[number * width : (number + 1) * width])
            for number, row in enumerate(names)
        ),
        frozenset((number // width, 1 + number % width) for number in best(cells)),
    )


def _seconds(values: Sequence[float]) -> str:
    """Mean time: three digits, or all before the point."""
    if not values:
        return NOTHING
    mean = statistics.mean(values)
    if mean < 0.001:
        return "< 0.001"
    return f"{mean:,.0f}" if mean >= 100 else f"{mean:.3g}"


def _count(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):,.0f}" if values else NOTHING
