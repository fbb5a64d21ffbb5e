"""Random and fixed splits: whole, disjoint, repeatable, and inside their label budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import scipy.io

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches.splits import fixed_split, fraction_split, make_split, per_class_split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion.patches.split import Split

KINDS: dict[str, Callable[[NDArray[Any], int], Split]] = {
    "fraction": lambda labels, seed: fraction_split(labels, 0.2, seed=seed),
    "per_class": lambda labels, seed: per_class_split(labels, 15, seed=seed),
    "fixed": lambda labels, seed: fixed_split(labels, labels % 2 == 1, seed=seed),
    "blocks": lambda labels, seed: make_split(labels, "blocks", patch_size=5, seed=seed),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def counts(labels: NDArray[Any], pixels: NDArray[np.int64]) -> dict[int, int]:
    numbers, pixels_of = np.unique(labels.ravel()[pixels], return_counts=True)
    return dict(zip(numbers.tolist(), pixels_of.tolist(), strict=True))


def same(first: Split, second: Split) -> bool:
    return all(
        np.array_equal(getattr(first, part), getattr(second, part))
        for part in ("train", "val", "test")
    )


@every_kind
def test_split_is_a_function_of_labels_and_seed(kind: str, field_labels: NDArray[np.int64]) -> None:
    make = KINDS[kind]
    state = np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    first = make(field_labels, 3)
    for dtype in (np.uint8, np.int16, np.float32, np.float64):
        assert same(make(np.asfortranarray(field_labels.astype(dtype)), 3), first)
    assert not same(make(field_labels, 4), first)
    assert same(make(field_labels, cast("int", np.int64(3))), first)
    assert (np.random.get_state()[1] == state).all()  # type: ignore[index] # noqa: NPY002
    assert (first.settings["kind"], first.settings["seed"]) == (kind, 3)


@every_kind
def test_only_labelled_pixels_are_used(kind: str, field_labels: NDArray[np.int64]) -> None:
    split = KINDS[kind](field_labels, 0)
    used = np.concatenate([split.labelled, split.test])
    assert (field_labels.ravel()[used] > 0).all()
    if kind != "blocks":
        np.testing.assert_array_equal(np.sort(used), np.flatnonzero(field_labels))


def test_fraction_is_the_label_budget_of_every_class(field_labels: NDArray[np.int64]) -> None:
    split = fraction_split(field_labels, 0.1, val_fraction=0.25, seed=0)
    pixels = counts(field_labels, np.flatnonzero(field_labels))
    budget = {number: int(0.1 * size + 0.5) for number, size in pixels.items()}
    assert counts(field_labels, split.labelled) == budget
    validates = {number: max(1, int(0.25 * size + 0.5)) for number, size in budget.items()}
    assert counts(field_labels, split.val) == validates


@pytest.mark.parametrize("count", [1, 2, 5, 15])
def test_count_is_the_label_budget_of_every_class(
    count: int, field_labels: NDArray[np.int64]
) -> None:
    split = per_class_split(field_labels, count, seed=0)
    for number, size in counts(field_labels, np.flatnonzero(field_labels)).items():
        budget = min(count, size // 2)
        assert counts(field_labels, split.labelled)[number] == budget
        assert counts(field_labels, split.val).get(number, 0) == (
            max(1, round(0.2 * budget)) if budget > 1 else 0
        )
        assert counts(field_labels, split.train)[number] >= 1


@pytest.mark.parametrize(
    ("pixels", "asked", "budget"),
    [(20, 15, 10), (1, 5, 1), (2, 5, 1), (3, 5, 1), (4, 5, 2), (11, 5, 5)],
)
def test_small_classes_keep_half_for_the_test(pixels: int, asked: int, budget: int) -> None:
    labels = np.zeros((5, 30), dtype=np.int64)
    labels[0] = 1
    labels[1].ravel()[:pixels] = 2
    split = per_class_split(labels, asked, seed=0)
    assert counts(labels, split.labelled)[2] == budget
    assert counts(labels, split.test).get(2, 0) == pixels - budget


@pytest.mark.parametrize("make", [fraction_split, per_class_split])
def test_a_single_pixel_trains_and_is_noted(make: Callable[..., Split]) -> None:
    labels = np.array([[1, 1, 1, 1, 2, 0, 7]])
    split = make(labels, 0.5 if make is fraction_split else 2, seed=0)
    assert {4, 6} <= set(split.train.tolist())
    assert split.settings["notes"] == ["classes 2 and 7: a single pixel, which trains; not tested"]


@pytest.mark.parametrize(("fraction", "size"), [(0.999, 10), (0.5, 2), (0.01, 10)])
def test_every_class_trains_and_is_tested(fraction: float, size: int) -> None:
    labels = np.repeat([[1], [2]], size, axis=1)
    split = fraction_split(labels, fraction, seed=0)
    assert counts(labels, split.train).keys() == counts(labels, split.test).keys() == {1, 2}


def test_without_validation_the_budget_trains(field_labels: NDArray[np.int64]) -> None:
    none = per_class_split(field_labels, 5, val_fraction=0, seed=0)
    some = per_class_split(field_labels, 5, val_fraction=0.4, seed=0)
    assert len(none.val) == 0
    np.testing.assert_array_equal(none.train, some.labelled)
    np.testing.assert_array_equal(none.test, some.test)


def test_budgets_of_one_seed_are_nested(field_labels: NDArray[np.int64]) -> None:
    small, large = (per_class_split(field_labels, count, seed=1).labelled for count in (5, 10))
    assert set(small.tolist()) < set(large.tolist())


def test_a_class_is_drawn_without_looking_at_the_others(field_labels: NDArray[np.int64]) -> None:
    alone = np.where(field_labels == 3, 3, 0)
    whole = per_class_split(field_labels, 6, seed=2)
    expected = whole.train[field_labels.ravel()[whole.train] == 3]
    np.testing.assert_array_equal(per_class_split(alone, 6, seed=2).train, expected)


def test_the_draw_never_changes() -> None:
    labels = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 2, 0]])
    split = per_class_split(labels, 2, val_fraction=0.5, seed=0)
    # written down once: published results must stay repeatable
    assert (split.train.tolist(), split.val.tolist()) == ([1, 6], [2, 8])


def test_indian_pines_counts(indian_pines_labels: NDArray[np.uint8]) -> None:
    oats = per_class_split(indian_pines_labels, 15, seed=0).settings["per_class"][8]
    assert oats == {"class": 9, "train": 8, "val": 2, "test": 10}
    split = fraction_split(indian_pines_labels, 0.1, seed=0)
    assert len(split.labelled) == 1027
    assert len(split.test) == 10249 - 1027


def test_fixed_maps_are_taken_as_they_are(field_labels: NDArray[np.int64]) -> None:
    train_map = np.zeros(field_labels.shape, dtype=np.uint8)
    train_map[:, :20] = 200  # numbers of its own; the label map says which class
    test_map = np.zeros(field_labels.shape, dtype=bool)
    test_map[:, 30:] = True
    split = fixed_split(field_labels, train_map, test_map, seed=0)
    budget = np.flatnonzero((field_labels > 0) & (train_map > 0))
    np.testing.assert_array_equal(split.labelled, budget)
    np.testing.assert_array_equal(split.test, np.flatnonzero((field_labels > 0) & test_map))
    for number, pixels in counts(field_labels, budget).items():
        assert counts(field_labels, split.val)[number] == max(1, int(0.2 * pixels + 0.5))
    unlabelled = int((field_labels[:, :20] == 0).sum())
    assert f"{unlabelled} pixels of train_mask are unlabelled" in split.settings["notes"][0]
    assert "classes 3 and 9: no train pixels in the maps" in split.settings["notes"]


def test_fixed_without_a_test_map_tests_the_rest(field_labels: NDArray[np.int64]) -> None:
    train_map = np.indices(field_labels.shape).sum(axis=0) % 7 == 0
    split = fixed_split(field_labels, train_map, seed=0)
    np.testing.assert_array_equal(split.test, np.flatnonzero((field_labels > 0) & ~train_map))
    # unlabelled pixels of the training map are noted, the others were never meant
    assert len(split.settings["notes"]) == 1


def test_published_maps_of_pavia(shared_data: Path) -> None:
    folder = shared_data / "pavia_university"

    def read(name: str) -> NDArray[Any]:
        file = scipy.io.loadmat(folder / name)
        (array,) = (value for key, value in file.items() if not key.startswith("_"))
        return np.asarray(array)

    labels = read("PaviaU_gt.mat")
    split = fixed_split(labels, read("TRpavia_fixed.mat"), read("TSpavia_fixed.mat"), seed=0)
    assert len(split.labelled) == 3921 - 1147
    assert len(split.test) == 40_002
    assert split.settings["notes"][0].startswith("1147 pixels of train_mask are unlabelled")


@pytest.mark.parametrize(
    ("spec", "kind", "setting"),
    [
        ("0.1", "fraction", {"fraction": 0.1}),
        (0.25, "fraction", {"fraction": 0.25}),
        ("1e-1", "fraction", {"fraction": 0.1}),
        (" 10 ", "per_class", {"count": 10}),
        (3, "per_class", {"count": 3}),
        ("blocks", "blocks", {"guard": 4, "block_size": 12, "train_fraction": 0.25}),
        ("polygons:0.5", "polygons", {"train_fraction": 0.5}),
    ],
)
def test_spec_names_the_split(
    spec: str | float, kind: str, setting: dict[str, Any], field_labels: NDArray[np.int64]
) -> None:
    polygons = 100 * field_labels + np.arange(50)  # the columns of each class
    split = make_split(
        field_labels, spec, seed=7, patch_size=9, val_fraction=0.3, polygons=polygons
    )
    assert split.settings["kind"] == kind
    assert split.settings.items() >= {"seed": 7, "val_fraction": 0.3, **setting}.items()


def test_the_guard_arrives(field_labels: NDArray[np.int64]) -> None:
    split = make_split(field_labels, "blocks", seed=0, patch_size=9, guard=2)
    assert split.leakage(5) == 0 < split.leakage(9)


@pytest.mark.parametrize(
    "spec", ["0", "1.0", "1.5", "-3", "0.0", "ten", "", "nan", "inf", "5 %", 2.5, True]
)
def test_unknown_spec_lists_what_is_allowed(spec: str, field_labels: NDArray[np.int64]) -> None:
    with pytest.raises(SplitError, match=r'"0\.1".*"10".*"fields:0\.2".*"polygons".*; got'):
        make_split(field_labels, spec, seed=0, patch_size=9)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("1.0", "leaves none to test"),
        ("10%", r"10 % is 0\.1"),
        ("0,1", "a point instead of the comma"),
        ("mine.npy", r"ends in \.npz"),
        ("fixed", "scene_split makes this one"),
    ],
)
def test_a_wrong_spec_gets_a_hint(spec: str, hint: str, field_labels: NDArray[np.int64]) -> None:
    with pytest.raises(SplitError, match=f"got '{spec}'; .*{hint}"):
        make_split(field_labels, spec, seed=0, patch_size=9)


def test_a_number_with_a_point_has_no_comma(field_labels: NDArray[np.int64]) -> None:
    with pytest.raises(SplitError, match=r"got '1\.5'$"):
        make_split(field_labels, "1.5", seed=0, patch_size=9)


@pytest.mark.filterwarnings("ignore:classes 3 and 9")
def test_the_share_of_fields_is_two_fifths_or_what_is_said(
    field_labels: NDArray[np.int64],
) -> None:
    usual, same, fewer = (
        make_split(field_labels, spec, seed=0, patch_size=9)
        for spec in ("fields", "fields:0.4", "fields:0.2")
    )
    assert np.array_equal(usual.labelled, same.labelled)
    assert len(fewer.labelled) < len(usual.labelled)


def test_classes_that_give_less_than_asked_are_noted(field_labels: NDArray[np.int64]) -> None:
    # class 9 has 20 pixels, the others more than 200
    assert per_class_split(field_labels, 10, seed=0).settings["notes"] == []
    (note,) = per_class_split(field_labels, 11, seed=0).settings["notes"]
    assert note == (
        "11 asked per class, and half of a class is kept for the test: "
        "class 9 has 20 pixels, 10 taken"
    )


def test_wrong_arguments_are_named(field_labels: NDArray[np.int64]) -> None:
    for fraction in (0, 1, -0.1, 10):
        with pytest.raises(SplitError, match="fraction must lie between 0 and 1"):
            fraction_split(field_labels, fraction, seed=0)
    for count in (0, -1, 2.5):
        with pytest.raises(SplitError, match="count must be a whole number of pixels per class"):
            per_class_split(field_labels, count, seed=0)  # type: ignore[arg-type]
    for share in (-0.1, 1):
        with pytest.raises(SplitError, match="val_fraction must be at least 0 and below 1"):
            per_class_split(field_labels, 5, val_fraction=share, seed=0)
    with pytest.raises(SplitError, match=r"no polygons.*such as blocks"):
        make_split(field_labels, "polygons", seed=0, patch_size=9)


def test_wrong_maps_are_named(field_labels: NDArray[np.int64]) -> None:
    train_map = field_labels == 1
    with pytest.raises(SplitError, match=r"train_mask must have .* \(60, 50\).*looks transposed"):
        fixed_split(field_labels, train_map.T, seed=0)
    with pytest.raises(SplitError, match=r"test_mask must have .*, got \(60,\)$"):
        fixed_split(field_labels, train_map, train_map[:, 0], seed=0)
    with pytest.raises(
        SplitError, match="must not overlap, but share 405 pixels, the first at row"
    ):
        fixed_split(field_labels, train_map, np.ones_like(train_map), seed=0)
    with pytest.raises(SplitError, match="train_mask must hold labelled pixels, but holds none"):
        fixed_split(field_labels, field_labels == 0, seed=0)
    with pytest.raises(SplitError, match="test_mask must hold labelled pixels, but holds none"):
        fixed_split(field_labels, field_labels > 0, seed=0)


def test_one_pixel_of_each_class(field_labels: NDArray[np.int64]) -> None:
    split = make_split(field_labels, "1", seed=0, patch_size=9)
    learned = field_labels.ravel()[split.labelled]
    assert sorted(learned.tolist()) == np.unique(field_labels[field_labels > 0]).tolist()
