"""Label maps checked, and one class's budget parted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches.stratify import check_labels, listed, set_aside, shuffled_pixels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(5), r"shape \(H, W\), got float64 in shape \(5,\)"),
        (np.zeros((2, 2), dtype=bool), "got bool"),
        (np.array([["a"]]), "got <U1"),
        (np.zeros((2, 2)), "at least one labelled pixel, but all of them are 0"),
        (np.array([[1, -1]]), "classes from 1, as integers"),
        (np.array([[1, 0.5]]), "classes from 1, as integers"),
    ],
)
def test_what_is_no_label_map_is_named(labels: Any, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        check_labels(labels)


@pytest.mark.parametrize(
    ("budget", "share", "validates"),
    [
        (1, 0.9, 0),
        (2, 0.01, 1),
        (2, 0.99, 1),
        (10, 0.25, 3),
        (10, 0.0, 0),
        (7, 0.2, 1),
        (8, 0.2, 2),
    ],
)
def test_budget_is_parted(budget: int, share: float, validates: int) -> None:
    pixels = np.arange(budget) * 3
    train, val = set_aside(pixels, share)
    assert len(val) == validates
    np.testing.assert_array_equal(np.concatenate([train, val]), pixels)


def test_shuffled_pixels_are_all_pixels() -> None:
    mask = np.random.default_rng(0).random((9, 9)) < 0.5
    first, second = shuffled_pixels(mask, 0, 1), shuffled_pixels(mask, 0, 2)
    np.testing.assert_array_equal(np.sort(first), np.flatnonzero(mask))
    assert not np.array_equal(first, second)


def test_notes_list_classes() -> None:
    assert listed([3]) == "class 3"
    assert listed([3, 4]) == "classes 3 and 4"
    assert listed([1, 3, 4]) == "classes 1, 3 and 4"
