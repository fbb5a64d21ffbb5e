"""Splits of a scene's labelled pixels: pure functions of (labels, settings, seed).

The label budget, what "10 %" or "10 per class" means, is training and validation together:
validation is carved out of it, so no method sees more labels than it says.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches.blocks import block_split
from hsi_diffusion.patches.fields import field_split
from hsi_diffusion.patches.split import Split
from hsi_diffusion.patches.stratify import (
    check_labels,
    check_val_fraction,
    listed,
    random_validation,
    round_half_up,
    set_aside,
    shuffled_pixels,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def fraction_split(
    labels: NDArray[Any], fraction: float, *, val_fraction: float = 0.2, seed: int
) -> Split:
    """Draw the same share of every class at random.

    A class of n pixels has a label budget of ``fraction * n``, rounded, at least 1, at most n - 1.
    Out of a budget of 2 or more at least one pixel validates and one trains. The one pixel of a
    class with a single pixel trains, and the class is not tested (a note says so).

    Neighbours of test pixels come into training, so results are too good; see
    :meth:`~hsi_diffusion.patches.split.Split.leakage` and :func:`block_split`.

    Args:
        labels: Label map, shape (H, W), 0 = unlabelled.
        fraction: Fraction of each class that is spent on training and validation together, between
            0 and 1.
        val_fraction: Fraction of the label budget that validates.
        seed: Names the draw.

    Returns:
        The split; all other labelled pixels are tested.

    Raises:
        SplitError: A share is outside what is allowed, or the label map is none.
    """
    if not 0 < fraction < 1:
        raise SplitError(
            f"fraction must lie between 0 and 1, got {fraction}; for pixels per class use "
            "per_class_split"
        )
    return _random_split(
        labels,
        lambda pixels: min(round_half_up(fraction * pixels), pixels - 1),
        val_fraction=val_fraction,
        seed=seed,
        settings={"kind": "fraction", "fraction": float(fraction)},
    )


def per_class_split(
    labels: NDArray[Any], count: int, *, val_fraction: float = 0.2, seed: int
) -> Split:
    """Draw the same number of pixels from every class at random.

    A class gives at most half of its pixels (15 asked of the 20 of Oats give 10), but at least 1.
    Validation, and a class with a single pixel, are treated as in :func:`fraction_split`.

    Args:
        labels: Label map, shape (H, W), 0 = unlabelled.
        count: Pixels of each class that are spent on training and validation together.
        val_fraction: Fraction of the label budget that validates.
        seed: Names the draw.

    Returns:
        The split; all other labelled pixels are tested.

    Raises:
        SplitError: ``count`` is below 1, or see :func:`fraction_split`.
    """
    if count != int(count) or count < 1:
        raise SplitError(f"count must be a whole number of pixels per class from 1, got {count}")
    return _random_split(
        labels,
        lambda pixels: min(int(count), pixels // 2),
        val_fraction=val_fraction,
        seed=seed,
        settings={"kind": "per_class", "count": int(count)},
    )


def fixed_split(
    labels: NDArray[Any],
    train_mask: NDArray[Any],
    test_mask: NDArray[Any] | None = None,
    *,
    val_fraction: float = 0.2,
    seed: int,
) -> Split:
    """Use published maps of training and test pixels; validation is drawn from the training map.

    The validation pixels lie among the training pixels, so where the maps are apart in space,
    validation is easier than the test.

    Args:
        labels: Label map, shape (H, W), 0 = unlabelled; it alone says which class a pixel has.
        train_mask: Booleans or a map of class numbers, shape (H, W); all but 0 belongs to it. These
            pixels are the label budget.
        test_mask: Likewise; None tests all other labelled pixels.
        val_fraction: Fraction of the training map that validates, drawn at random per class, at
            least one pixel of a class that has two.
        seed: Names the draw of the validation pixels.

    Returns:
        The split. Pixels of the maps that the label map does not know are left out, with a note.

    Raises:
        SplitError: A map has another shape, the maps overlap, or one has no labelled pixel.
    """
    labels = check_labels(labels)
    check_val_fraction(val_fraction)
    known = labels > 0
    train_map = _check_mask("train_mask", train_mask, labels.shape)
    if test_mask is None:
        test_map = known & ~train_map
    else:
        test_map = _check_mask("test_mask", test_mask, labels.shape)
    if overlap := int((train_map & test_map).sum()):
        raise SplitError(
            f"train_mask and test_mask must not overlap, but share {overlap} pixels, the first at "
            f"row, column {np.argwhere(train_map & test_map)[0].tolist()}; set each of them to 0 "
            "in one of the masks"
        )
    notes = []
    for name, mask in (("train_mask", train_map), ("test_mask", test_map)):
        if not (mask & known).any():
            raise SplitError(
                f"{name} must hold labelled pixels, but holds none: it marks {int(mask.sum())} "
                "pixels, and the label map has 0 at all of them"
            )
        if unlabelled := int((mask & ~known).sum()):
            notes.append(f"{unlabelled} pixels of {name} are unlabelled and left out")

    budget = train_map & known
    val = random_validation(labels, budget, val_fraction, seed)
    for name, mask in (("train", train_map), ("test", test_map)):
        if missing := sorted({*labels[known].tolist()} - {*labels[mask].tolist()}):
            notes.append(f"{listed(missing)}: no {name} pixels in the maps")
    return Split.from_labels(
        labels,
        train=np.flatnonzero(budget & ~val),
        val=np.flatnonzero(val),
        test=np.flatnonzero(test_map & known),
        settings={"kind": "fixed", "seed": int(seed), "val_fraction": val_fraction, "notes": notes},
    )


def make_split(
    labels: NDArray[Any],
    spec: str | float,
    *,
    seed: int,
    patch_size: int,
    val_fraction: float = 0.2,
    guard: int | None = None,
    polygons: NDArray[np.int64] | None = None,
    fields: NDArray[np.int64] | None = None,
) -> Split:
    """Make the split that a setting names.

    Args:
        labels: Label map, shape (H, W), 0 = unlabelled.
        spec: ``"0.1"``, a fraction of every class (:func:`fraction_split`); ``"10"``, a number of
            pixels per class (:func:`per_class_split`); ``"blocks"`` (:func:`block_split`);
            ``"fields"`` or ``"polygons"``, or, with a fraction, ``"fields:0.2"``
            (:func:`field_split`). Numbers may be given as numbers, also 10.0, into which programs
            turn a 10.
        seed: Names the draw.
        patch_size: Side of the largest patches that will be cut, for the guard of "blocks".
        val_fraction: Fraction of the label budget that validates.
        guard: Pixels between what is labelled and what is tested, for "blocks"; None takes
            ``patch_size // 2``, which keeps training pixels out of the test patches.
        polygons: Number of each pixel's polygon, shape (H, W), for "polygons".
        fields: Number of each pixel's field, shape (H, W), for "fields"; None: connected areas.

    Returns:
        The split.

    Raises:
        SplitError: ``spec`` is none of these, or see the function that it names.
    """
    if isinstance(spec, float) and spec > 1 and spec.is_integer():
        spec = int(spec)
    text = str(spec).strip()
    if text == "blocks":
        return block_split(
            labels,
            guard=patch_size // 2 if guard is None else guard,
            val_fraction=val_fraction,
            seed=seed,
        )
    kind, _, fraction = text.partition(":")
    if kind == "polygons" and polygons is None:
        raise SplitError(
            "the labels have no polygons, they came as a map; give a file of polygons as labels, "
            "or take another split such as blocks"
        )
    if kind in ("fields", "polygons"):
        return field_split(
            labels,
            _fraction_of(fraction or "0.4"),
            val_fraction=val_fraction,
            seed=seed,
            polygons=polygons if kind == "polygons" else None,
            fields=fields,
        )
    number = _fraction_of(text)
    if 0 < number < 1:
        return fraction_split(labels, number, val_fraction=val_fraction, seed=seed)
    if number >= 1 and text.isdecimal():
        return per_class_split(labels, int(text), val_fraction=val_fraction, seed=seed)
    raise SplitError(
        'split must be a fraction of every class between 0 and 1 ("0.1"), a whole number of pixels '
        f'per class ("10"), "blocks", "fields" (with a share: "fields:0.2"), "polygons", "images", '
        f'"fixed", or a stored split, FILE.npz; got {text!r}{_split_hint(text, number)}'
    )


def _fraction_of(text: str) -> float:
    """The number that a text is; nan for others."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _split_hint(text: str, number: float) -> str:
    """What somebody who wrote ``text`` probably meant, for the end of a message."""
    if text in ("fixed", "images"):
        return "; scene_split makes this one, of a scene"
    if number == 1:
        return "; the share of all pixels leaves none to test, and one pixel per class is 1"
    if text.endswith("%"):
        return "; write a percentage as a share: 10 % is 0.1"
    if text.replace(",", ".", 1).replace(".", "", 1).isdecimal() and "," in text:
        return "; write a point instead of the comma"
    if "." in text and math.isnan(number):
        return "; the file of a stored split ends in .npz"
    return ""


