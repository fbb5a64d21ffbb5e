"""Tables as in papers: the right figure in the right cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.metrics import summarise
from hsi_diffusion.reports import Measurement, TextTable, grid_table, paper_table

CLASSES = ["Corn", "Oats", "Woods"]
FROM_METRICS = {"kappa": "kappa", "FWIoU": "fwiou", "MIoU": "miou"}


def measured(
    row: str, seed: int, accuracies: list[float | None] | None, overall: float | None, **costs: Any
) -> Measurement:
    figures: dict[str, Any] = {"overall_accuracy": overall}
    if accuracies is not None:
        figures["per_class_accuracy"] = accuracies
    return Measurement(row, "10 %", seed, figures, **costs)


def cell(table: TextTable, row: str, column: str) -> str:
    (found,) = [cells for cells in table.rows if cells[0] == row]
    return found[table.header.index(column)]


def bold(table: TextTable) -> set[tuple[str, str]]:
    return {(table.rows[row][0], table.header[column]) for row, column in table.bold}


def test_layout() -> None:
    table = paper_table([measured("SVM", 0, [0.5, 0.25, 1.0], 0.6)], CLASSES)
    assert table.header == ("class", "SVM")
    assert [row[0] for row in table.rows] == [
        *("1 Corn", "2 Oats", "3 Woods"),
        *("OA", "AA", "kappa", "FWIoU", "MIoU"),
        *("seeds", "training time, s", "test time, s", "parameters"),
    ]
    assert [row[1] for row in table.rows] == [
        *("50.00", "25.00", "100.00"),
        *("60.00", "-", "-", "-", "-"),
        *("1", "-", "-", "-"),
    ]
    assert {table.rows[row][0] for row in table.rules} == {"OA", "seeds"}
    assert not table.bold, "one method is not the best of anything"


def test_cells_are_mean_and_deviation_of_what_the_metrics_give() -> None:
    rng = np.random.default_rng(0)
    measurements = []
    expected: dict[str, list[float]] = {}
    for seed in range(4):
        matrix = torch.from_numpy(rng.integers(1, 50, (3, 3)))
        figures = {name: value.tolist() for name, value in summarise(matrix).items()}
        measurements.append(Measurement("ours", "10 %", seed, figures))
        counts = matrix.double().numpy()
        found = counts.diagonal() / counts.sum(axis=1)
        rows = {f"{number} {name}": found[number - 1] for number, name in enumerate(CLASSES, 1)}
        rows |= {"OA": np.trace(counts) / counts.sum(), "AA": found.mean()}
        rows |= {name: figures[key] for name, key in FROM_METRICS.items()}
        for name, value in rows.items():
            expected.setdefault(name, []).append(float(value))
    table = paper_table(measurements, CLASSES)
    for row, values in expected.items():
        mean, deviation = 100 * np.mean(values), 100 * np.std(values, ddof=1)
        assert cell(table, row, "ours") == f"{mean:.2f} ± {deviation:.2f}"
    assert cell(table, "seeds", "ours") == "4"


def test_best_of_every_row_is_bold() -> None:
    table = paper_table(
        [
            measured("SVM", 0, [0.5, 0.9, 1.0], 0.7),
            measured("SVM", 1, [0.7, 0.9, 1.0], 0.7),
            measured("ours", 0, [0.6, 0.95, 1.0], 0.69),
            measured("ours", 1, [0.60001, 0.85, 1.0], 0.74),
            measured("kNN", 0, [0.1, 0.1, 0.999], 0.2),
            measured("kNN", 1, [0.1, 0.1, 0.999], 0.2),
        ],
        CLASSES,
    )
    assert bold(table) == {
        # 60.00 and 60.0005: both are shown as 60.00
        ("1 Corn", "SVM"),
        ("1 Corn", "ours"),
        ("2 Oats", "SVM"),
        ("2 Oats", "ours"),
        ("3 Woods", "SVM"),
        ("3 Woods", "ours"),
        ("OA", "ours"),
    }
    assert r"\textbf{71.50 $\pm$ 3.54}" in table.to_latex("Indian Pines", "tab:ip")


def test_absent_classes_and_missing_figures() -> None:
    table = paper_table(
        [
            measured("SVM", 0, [None, 0.5, math.nan], 0.5),
            measured("SVM", 1, [None, 0.5, 0.75], None),
            measured("ours", 0, None, 0.25),
            measured("ours", 1, None, 0.25),
        ],
        CLASSES,
    )
    assert [cell(table, row, "SVM") for row in ("1 Corn", "2 Oats", "3 Woods", "OA")] == [
        *("-", "50.00 ± 0.00", "75.00", "50.00")
    ]
    assert [cell(table, row, "ours") for row in ("1 Corn", "2 Oats", "OA")] == [
        *("-", "-", "25.00 ± 0.00")
    ]
    assert bold(table) == {("OA", "SVM")}


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2), (1, 2)])
def test_nothing_is_bold_where_methods_have_other_seeds(seeds: tuple[int, ...]) -> None:
    ours = [measured("ours", seed, [0.5, 0.5, 0.5], 0.9) for seed in (0, 1)]
    other = [measured("SVM", seed, [0.4, 0.4, 0.6], 0.8) for seed in seeds]
    table = paper_table([*ours, *other], CLASSES)
    assert not table.bold
    assert [cell(table, "seeds", name) for name in ("ours", "SVM")] == ["2", str(len(seeds))]
    assert cell(table, "OA", "ours") == "90.00 ± 0.00"


def test_methods_keep_their_order_and_costs_are_means() -> None:
    table = paper_table(
        [
            measured(
                "ours", 0, None, 0.5, training_seconds=100, test_seconds=0.5, parameters=4299633
            ),
            measured("kNN", 0, None, 0.5, training_seconds=0.0001, test_seconds=2),
            measured(
                "ours", 1, None, 0.5, training_seconds=3000, test_seconds=0.25, parameters=4299633
            ),
        ],
        CLASSES,
    )
    assert table.header == ("class", "ours", "kNN")
    assert table.rows[-3:] == (
        ("training time, s", "1,550", "< 0.001"),
        ("test time, s", "0.375", "2"),
        ("parameters", "4,299,633", "-"),
    )


def test_what_methods_learned_stands_below_the_test_pixels() -> None:
    def learned(row: str, seed: int, accuracy: float | None) -> Measurement:
        return Measurement(row, "10 %", seed, {"training_accuracy": accuracy})

    table = paper_table(
        [learned("ours", 0, 0.75), learned("ours", 1, 0.25), learned("kNN", 0, None)], CLASSES
    )
    assert cell(table, "OA of what it learned from", "ours") == "50.00 ± 35.36"
    assert cell(table, "OA of what it learned from", "kNN") == "-"
    assert "OA of what it learned from" not in {
        row[0] for row in paper_table([learned("kNN", 0, None)], CLASSES).rows
    }


def test_measurements_must_fit() -> None:
    one = measured("ours", 0, [0.5, 0.5, 0.5], 0.5)
    other = Measurement("ours", "blocks", 0, {"overall_accuracy": 0.5})
    with pytest.raises(ConfigurationError, match="of one column, got 10 %, blocks; make a table"):
        paper_table([one, other], CLASSES)
    with pytest.raises(ConfigurationError, match="of one column, got none at all"):
        paper_table([], CLASSES)
    with pytest.raises(ConfigurationError, match=r"per_class_accuracy of 'ours'.* 2 values.*got 3"):
        paper_table([one], CLASSES[:2])
    with pytest.raises(ConfigurationError, match="twice"):
        paper_table([one, one], CLASSES)


def test_grid_of_timesteps_and_levels() -> None:
    table = grid_table(
        {
            (5, "level 0"): [90.0, 80.0, 70.0],
            (5, "level 1"): [95.0],
            (100, "level 0"): [50.0, math.nan],
            (100, "level 2"): [],
        }
    )
    deviation = np.std([90, 80, 70], ddof=1)
    assert table == TextTable(
        ("", "level 0", "level 1", "level 2"),
        (("5", f"80.00 ± {deviation:.2f}", "95.00", "-"), ("100", "50.00", "-", "-")),
        bold=frozenset({(0, 2)}),
    )


def test_grid_marks_ties_and_may_be_empty() -> None:
    tied = grid_table(
        {(t, level): [50.0 if t == level else 25.0] for t in (0, 1) for level in (0, 1)}
    )
    assert tied.bold == {(0, 1), (1, 2)}
    assert grid_table({}) == TextTable(("",), ())
