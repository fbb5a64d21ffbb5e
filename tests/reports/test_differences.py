from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports import Measurement, differences_figure, paired, save_figure

if TYPE_CHECKING:
    from pathlib import Path


def measured(row: str, column: str, values: list[float]) -> list[Measurement]:
    return [
        Measurement(row, column, seed, {"overall_accuracy": value})
        for seed, value in enumerate(values)
    ]


def test_dots_are_seeds_and_the_bar_is_the_interval_of_their_mean(tmp_path: Path) -> None:
    found = [
        *measured("features", "10 %", [0.95, 0.97, 0.96]),
        *measured("raw", "10 %", [0.94, 0.95, 0.93, 0.2]),
        *measured("features", "blocks", [0.5]),
        *measured("raw", "blocks", [0.7]),
        *measured("features", "alone", [0.7]),
    ]
    figure = differences_figure(found, [("features", "raw"), ("raw", "features")])
    there, back = figure.axes
    assert [label.get_text() for label in there.get_yticklabels()] == ["10 %", "blocks", "alone"]
    assert (there.get_title(), back.get_title()) == ("features - raw", "raw - features")
    lines = [np.asarray(line.get_xydata(), dtype=float) for line in there.lines]
    zero, dots, bar, mean, dots_of_blocks, mean_of_blocks, nothing = lines
    assert zero[:, 0].tolist() == [0, 0]
    np.testing.assert_allclose(dots, [[1, 0], [2, 0], [3, 0]])
    test = paired({0: 0.95, 1: 0.97, 2: 0.96}, {0: 0.94, 1: 0.95, 2: 0.93})
    np.testing.assert_allclose(bar[:, 0], test.interval)
    np.testing.assert_allclose(mean, [[2, 0]])
    np.testing.assert_allclose(dots_of_blocks, [[-20, 1]])  # one seed has no interval
    np.testing.assert_allclose(mean_of_blocks, [[-20, 1]])
    assert nothing.size == 0
    assert math.isclose(float(np.asarray(back.lines[1].get_xdata())[0]), -1)
    assert save_figure(figure, tmp_path / "differences.png").stat().st_size > 5_000


def test_panels_stand_in_rows_of_three() -> None:
    found = [*measured("a", "10 %", [0.9, 0.8]), *measured("b", "10 %", [0.7, 0.75])]
    figure = differences_figure(found, [("a", "b")] * 4)
    places = [axis.get_subplotspec() for axis in figure.axes]
    rows = [place.rowspan.start for place in places if place is not None]
    columns = [place.colspan.start for place in places if place is not None]
    assert list(zip(rows, columns, strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    one = differences_figure(found, [("a", "b")]).get_size_inches()
    assert one[0] < figure.get_size_inches()[0]


def test_without_pairs_there_is_no_figure() -> None:
    with pytest.raises(ConfigurationError, match="at least one pair"):
        differences_figure(measured("features", "10 %", [0.5]), [])