def _random_split(
    labels: NDArray[Any],
    budget_of: Callable[[int], int],
    *,
    val_fraction: float,
    seed: int,
    settings: dict[str, Any],
) -> Split:
    """Spend ``budget_of(pixels)`` random pixels of every class, at least 1, and test the rest."""
    labels = check_labels(labels)
    check_val_fraction(val_fraction)
    train, val, test = [], [], []
    single, halved = [], []
    asked = settings.get("count", 0)
    for number in np.unique(labels[labels > 0]).tolist():
        pixels = shuffled_pixels(labels == number, seed, number)
        budget = max(1, budget_of(len(pixels)))
        if len(pixels) == 1:
            single.append(number)
        elif budget < asked:
            halved.append(f"class {number} has {len(pixels)} pixels, {budget} taken")
        trains, validates = set_aside(pixels[:budget], val_fraction)
        train.append(trains)
        val.append(validates)
        test.append(pixels[budget:])
    notes = [f"{listed(single)}: a single pixel, which trains; not tested"] if single else []
    if halved:
        notes.append(
            f"{asked} asked per class, and half of a class is kept for the test: "
            f"{'; '.join(halved)}"
        )
    return Split.from_labels(
        labels,
        train=np.concatenate(train),
        val=np.concatenate(val),
        test=np.concatenate(test),
        settings={**settings, "seed": int(seed), "val_fraction": val_fraction, "notes": notes},
    )


def _check_mask(name: str, mask: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.asarray(mask)
    if mask.shape != shape:
        hint = "; it looks transposed" if mask.shape == shape[::-1] else ""
        raise SplitError(f"{name} must have the labels' shape {shape}, got {mask.shape}{hint}")
    return mask.astype(bool)
