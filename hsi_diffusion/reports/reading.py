"""Measurements that were written before, read again."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.comparison import COSTS, Measurement
from hsi_diffusion.reports.tables import EXTRAS, SCORES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Key = tuple[str, str, int]


def read_measurements(figures: Path, per_class: Path | None = None) -> list[Measurement]:
    """Read what :func:`measurements_csv` and :func:`per_class_csv` have written.

    Args:
        figures: A line for every measurement.
        per_class: A line for every class of each of them; None, or a file that is not there: the
            accuracies of the classes are unknown.

    Returns:
        The measurements, in the order of the lines.

    Raises:
        ConfigurationError: A file can't be read as such a table.
    """
    accuracies: dict[Key, dict[int, float | None]] = {}
    if per_class is not None and per_class.is_file():
        for key, line in _lines(per_class, ("class", "accuracy")):
            number = _number(per_class, line, "class")
            if number is None:
                raise ConfigurationError(f"{per_class} has a line without a class: {line}")
            accuracies.setdefault(key, {})[int(number)] = _number(per_class, line, "accuracy")
    found = []
    for key, line in _lines(figures, (*SCORES, "seconds", *COSTS)):
        scores: dict[str, Any] = {name: _number(figures, line, name) for name in SCORES}
        if (classes := accuracies.get(key)) is not None:
            scores["per_class_accuracy"] = [classes[number] for number in sorted(classes)]
        # tables of earlier versions have neither these columns nor the last one
        extras = {name: _number(figures, line, name) for name in EXTRAS}
        scores |= {name: value for name, value in extras.items() if value is not None}
        row, column, seed = key
        costs = {name: _number(figures, line, name) for name in COSTS}
        total = _number(figures, line, "seconds")
        made = line.get("recipe") or None
        found.append(Measurement(row, column, seed, scores, total, **costs, recipe=made))
    return found


def _lines(path: Path, names: tuple[str, ...]) -> Iterator[tuple[Key, dict[str, str]]]:
    """Every line, with the measurement that it belongs to."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} can't be read ({error}); give the folder of a benchmark, with its "
            "benchmark.csv and per_class.csv"
        ) from error
    reader = csv.DictReader(text.splitlines())
    missing = {"row", "column", "seed", *names} - set(reader.fieldnames or ())
    if missing:
        raise ConfigurationError(f"{path} is no table of a benchmark: it lacks {min(missing)}")
    for line in reader:
        seed = _number(path, line, "seed")
        if seed is None:
            raise ConfigurationError(f"{path} has a line without a seed: {line}")
        yield (line["row"], line["column"], int(seed)), line


def _number(path: Path, line: dict[str, str], name: str) -> float | None:
    """A number; None where there is nothing, or no such column."""
    value = line.get(name)
    if not value:
        return None
    try:
        return int(value) if value.isdecimal() else float(value)
    except ValueError as error:
        raise ConfigurationError(f"{path} holds {value!r} as {name}, which is no number") from error
