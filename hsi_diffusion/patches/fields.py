"""A split into whole fields: what is tested is land of which no pixel was labelled."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches.split import Split
from hsi_diffusion.patches.stratify import (
    check_labels,
    check_val_fraction,
    listed,
    round_half_up,
    set_aside,
    shuffled_pixels,
)
from hsi_diffusion.scenes.labels import field_map

if TYPE_CHECKING:
    from numpy.typing import NDArray


def field_split(
    labels: NDArray[Any],
    train_fraction: float = 0.4,
    *,
    val_fraction: float = 0.2,
    seed: int,
    polygons: NDArray[np.int64] | None = None,
    fields: NDArray[np.int64] | None = None,
) -> Split:
    """Label whole fields, and test the others: land that was never seen.

    A class of n fields gives ``train_fraction * n`` of them, rounded, at least 1 and at most n - 1,
    to the label budget; of two or more of these at least one validates. A class with a single field
    is in no part, and a note names it. Fields are drawn without regard to their size.

    Args:
        labels: Label map, shape (H, W), 0 = unlabelled.
        train_fraction: Fraction of each class's fields for training and validation together,
            between 0 and 1.
        val_fraction: Fraction of these fields that validates.
        seed: Names the draw.
        polygons: Number of each pixel's polygon, shape (H, W), to take for the fields; None:
            connected areas of one class.
        fields: Number of each pixel's field, shape (H, W), where the label map alone doesn't say,
            see :class:`~hsi_diffusion.scenes.Scene`; None: its connected areas.

    Returns:
        The split; ``settings["fields"]`` holds the number of fields of each class in each part.

    Raises:
        SplitError: A setting is outside what is allowed, the label map is none, or fewer than two
            classes have two fields.
    """
    labels = check_labels(labels)
    check_val_fraction(val_fraction)
    kind = "fields" if polygons is None else "polygons"
    if not 0 < train_fraction < 1:
        raise SplitError(
            f"the fraction of {kind} that are labelled must lie between 0 and 1, got "
            f"{train_fraction}; write {kind} or, for a fifth, {kind}:0.2"
        )
    if polygons is not None:
        fields = polygons
    elif fields is None:
        fields = field_map(labels)
    parts: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    counts, single = [], []
    for number in np.unique(labels[labels > 0]).tolist():
        drawn = _shuffled_fields(labels, fields, seed, number)
        if len(drawn) == 1:
            single.append(number)
            continue
        budget = min(max(1, round_half_up(train_fraction * len(drawn))), len(drawn) - 1)
        train, val = set_aside(drawn[:budget], val_fraction)
        chosen = {"train": train, "val": val, "test": drawn[budget:]}
        counts.append({"class": number} | {part: len(some) for part, some in chosen.items()})
        for part, some in chosen.items():
            parts[part] += some.tolist()
    if len(counts) < 2:
        raise SplitError(
            f"a split by {kind} needs two classes with two {kind}, got {len(counts)}; use blocks, "
            "or a fraction such as 0.1"
        )
    notes = [f"{listed(single)}: a single {kind[:-1]}; in no part"] if single else []
    for note in notes:
        warnings.warn(f"{note}, so neither learned nor tested", stacklevel=2)
    return Split.from_labels(
        labels,
        **{
            part: np.flatnonzero(np.isin(fields, some) & (labels > 0))
            for part, some in parts.items()
        },
        settings={
            "kind": kind,
            "seed": int(seed),
            "train_fraction": float(train_fraction),
            "val_fraction": val_fraction,
            "fields": counts,
            "notes": notes,
        },
    )


def validation_fields(
    labels: NDArray[Any], fields: NDArray[np.int64], *, val_fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Draw whole fields that validate: land that training doesn't see either.

    Args:
        labels: Label map of what is learned, shape (H, W), 0 = unlabelled.
        fields: Number of each pixel's field or polygon, shape (H, W).
        val_fraction: Fraction of each class's fields; at least one of two.
        seed: Names the draw.

    Returns:
        The validation pixels, shape (H, W).
    """
    check_val_fraction(val_fraction)
    chosen: list[int] = []
    for number in np.unique(labels[labels > 0]).tolist():
        drawn = _shuffled_fields(labels, fields, seed, number)
        chosen += set_aside(drawn, val_fraction)[1].tolist()
    return np.isin(fields, chosen) & (labels > 0)


def _shuffled_fields(
    labels: NDArray[Any], fields: NDArray[np.int64], seed: int, number: int
) -> NDArray[np.int64]:
    """The fields of a class in an order that only the seed and the class decide."""
    own = np.unique(fields[labels == number])
    return own[shuffled_pixels(np.ones(len(own), dtype=bool), seed, number)]


def in_labelled_fields(
    split: Split, labels: NDArray[Any], fields: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Tell which test pixels lie in a field that also holds training or validation pixels.

    Args:
        split: The split.
        labels: The label map that it was made from, shape (H, W).
        fields: The scene's ``fields``; None: connected areas of the label map.

    Returns:
        A value for each of ``split.test``; its mean is the share of land that was not unseen.
    """
    fields = (field_map(labels) if fields is None else fields).ravel()
    return np.isin(fields[split.test], fields[split.labelled])
