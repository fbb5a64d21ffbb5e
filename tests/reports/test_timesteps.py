"""The choice of timesteps as a table and as a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.timesteps import timestep_map, timestep_table
from tests.reports.layout import check_layout, shown_texts

WEIGHTS = np.array(
    [
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]],
        [[0.0, 0.25, 0.75], [0.5, 0.25, 0.25]],
    ]
)
LABELS = np.array([[1, 1], [2, 0]])


def some_weights(height: int, width: int, timesteps: int) -> Any:
    weights = np.random.default_rng(0).random((height, width, timesteps)) ** 4
    weights[weights < 0.1] = 0
    weights[..., 0] += 0.01
    return weights / weights.sum(axis=2, keepdims=True)


def test_table_tells_of_the_scene_and_of_each_class() -> None:
    table = timestep_table(WEIGHTS, [50, 5, 100], LABELS, ["Corn", "Oats", "Woods"])
    assert table.header == (
        "pixels",
        "weight t = 50",
        "weight t = 5",
        "weight t = 100",
        "kept t = 50",
        "kept t = 5",
        "kept t = 100",
    )
    assert table.rows == (
        ("whole scene", "50.00", "25.00", "25.00", "75.00", "75.00", "50.00"),
        ("Corn", "75.00", "25.00", "0.00", "100.00", "50.00", "0.00"),
        ("Oats", "0.00", "25.00", "75.00", "0.00", "100.00", "100.00"),
        ("Woods", "-", "-", "-", "-", "-", "-"),
    )


def test_table_leaves_out_what_is_always_kept() -> None:
    table = timestep_table(np.full((2, 2, 4), 0.25), [5, 10, 50, 100])
    assert table.header == ("pixels", *(f"weight t = {t}" for t in (5, 10, 50, 100)))
    assert table.rows == (("whole scene", "25.00", "25.00", "25.00", "25.00"),)


def test_map_shows_the_heaviest_timestep() -> None:
    weights = WEIGHTS.copy()
    weights[0, 1] = [0.4, 0.6, 0.0]
    figure = timestep_map(weights, [50, 5, 100])
    image, bars = figure.axes
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["t = 5", "t = 50", "t = 100"], "in the order of time"
    colours = np.array([patch.get_facecolor() for patch in figure.legends[0].get_patches()])[:, :3]
    assert (np.diff(colours.sum(axis=1)) > 0).all(), "from dark to light"
    expected = colours[np.array([[1, 0], [2, 1]])]
    np.testing.assert_allclose(np.asarray(image.images[0].get_array()), expected)
    heights = [bar.get_height() for container in bars.containers for bar in container]
    kept = [75.0, 75.0, 50.0]
    assert heights == pytest.approx([*kept, 27.5, 47.5, 25.0])
    assert [label.get_text() for label in bars.get_xticklabels()] == ["5", "50", "100"]


def test_bars_of_what_is_kept_only_where_something_is_not() -> None:
    figure = timestep_map(np.full((6, 6, 2), 0.5), [5, 10])
    assert len(figure.axes[1].containers) == 1
    assert "grey" not in " ".join(text.get_text() for text in shown_texts(figure))


@pytest.mark.parametrize("size", [(30, 30), (12, 60), (60, 25)])
@pytest.mark.parametrize("timesteps", [2, 6])
def test_figures_of_any_shape_can_be_read(size: tuple[int, int], timesteps: int) -> None:
    steps = [5, 10, 50, 100, 200, 400][:timesteps]
    check_layout(timestep_map(some_weights(*size, timesteps), steps))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timesteps": [5, 10]}, r"weights must be \(H, W, 2\).*got shape \(2, 2, 3\)"),
        ({"weights": WEIGHTS * 2}, "of sum 1"),
        ({"weights": WEIGHTS - 1}, "at least 0"),
        ({"labels": LABELS[:1]}, r"labels must cover.*got \(1, 2\)"),
        ({"class_names": ["Corn"]}, "class_names must name 2 classes, got 1"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "weights": WEIGHTS,
        "timesteps": [50, 5, 100],
        "labels": LABELS,
        "class_names": ["Corn", "Oats"],
        **changes,
    }
    with pytest.raises(ConfigurationError, match=message):
        timestep_table(**arguments)
