"""Tables hold the right figures in both forms."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.tables import (
    TextTable,
    class_table,
    percent,
    results_table,
    split_table,
)

if TYPE_CHECKING:
    from rich.table import Table

RESULTS: dict[str, dict[str, Any]] = {
    "diffusion_features": {
        "overall_accuracy": 0.97312,
        "average_accuracy": 0.95,
        "kappa": 0.9,
        "fwiou": 0.8,
        "miou": 1,
        "per_class_accuracy": [1.0, None],
        "per_class_iou": [0.5, None],
    },
    "raw_bands": {
        "overall_accuracy": 0.9,
        "kappa": float("nan"),
        "miou": None,
        "per_class_accuracy": [0.25, float("nan")],
    },
}


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(table)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.98345, "98.34"),
        (1, "100.00"),
        (np.float64(0.5), "50.00"),
        (-0.01, "-1.00"),
        (None, "-"),
        (float("nan"), "-"),
    ],
)
def test_percent(value: float | None, expected: str) -> None:
    assert percent(value) == expected


def test_results_of_every_method() -> None:
    table = results_table(RESULTS)
    assert table.header == ("method", "OA", "AA", "kappa", "FWIoU", "MIoU")
    assert table.rows == (
        ("diffusion features", "97.31", "95.00", "90.00", "80.00", "100.00"),
        ("raw bands", "90.00", "-", "-", "-", "-"),
    )


def test_results_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, (2, 400))
    figures = {
        "overall_accuracy": accuracy_score(truth, predicted),
        "average_accuracy": balanced_accuracy_score(truth, predicted),
        "kappa": cohen_kappa_score(truth, predicted),
    }
    (row,) = results_table({"svm": figures}).rows
    assert [float(cell) for cell in row[1:4]] == pytest.approx(
        [100 * value for value in figures.values()], abs=0.005
    )


def test_classes_in_rows_and_methods_in_columns() -> None:
    table = class_table(RESULTS, ["Corn", "Oats"])
    assert table.header == ("class", "diffusion features", "raw bands")
    assert table.rows == (("Corn", "100.00", "25.00"), ("Oats", "-", "-"))
    iou = class_table(RESULTS, ["Corn", "Oats"], metric="per_class_iou")
    assert iou.rows == (("Corn", "50.00", "-"), ("Oats", "-", "-"))


def test_values_must_fit_the_classes() -> None:
    with pytest.raises(ConfigurationError, match="must hold 3 values, one per class, got 2"):
        class_table(RESULTS, ["a", "b", "c"])


def test_split_counts_with_totals() -> None:
    per_class = [
        {"class": 1, "train": 1000, "val": 30, "test": 5},
        {"class": 3, "train": 20, "val": 1, "test": 0},
    ]
    table = split_table(per_class, ["Corn", "Oats", "Woods"])
    assert table.rows == (
        ("Corn", "1,000", "30", "5"),
        ("Woods", "20", "1", "0"),
        ("all", "1,020", "31", "5"),
    )
    with pytest.raises(ConfigurationError, match="classes 1 to 2, got 3"):
        split_table(per_class, ["Corn", "Oats"])


def test_markdown_has_a_rule_and_escapes_bars() -> None:
    table = TextTable(("class", "OA"), (("a|b", "1.00"),))
    assert table.to_markdown() == "| class | OA |\n| --- | ---: |\n| a\\|b | 1.00 |"


def test_rich_shows_the_same_cells() -> None:
    text = printed(results_table(RESULTS).to_rich("Results"))
    assert "Results" in text
    for cell in ("diffusion features", "97.31", "raw bands", "FWIoU"):
        assert cell in text


def test_brackets_are_no_markup() -> None:
    table = TextTable(("class [x]", "OA"), (("[bold]Corn", "1.00"),))
    assert "[bold]Corn" in printed(table.to_rich())
    assert "class [x]" in printed(table.to_rich())


def test_rows_must_fit_the_header() -> None:
    with pytest.raises(ConfigurationError, match="rows must have 2 cells"):
        TextTable(("a", "b"), (("1",),))
