from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.labels import as_label_map, check_class_names, close_gaps

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float32", "float64"])
def test_whole_numbers_of_any_type_become_int64(dtype: str) -> None:
    labels = as_label_map(np.array([[0, 3], [14, 1]], dtype=dtype))
    assert labels.dtype == np.int64
    assert labels.tolist() == [[0, 3], [14, 1]]


def test_truth_values_become_0_and_1() -> None:
    assert as_label_map(np.array([[True, False]])).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"labels must have shape \(height, width\), got \(4,\)"),
        (np.zeros((2, 3, 1)), r"got \(2, 3, 1\)"),
        (np.zeros((0, 3)), r"got \(0, 3\)"),
        (np.zeros((1, 2), complex), "whole numbers, got complex128"),
        (np.array([["a"]]), "whole numbers, got <U1"),
        (np.array([[np.nan, 1, np.inf]]), "1 NaN and 1 infinite values; mark unlabelled"),
        (np.array([[0.5, 1, 1.5]]), "whole numbers, got 2 others: 0.5, 1.5"),
        (np.array([[-1, 1]]), r"0 \(unlabelled\) or a positive class value, got -1"),
    ],
)
def test_what_is_no_label_map(array: NDArray[Any], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        as_label_map(array)


def test_gaps_are_closed_like_a_plain_loop_does() -> None:
    ids = (1, 10, 11, 12, 13, 14)
    labels = np.random.default_rng(0).choice(np.array([0, *ids]), size=(9, 8))
    expected = [[0 if value == 0 else ids.index(value) + 1 for value in row] for row in labels]
    assert close_gaps(labels, ids).tolist() == expected


def test_huge_class_values_need_no_huge_table() -> None:
    assert close_gaps(np.array([[0, 2**40, 5]]), (5, 2**40)).tolist() == [[0, 2, 1]]


def test_a_map_without_classes_stays_empty() -> None:
    assert close_gaps(np.zeros((2, 2), dtype=np.int64), ()).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("wrong", [2, 9, 15])
def test_unknown_class_values_are_listed(wrong: int) -> None:
    labels = np.array([[0, 1, 10, wrong, wrong]])
    message = f"one of the class values 1, 10, 14; 2 pixels hold others: {wrong}"
    with pytest.raises(SceneError, match=message):
        close_gaps(labels, (1, 10, 14))


def test_the_classes_of_a_file_with_names_are_not_renamed_by_position() -> None:
    own = {2: "meadow", 1: "maize", 3: "soil"}
    with pytest.raises(
        SceneError, match=r"names its classes: maize, meadow, soil; leave class_names .* out"
    ):
        check_class_names(["corn", "wheat", "meadow"], own)
    for given, names in ((["maize", "meadow", "soil"], own), (None, own), (["corn"], {})):
        check_class_names(given, names)
