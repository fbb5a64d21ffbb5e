from __future__ import annotations

import numpy as np
import pytest

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches import Split, cross_validation_folds, per_class_split


@pytest.fixture
def labels() -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.random.default_rng(0).integers(0, 5, (20, 24))


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("folds", [2, 3])
def test_every_labelled_pixel_validates_once_and_trains_otherwise(
    labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]], count: int, folds: int
) -> None:
    split = per_class_split(labels, count, seed=1)
    parts = cross_validation_folds(split, labels, folds, seed=7)
    assert len(parts) == folds
    validated = np.sort(np.concatenate([part.val for part in parts]))
    np.testing.assert_array_equal(validated, split.labelled)
    sizes = [len(part.val) for part in parts]
    assert max(sizes) - min(sizes) <= 1, "small classes fill all folds alike"
    for part in parts:
        np.testing.assert_array_equal(part.labelled, split.labelled)
        assert len(part.test) == 0
        # each class stands in both parts of each fold, as evenly as it divides
        per_class = np.bincount(labels.ravel()[part.val], minlength=5)[1:]
        assert per_class.min() >= count // folds
        assert per_class.max() <= -(-count // folds)
        assert set(np.unique(labels.ravel()[part.train])) == {1, 2, 3, 4}


def test_classes_of_several_sizes_fill_all_folds_alike() -> None:
    labels = np.repeat([1, 2, 3, 4, 5], [4, 3, 2, 4, 3])[None]
    everything = np.arange(labels.size)
    split = Split.from_labels(
        labels, train=everything, val=everything[:0], test=everything[:0], settings={}
    )
    sizes = [len(part.val) for part in cross_validation_folds(split, labels, 3, seed=0)]
    assert sorted(sizes) == [5, 5, 6]


def test_folds_are_a_function_of_the_seed(
    labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> None:
    split = per_class_split(labels, 6, seed=1)
    first, again, other = (
        [part.val.tolist() for part in cross_validation_folds(split, labels, 3, seed=seed)]
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_the_only_pixel_of_a_class_always_trains() -> None:
    labels = np.array([[1, 1, 1, 2], [3, 3, 0, 3]])
    split = Split.from_labels(
        labels,
        train=np.array([0, 1, 2, 3, 4]),
        val=np.array([5]),
        test=np.array([7]),
        settings={"kind": "test", "seed": 0},
    )
    parts = cross_validation_folds(split, labels, 2, seed=0)
    assert all(3 in part.train for part in parts)


def test_wrong_folds_are_refused() -> None:
    labels = np.array([[1, 1, 2, 2]])
    split = per_class_split(labels, 1, seed=0)
    with pytest.raises(SplitError, match="at least 2, got 1"):
        cross_validation_folds(split, labels, 1, seed=0)
    with pytest.raises(SplitError, match="2 labelled pixels don't fill 2 folds"):
        cross_validation_folds(split, labels, 2, seed=0)
