from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hsi_diffusion.benchmarks.cells import Cell
from hsi_diffusion.benchmarks.grid import CellResult
from hsi_diffusion.benchmarks.measurements import failures, matching, measurements
from hsi_diffusion.runs import RunSettings

if TYPE_CHECKING:
    from hsi_diffusion.reports import Measurement

COSTS = {"parameters": 10, "test_seconds": 2.0}


def result(settings: dict[str, Any], metrics: dict[str, Any] | None, **given: Any) -> CellResult:
    return CellResult(Cell("row", "column", RunSettings.from_dict(settings)), metrics, **given)


def test_a_cell_is_a_measurement_and_its_control_another() -> None:
    stages = {"scene": 1.0, "pretraining": 0.1, "graph": 3.0, "classifier": 20.0}
    metrics = {
        "resumed": False,
        "overall_accuracy": 0.9,
        "raw_bands": {"overall_accuracy": 0.8},
        "seconds": {**stages, "raw_bands": 12.0},
        "costs": {"method": COSTS, "control": {**COSTS, "parameters": 7}},
    }
    method, raw = measurements([result({"seed": 3}, metrics, pretraining_seconds=100.0)])
    assert (method.row, raw.row, method.column) == ("row", "row: raw bands", "column")
    assert method.seed == raw.seed == 3
    # the pretraining that was shared counts, not the time to load it, nor the control; both need
    # the graph
    assert (method.seconds, method.training_seconds, method.test_seconds) == (124, 122, 2)
    assert (raw.seconds, raw.training_seconds) == (15, 13)
    assert (method.parameters, raw.parameters) == (10, 7)
    assert (method.figures["overall_accuracy"], raw.figures["overall_accuracy"]) == (0.9, 0.8)


def test_a_baseline_takes_all_of_its_time() -> None:
    seconds = {"scene": 1.0, "raw_bands": 5.0}
    metrics = {
        "overall_accuracy": 0.9,
        "resumed": False,
        "seconds": seconds,
        "costs": {"method": COSTS},
    }
    (found,) = measurements([result({"pretrain": {"denoiser": None}}, metrics)])
    assert (found.seconds, found.training_seconds) == (6, 4)


def test_times_that_nobody_knows_are_left_out() -> None:
    metrics = {
        "overall_accuracy": 0.9,
        "resumed": True,
        "seconds": {"scene": 1.0},
        "costs": {"method": COSTS},
    }
    stopped = result({}, metrics, pretraining_seconds=100.0)
    elsewhere = result({}, {**metrics, "resumed": False})
    for measurement in measurements([stopped, elsewhere]):
        assert measurement.seconds is measurement.training_seconds is None
        assert measurement.test_seconds == 2


def test_measurements_of_other_settings_are_told_from_those_of_the_same() -> None:
    def measured(settings: dict[str, Any]) -> tuple[Cell, list[Measurement]]:
        metrics = {
            "overall_accuracy": 0.9,
            "raw_bands": {"overall_accuracy": 0.8},
            "resumed": False,
            "seconds": {"scene": 1.0},
            "costs": {"method": COSTS, "control": COSTS},
        }
        found = result({"seed": 3, **settings}, metrics)
        return found.cell, measurements([found])

    cell, usual = measured({"scene": "salinas", "root": "here"})
    _, elsewhere = measured(
        {
            "scene": "salinas",
            "root": "there",
            "download": True,
            "features": {"keep": "none"},
            "accelerator": "cpu",
            "deterministic": False,
        }
    )
    _, longer = measured({"scene": "salinas", "pretrain": {"steps": 3}})
    _, other = measured({"scene": "salinas", "classifier": {"steps": 3}})
    unknown = [replace(m, recipe=None) for m in other]
    unasked = [replace(m, row="another method") for m in other]

    def split(earlier: list[Measurement]) -> tuple[list[Measurement], list[Measurement]]:
        return matching(earlier, [cell])

    assert split(usual) == (usual, [])
    assert split(elsewhere) == (elsewhere, [])
    # the control owes nothing to the pretraining
    assert split(longer) == (longer[1:], longer[:1])
    assert split(other) == ([], other)
    assert split([*unknown, *unasked]) == ([*unknown, *unasked], [])

    here, there = (
        measured({"scene": "salinas", "pretrained": f"{folder}/pretrain.ckpt"})[1]
        for folder in ("here", "/there")
    )
    assert here == there
    assert split(here) == (usual[1:], here[:1])


def test_what_failed_has_no_measurement() -> None:
    failed = result({"seed": 2}, None, error="why")
    assert measurements([failed]) == []
    assert failures([failed, result({}, None)]) == ["- row, column, seed 2: why"]
    many = [result({"seed": seed}, None, error="no file") for seed in range(5)]
    assert failures([*many, failed]) == ["- column, 5 runs: no file", "- row, column, seed 2: why"]
