"""Spatial blocks: nothing tested lies near what was labelled, and classes are covered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches.blocks import block_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.patches.split import Split


def distance(split: Split, part: str, other: str) -> int:
    """Smallest Chebyshev distance between two parts, pixel by pixel."""
    first, second = (
        np.stack(np.unravel_index(getattr(split, name), split.shape), axis=1)
        for name in (part, other)
    )
    return int(np.abs(first[:, None] - second[None]).max(axis=2).min())


def classes(split: Split, part: str) -> set[int]:
    return {row["class"] for row in split.settings["per_class"] if row[part]}


@pytest.mark.parametrize("seed", range(10))
def test_real_scene_is_covered_and_leaks_nothing(
    seed: int, indian_pines_labels: NDArray[np.uint8]
) -> None:
    split = block_split(indian_pines_labels, block_size=12, train_fraction=0.25, guard=5, seed=seed)
    everything = set(range(1, 17))
    assert classes(split, "train") == everything
    # grass-pasture-mowed and oats lie in one block each
    assert classes(split, "test") == everything - {7, 9}
    assert "classes 7 and 9: one block holds them whole" in split.settings["notes"][0]
    assert split.leakage(11) == 0
    labelled = np.count_nonzero(indian_pines_labels)
    assert 0.2 < len(split.labelled) / labelled < 0.27
    assert len(split.test) / labelled > 0.35
    assert 0.05 < len(split.val) / len(split.labelled) < 0.25
    tested = [row for row in split.settings["per_class"] if row["class"] not in {7, 9}]
    assert min(row["test"] for row in tested) >= 5
    assert min(row["train"] for row in tested) >= 10


@pytest.mark.parametrize(("guard", "block_size"), [(0, 5), (1, 12), (3, 7), (5, 10), (8, 6)])
def test_parts_keep_their_distance(
    guard: int, block_size: int, field_labels: NDArray[np.int64]
) -> None:
    split = block_split(field_labels, block_size=block_size, guard=guard, seed=1)
    assert distance(split, "test", "train") > guard
    assert split.leakage(2 * guard + 1) == 0
    if len(split.val):
        assert distance(split, "test", "val") > guard
        assert distance(split, "val", "train") > guard
    assert classes(split, "train") == set(np.unique(field_labels).tolist()) - {0}


def test_test_pixels_are_all_that_are_far_enough(field_labels: NDArray[np.int64]) -> None:
    split = block_split(field_labels, guard=4, seed=2)
    rows, columns = np.unravel_index(split.labelled, split.shape)
    expected = [
        row * 50 + column
        for row, column in np.argwhere(field_labels > 0).tolist()
        if np.maximum(np.abs(rows - row), np.abs(columns - column)).min() > 4
    ]
    assert split.test.tolist() == expected


def test_training_and_validation_are_whole_blocks(field_labels: NDArray[np.int64]) -> None:
    split = block_split(field_labels, guard=0, block_size=6, seed=0)
    blocks = np.arange(60)[:, None] // 6 * 9 + np.arange(50) // 6
    used: dict[str, set[int]] = {}
    for part in ("train", "val", "test"):
        pixels = getattr(split, part)
        used[part] = set(blocks.ravel()[pixels].tolist())
        whole = np.isin(blocks, list(used[part])) & (field_labels > 0)
        np.testing.assert_array_equal(pixels, np.flatnonzero(whole))
    assert not used["train"] & used["val"]
    assert len(split.labelled) + len(split.test) == np.count_nonzero(field_labels)
    assert len(split.labelled) / np.count_nonzero(field_labels) == pytest.approx(0.25, abs=0.02)
    assert len(split.val) / len(split.labelled) == pytest.approx(0.2, abs=0.06)


def test_without_validation_the_budget_trains(field_labels: NDArray[np.int64]) -> None:
    split = block_split(field_labels, guard=2, val_fraction=0, seed=0)
    assert len(split.val) == 0
    assert "validat" not in split.settings["notes"][0]
    with_val = block_split(field_labels, guard=2, seed=0)
    assert set(with_val.labelled.tolist()) <= set(split.train.tolist())


def test_a_class_in_two_neighbouring_blocks_is_tested_all_the_same() -> None:
    labels = np.zeros((24, 48), dtype=np.int64)
    labels[:, 24:] = 1
    labels[9:16, 3] = 2  # rows 9 to 11 in one block, 12 to 15 in the next: all within the guard
    split = block_split(labels, block_size=12, guard=5, seed=0)
    assert classes(split, "train") == classes(split, "test") == {1, 2}
    assert split.leakage(11) == 0
    # rows 9 and 15 are the only two at a distance of 6
    assert split.settings["notes"][0] == "class 2: 3 training pixels are given up for its test"


def test_what_is_missing_is_noted_once_and_in_figures() -> None:
    labels = np.zeros((24, 48), dtype=np.int64)
    labels[:, 24:] = 1
    labels[2:5, 3] = 2  # within one block
    split = block_split(labels, block_size=12, guard=2, seed=0)
    notes = split.settings["notes"]
    assert [note for note in notes if note.startswith("class 2: ")] == [
        "class 2: one block holds them whole, which trains; not tested"
    ]
    total = np.count_nonzero(labels)
    used, tested = len(split.labelled) / total, len(split.test) / total
    assert f"{used:.1%} of the labelled pixels train or validate" in notes
    rest = 1 - used - tested
    assert f"{rest:.1%} of the labelled pixels lie in the guard and are not used" in notes


def test_a_class_smaller_than_the_guard_trains_only() -> None:
    labels = np.zeros((24, 48), dtype=np.int64)
    labels[:, 24:] = 1
    labels[10:14, 3] = 2
    split = block_split(labels, block_size=12, guard=5, seed=0)
    assert classes(split, "train") == {1, 2}
    assert classes(split, "test") == {1}
    assert "class 2: no pixel is far enough from training; not tested" in split.settings["notes"]


def test_where_no_block_can_validate_single_pixels_do() -> None:
    labels = np.ones((12, 36), dtype=np.int64)
    split = block_split(labels, block_size=12, guard=5, seed=0)
    assert len(split.labelled) == 144
    assert len(split.val) == 29
    assert "no block could be spared for validation" in split.settings["notes"][0]
    assert split.leakage(11) == 0


@pytest.mark.parametrize("shift", [0, 1])
def test_edges_of_the_scene_cut_blocks(shift: int) -> None:
    labels = np.ones((30 + shift, 31), dtype=np.int64)
    labels[15:] = 2
    split = block_split(labels, block_size=10, guard=3, seed=shift)
    assert split.leakage(7) == 0
    assert classes(split, "test") == {1, 2}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_size": 0}, "block_size must be at least 1 pixel, got 0"),
        ({"guard": -1}, "guard must be at least 0 pixels, got -1"),
        ({"train_fraction": 0}, "train_fraction must lie between 0 and 1, got 0"),
        ({"train_fraction": 1}, "train_fraction must lie between 0 and 1, got 1"),
        ({"val_fraction": 1}, "val_fraction"),
        ({"block_size": 100}, "no labelled pixel is farther than guard=2"),
        ({"guard": 60}, "use a smaller block_size, train_fraction or guard"),
    ],
)
def test_wrong_arguments_are_named(
    settings: dict[str, Any], message: str, field_labels: NDArray[np.int64]
) -> None:
    with pytest.raises(SplitError, match=message):
        block_split(field_labels, **({"guard": 2, "seed": 0} | settings))
