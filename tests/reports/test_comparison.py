from __future__ import annotations

import csv
import io
import statistics

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports import (
    Measurement,
    comparison_table,
    measurements_csv,
    per_class_csv,
)
from hsi_diffusion.reports.comparison import best

MEASURED = [
    Measurement("ours", "10 %", 0, {"overall_accuracy": 0.95, "kappa": 0.9}, 12.5),
    Measurement("ours", "10 %", 1, {"overall_accuracy": 0.97, "kappa": 0.94}),
    Measurement("ours", "blocks", 0, {"overall_accuracy": 0.6, "kappa": 0.5}),
    Measurement("raw bands", "10 %", 0, {"overall_accuracy": 0.94, "kappa": 0.89}),
    Measurement("raw bands", "10 %", 1, {"overall_accuracy": 0.98, "kappa": 0.96}),
    Measurement("raw bands", "10 %", 2, {"overall_accuracy": 0.5, "kappa": 0.4}),
]


def test_mean_and_deviation_over_seeds() -> None:
    table = comparison_table(MEASURED)
    assert table.header == ("", "10 %, OA %", "blocks, OA %")
    raw = [94.0, 98.0, 50.0]
    assert table.rows == (
        ("ours", f"96.00 ± {statistics.stdev([95, 97]):.2f}", "60.00"),
        ("raw bands", f"{statistics.mean(raw):.2f} ± {statistics.stdev(raw):.2f}", "-"),
    )


def test_differences_are_paired_by_seed() -> None:
    table = comparison_table(MEASURED, reference="ours")
    assert table.header[2] == "difference"
    # seed 2 has no partner: (94 - 95, 98 - 97)
    assert table.rows[1][2] == f"+0.00 ± {statistics.stdev([-1, 1]):.2f}"
    assert table.rows[0][2] == "-"
    assert table.rows[1][4] == "-"


def test_csv_holds_every_measurement() -> None:
    rows = list(csv.DictReader(io.StringIO(measurements_csv(MEASURED))))
    assert len(rows) == 6
    assert rows[0]["overall_accuracy"] == "0.95"
    assert rows[0]["seconds"] == "12.5"
    assert rows[1]["seconds"] == ""
    assert rows[3]["row"] == "raw bands"
    assert rows[0]["miou"] == ""


def test_figures_that_are_not_known_do_not_count() -> None:
    measured = [
        Measurement("a", "10 %", 0, {"overall_accuracy": 0.5}),
        Measurement("a", "10 %", 1, {"overall_accuracy": None}),
        Measurement("a", "10 %", 2, {"overall_accuracy": float("nan")}),
        Measurement("b", "10 %", 0, {}),
    ]
    assert comparison_table(measured).rows == (("a", "50.00"), ("b", "-"))


def test_measurements_without_the_figure_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="hold, kappa; got 'overall_accuracy'"):
        comparison_table([Measurement("a", "10 %", 0, {"kappa": 0.5})])
    assert comparison_table([]).rows == ()


def test_nothing_is_measured_twice() -> None:
    with pytest.raises(ConfigurationError, match=r"once, got \('ours', '10 %', 0\) twice"):
        comparison_table([*MEASURED, MEASURED[0]])


def test_csv_has_costs_behind_and_no_lists() -> None:
    measured = [
        Measurement(
            "ours",
            "10 %",
            0,
            {
                "overall_accuracy": 0.5,
                "kappa": None,
                "per_class_accuracy": [0.25, None],
                "training_accuracy": 0.75,
                "unseen_fields_accuracy": 0.25,
            },
            training_seconds=3.5,
            test_seconds=0,
            parameters=120,
            recipe="0a1b",
        )
    ]
    header, line = measurements_csv(measured).splitlines()
    assert header == (
        "row,column,seed,overall_accuracy,average_accuracy,kappa,fwiou,miou,seconds,"
        "training_seconds,test_seconds,parameters,training_accuracy,unseen_fields_accuracy,recipe"
    )
    assert line == "ours,10 %,0,0.5,,,,,,3.5,0,120,0.75,0.25,0a1b"


def test_csv_of_classes() -> None:
    accuracies = {"per_class_accuracy": [0.25, None, float("nan"), 1]}
    measured = [
        Measurement("ours", "10 %", 3, accuracies),
        Measurement("theirs", "10 %", 3, {"kappa": 0.5}),
    ]
    rows = list(csv.DictReader(io.StringIO(per_class_csv(measured))))
    assert {row["row"] for row in rows} == {"ours"}
    assert [row["class"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["name"] for row in rows] == [""] * 4
    assert [row["accuracy"] for row in rows] == ["0.25", "", "", "1.0"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([[1, 2], [3], []], {1}),
        # 3.001 looks like 3.00
        ([[2.0, 4.0], [3.001], [2.9]], {0, 1}),
        ([[1.0], [], []], set()),
        ([[], []], set()),
        ([[-2.0], [-1.0]], {1}),
    ],
)
def test_best_cells(cells: list[list[float]], expected: set[int]) -> None:
    assert best(cells) == expected
