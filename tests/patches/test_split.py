"""The split as a value: checked, saved, and measured for leakage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hsi_diffusion.errors import ConfigurationError, FileFormatError, SplitError
from hsi_diffusion.patches.gather import gather_patches
from hsi_diffusion.patches.split import Split
from hsi_diffusion.patches.splits import fraction_split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion.types import Padding


def make(**changes: Any) -> Split:
    parts: dict[str, Any] = {
        "train": np.array([5, 1]),
        "val": np.array([7], dtype=np.uint16),
        "test": np.array([2, 3, 11]),
        "shape": (3, 4),
    }
    return Split(**(parts | changes))


def test_parts_are_sorted_and_of_one_dtype() -> None:
    split = make()
    assert split.train.tolist() == [1, 5]
    assert split.labelled.tolist() == [1, 5, 7]
    assert {part.dtype for part in (split.train, split.val, split.test)} == {np.dtype(np.int64)}


def test_parts_are_copies() -> None:
    pixels = np.array([1, 5])
    split = make(train=pixels)
    pixels[0] = 4
    assert split.train.tolist() == [1, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": np.array([12])}, "train must lie between 0 and 11, got 12"),
        ({"val": np.array([-1])}, "val must lie between 0 and 11, got -1"),
        ({"test": np.array([3, 2, 3])}, "test must hold each pixel once, but 3 twice"),
        ({"test": np.array([5, 7])}, "train and test must not share pixels, but 1 are in both"),
        ({"val": np.array([2, 3])}, "val and test must not share pixels, but 2 are in both"),
        ({"train": np.array([])}, "train must hold at least one pixel"),
        ({"train": np.array([1.0])}, "train must hold flat pixel numbers"),
        ({"val": np.array([[1]])}, "val must hold flat pixel numbers"),
        ({"settings": {"seed": np.int64(1)}}, "settings must be plain data"),
        ({"settings": {"share": float("nan")}}, "settings must be plain data"),
    ],
)
def test_impossible_splits_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        make(**changes)


def test_empty_validation_and_test_are_allowed() -> None:
    empty = np.array([], dtype=np.int64)
    split = make(val=empty, test=empty)
    assert len(split.val) == len(split.test) == 0
    assert np.isnan(split.leakage(3))
    assert make(test=np.array([0])).leakage(3) == 1


def test_file_gives_the_same_split(tmp_path: Path) -> None:
    split = make(settings={"kind": "fixed", "seed": 3, "notes": ["ä note"]})
    split.save(tmp_path / "folder" / "split.npz")
    again = Split.load(tmp_path / "folder" / "split.npz")
    for part in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(again, part), getattr(split, part))
    assert again.shape == split.shape
    assert again.settings == split.settings
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["split.npz"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Split.load(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("train: all")
    np.savez(tmp_path / "other.npz", train=np.arange(3))
    np.savez(tmp_path / "objects.npz", train=np.array([{}], dtype=object))
    np.save(tmp_path / "array.npy", np.arange(3))
    for name in ("text.npz", "other.npz", "objects.npz", "array.npy"):
        with pytest.raises(FileFormatError, match="make the split again"):
            Split.load(tmp_path / name)


FIELD = np.array([[0, 1, 2, 2], [1, 1, 2, 2], [1, 2, 2, 2]])


def test_a_split_fits_the_labels_that_it_was_made_from() -> None:
    split = fraction_split(FIELD, 0.5, seed=0)
    split.check_fits(FIELD)
    make(shape=FIELD.shape, train=np.array([1]), val=np.array([2]), test=np.array([3])).check_fits(
        FIELD
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (FIELD[:2], r"of a scene of \(3, 4\) pixels .* label map has \(2, 4\); use the split of"),
        (FIELD * 0, r"of \d train pixels of the split are unlabelled"),
        (np.where(FIELD == 2, 3, FIELD), "class 2 had 3 train pixels there, and has 0 here"),
        (np.where(FIELD > 0, 3 - FIELD, 0), "class 1 had . train pixels there, and has . here"),
    ],
)
def test_a_split_of_another_scene_is_refused(labels: NDArray[np.int64], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        fraction_split(FIELD, 0.5, seed=0).check_fits(labels)


def test_classes_are_counted() -> None:
    labels = np.array([[0, 1, 2, 2], [1, 1, 2, 4], [4, 4, 4, 4]])
    split = Split.from_labels(
        labels,
        train=np.array([1, 2, 7]),
        val=np.array([4]),
        test=np.array([3, 8, 9]),
        settings={"kind": "own", "seed": 5, "notes": ["why"]},
    )
    assert split.settings == {
        "kind": "own",
        "seed": 5,
        "per_class": [
            {"class": 1, "train": 1, "val": 1, "test": 0},
            {"class": 2, "train": 1, "val": 0, "test": 1},
            {"class": 4, "train": 1, "val": 0, "test": 2},
        ],
        "notes": ["why"],
    }


def leakage_by_patches(split: Split, size: int, padding: Padding) -> float:
    """The share, from the patches that a dataset would cut."""
    known = torch.zeros(split.shape, dtype=torch.bool)
    known.view(-1)[torch.from_numpy(split.labelled)] = True
    patches = gather_patches(known[..., None], torch.from_numpy(split.test), size, padding)
    return float(patches.flatten(1).any(dim=1).double().mean())


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 9, 30])
@pytest.mark.parametrize("shape", [(13, 17), (1, 20), (3, 40), (2, 2)])
def test_leakage_equals_looking_into_every_patch(
    shape: tuple[int, int], size: int, padding: Padding
) -> None:
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(shape[0] * shape[1])
        few = max(1, len(order) // 60)
        split = Split(order[:few], order[few : 2 * few], order[2 * few :], shape)
        expected = leakage_by_patches(split, size, padding)
        assert split.leakage(size, padding) == pytest.approx(expected, abs=1e-12)


def test_random_pixels_leak_on_a_real_scene(indian_pines_labels: NDArray[np.uint8]) -> None:
    split = fraction_split(indian_pines_labels, 0.1, seed=0)
    assert split.leakage(9) == pytest.approx(leakage_by_patches(split, 9, "reflect"))
    assert split.leakage(9) > 0.995
    assert split.leakage(1) == 0


def test_leakage_names_a_wrong_patch_size() -> None:
    with pytest.raises(ConfigurationError, match="patch_size must be at least 1, got 0"):
        make().leakage(0)
