from __future__ import annotations

from typing import Any

from hsi_diffusion.runs import Cell, CellResult, RunSettings, measurements

COSTS = {"parameters": 10, "test_seconds": 2.0}


def result(settings: dict[str, Any], metrics: dict[str, Any] | None, **given: Any) -> CellResult:
    return CellResult(Cell("row", "column", RunSettings.from_dict(settings)), metrics, **given)


def test_a_cell_is_a_measurement_and_its_control_another() -> None:
    seconds = {"scene": 1.0, "pretraining": 0.1, "classifier": 20.0, "raw_bands": 12.0}
    metrics = {
        "overall_accuracy": 0.9,
        "raw_bands": {"overall_accuracy": 0.8},
        "seconds": seconds,
        "costs": {"method": COSTS, "control": {**COSTS, "parameters": 7}},
    }
    method, raw = measurements(
        [result({"seed": 3}, metrics, pretraining_seconds=100.0)], lambda row: f"{row}, raw"
    )
    assert (method.row, raw.row, method.column) == ("row", "row, raw", "column")
    assert method.seed == raw.seed == 3
    # the pretraining that was shared counts, not the time to load it, nor the control
    assert (method.seconds, method.training_seconds, method.test_seconds) == (121, 119, 2)
    assert (raw.seconds, raw.training_seconds) == (12, 10)
    assert (method.parameters, raw.parameters) == (10, 7)
    assert (method.figures["overall_accuracy"], raw.figures["overall_accuracy"]) == (0.9, 0.8)


def test_a_baseline_takes_all_of_its_time() -> None:
    seconds = {"scene": 1.0, "raw_bands": 5.0}
    metrics = {"overall_accuracy": 0.9, "seconds": seconds, "costs": {"method": COSTS}}
    (found,) = measurements([result({"pretrain": None}, metrics)], str)
    assert (found.seconds, found.training_seconds) == (6, 4)


def test_what_failed_is_left_out() -> None:
    assert measurements([result({}, None, error="why")], str) == []
