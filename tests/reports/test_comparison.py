from __future__ import annotations

import csv
import io
import statistics

from hsi_diffusion.reports import Measurement, comparison_table, measurements_csv

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


def test_another_figure() -> None:
    assert comparison_table(MEASURED, figure="kappa").rows[0][2] == "50.00"


def test_csv_holds_every_measurement() -> None:
    rows = list(csv.DictReader(io.StringIO(measurements_csv(MEASURED))))
    assert len(rows) == 6
    assert rows[0]["overall_accuracy"] == "0.95"
    assert rows[0]["seconds"] == "12.5"
    assert rows[1]["seconds"] == ""
    assert rows[3]["row"] == "raw bands"
    assert rows[0]["miou"] == ""
