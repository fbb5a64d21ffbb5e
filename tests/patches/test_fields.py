"""Whole fields train, validate or are tested."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches import Split, field_map, field_split, in_labelled_fields, make_split
from hsi_diffusion.patches.fields import validation_fields

LABELS = np.kron(
    [
        [1, 0, 1, 0, 2, 0, 3],
        [0, 1, 0, 0, 0, 0, 0],
        [2, 0, 2, 0, 1, 0, 1],
        [0, 0, 0, 0, 0, 0, 0],
        [1, 0, 1, 0, 1, 0, 2],
    ],
    np.ones((3, 3), dtype=np.int64),
)


def test_fields_are_the_connected_areas_of_one_class() -> None:
    fields, expected = field_map(LABELS), label(LABELS, connectivity=2)  # type: ignore[no-untyped-call]
    pairs = np.unique(np.stack((fields.ravel(), expected.ravel())), axis=1)
    assert pairs.shape[1] == fields.max() + 1 == expected.max() + 1  # one to one
    assert ((fields > 0) == (LABELS > 0)).all()


@pytest.mark.parametrize("seed", range(5))
def test_whole_fields_are_dealt(seed: int) -> None:
    with pytest.warns(UserWarning, match="class 3: a single field.*neither learned nor tested"):
        split = field_split(LABELS, 0.5, seed=seed)
    fields = field_map(LABELS).ravel()
    parts = [set(fields[pixels].tolist()) for pixels in (split.train, split.val, split.test)]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert set().union(*parts) == set(fields[np.isin(LABELS.ravel(), (1, 2))].tolist())
    counts = [tuple(row.values()) for row in split.settings["fields"]]
    # class 1 has 6 fields, of which three meet at corners and are one: half of 6 are 3
    assert counts == [(1, 2, 1, 3), (2, 1, 1, 2)]
    assert split.settings["notes"] == ["class 3: a single field; in no part"]
    assert not in_labelled_fields(split, LABELS).any()


def test_fields_that_are_wider_than_their_labels_add_no_unlabelled_pixels() -> None:
    fields = field_map(LABELS)
    wider = np.where(LABELS == 0, fields.max(), fields)
    with pytest.warns(UserWarning, match="a single field"):
        split = field_split(LABELS, 0.5, seed=0, fields=wider)
    for part in (split.train, split.val, split.test):
        assert (LABELS.ravel()[part] > 0).all()


def test_seed_and_share_decide() -> None:
    first, again, other = (field_split(LABELS, seed=seed) for seed in (0, 0, 1))
    assert (first.train == again.train).all()
    assert first.train.tolist() != other.train.tolist()
    few = make_split(LABELS, "fields:0.1", seed=0, patch_size=1)
    assert [row["train"] for row in few.settings["fields"]] == [1, 1]
    assert make_split(LABELS, "fields", seed=0, patch_size=1).settings == first.settings


def test_random_pixels_lie_in_known_fields() -> None:
    split = make_split(LABELS, 0.6, seed=0, patch_size=1)
    known = in_labelled_fields(split, LABELS)
    assert known.shape == split.test.shape
    assert known.all()


@pytest.mark.parametrize("spec", ["fields:0", "fields:x", "fields:1.5"])
def test_impossible_shares_are_refused(spec: str) -> None:
    with pytest.raises(SplitError, match="fields"):
        make_split(LABELS, spec, seed=0, patch_size=1)


def test_a_scene_needs_two_classes_with_two_fields() -> None:
    with pytest.raises(SplitError, match="two classes with two fields"):
        field_split(np.array([[1, 0, 1], [2, 2, 2]]), seed=0)


def test_whole_fields_of_every_class_validate() -> None:
    labels = np.zeros((3, 40), dtype=np.int64)
    labels[1, ::4], labels[1, 2::4] = 1, 2  # ten fields of one pixel each
    fields = field_map(labels)
    chosen = validation_fields(labels, fields, val_fraction=0.2, seed=3)
    assert [int(chosen[labels == number].sum()) for number in (0, 1, 2)] == [0, 2, 2]
    other = validation_fields(labels, fields, val_fraction=0.2, seed=4)
    assert (chosen != other).any()


def test_of_two_fields_one_is_learned_and_one_tested() -> None:
    labels = np.array([[1, 0, 1, 0, 2, 0, 2]])
    split = field_split(labels, 0.9, val_fraction=0, seed=0)
    assert [tuple(row.values()) for row in split.settings["fields"]] == [(1, 1, 0, 1), (2, 1, 0, 1)]


def test_fields_that_the_label_map_does_not_tell() -> None:
    labels = np.kron([[1, 0, 2]] * 4, np.ones((4, 3), dtype=np.int64))
    labels[3::4] = 0  # eight pieces
    fields = labels.copy()
    fields[8:][labels[8:] > 0] += 2  # of four fields
    for seed in range(4):
        split = field_split(labels, 0.5, seed=seed, fields=fields)
        assert split.settings["kind"] == "fields"
        assert not in_labelled_fields(split, labels, fields).any()
        assert [row["test"] for row in split.settings["fields"]] == [1, 1]
    train = np.flatnonzero((labels > 0) & (np.arange(16)[:, None] < 3))
    split = Split.from_labels(
        labels, train=train, val=np.empty(0, dtype=np.int64),
        test=np.setdiff1d(np.flatnonzero(labels), train), settings={"kind": "own", "seed": 0},
    )  # fmt: skip
    assert in_labelled_fields(split, labels).mean() == 0
    assert in_labelled_fields(split, labels, fields).mean() == pytest.approx(1 / 3)
