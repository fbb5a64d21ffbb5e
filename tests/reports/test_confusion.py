"""The confusion matrix shows counts and shares of the right cells."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Annotation
from sklearn.metrics import confusion_matrix as reference

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.confusion import confusion_matrix
from hsi_diffusion.scenes.simulated.layout import CLASSES
from tests.reports.layout import check_layout


def test_cells_hold_row_shares_and_counts() -> None:
    matrix = np.array([[30, 10, 0], [0, 1234, 0], [0, 0, 0]])
    figure = confusion_matrix(matrix, ["Corn", "Woods", "Oats"])
    axis = figure.axes[0]
    cells: dict[tuple[int, int], list[str]] = {}
    for text in axis.texts:
        assert isinstance(text, Annotation)
        column, row = text.xy
        cells.setdefault((int(column), int(row)), []).append(text.get_text())
    assert cells == {(0, 0): ["75.0", "30"], (1, 0): ["25.0", "10"], (1, 1): ["100", "1,234"]}
    shown = np.ma.masked_array(axis.images[0].get_array())
    np.testing.assert_allclose(shown[:2].filled(-1), [[75, 25, 0], [0, 100, 0]])
    assert np.ma.getmaskarray(shown)[2].all()
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "Corn (40)",
        "Woods (1,234)",
        "Oats (0)",
    ]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["Corn", "Woods", "Oats"]


def test_nearly_all_is_not_called_all() -> None:
    figure = confusion_matrix([[9_990, 10], [0, 5]], ["a", "b"])
    assert {text.get_text() for text in figure.axes[0].texts} >= {"99.9", "0.1", "100"}


@pytest.mark.parametrize("classes", [2, 3, 16, 30])
def test_every_size_can_be_read(classes: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, 5000)
    matrix = 100 * reference(truth, np.where(rng.random(5000) < 0.7, truth, 0))
    figure = confusion_matrix(matrix, [cover.name for cover in CLASSES[:classes]])
    check_layout(figure)
    assert figure.axes[0].get_window_extent().width > 0.5 * figure.bbox.width or classes < 5


def test_matrix_must_fit_the_names() -> None:
    with pytest.raises(ConfigurationError, match=r"must have shape \(3, 3\).*got \(2, 2\)"):
        confusion_matrix(np.eye(2), ["a", "b", "c"])
