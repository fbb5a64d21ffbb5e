"""Label maps: from what files hold to the classes 0..K without gaps; their fields."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import label

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.scene import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


def as_label_map(array: NDArray[Any], name: str = "labels") -> NDArray[np.int64]:
    """Take an array as a map of class values, 0 = unlabelled.

    MATLAB likes to store whole numbers as floats, so floats are taken where each is whole.

    Args:
        array: Shape (H, W), any real number type.
        name: What to call it in a message.

    Raises:
        SceneError: If it is not 2-D, or holds something else than whole numbers from 0.
    """
    if array.ndim != 2 or 0 in array.shape:
        raise SceneError(f"{name} must have shape (height, width), got {array.shape}")
    if array.dtype.kind not in "biuf":
        raise SceneError(f"{name} must hold whole numbers, got {array.dtype}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise SceneError(
                f"{name} must be finite, got {int(np.isnan(array).sum())} NaN and "
                f"{int(np.isinf(array).sum())} infinite values; mark unlabelled pixels by 0"
            )
        broken = array[array != np.floor(array)]
        if broken.size:
            raise SceneError(
                f"{name} must hold whole numbers, got {broken.size} others: "
                f"{shorten(np.unique(broken).tolist())}"
            )
    labels = array.astype(np.int64)
    if labels.min() < 0:
        raise SceneError(
            f"{name} must be 0 (unlabelled) or a positive class value, got {labels.min()}; mark "
            f"unlabelled pixels by 0, and number the classes from 1"
        )
    return labels


def close_gaps(
    labels: NDArray[np.int64], class_ids: Sequence[int], name: str = "labels"
) -> NDArray[np.int64]:
    """Renumber class values to 1..K in the order of ``class_ids``; 0 stays 0.

    Args:
        labels: Shape (H, W), 0 or one of ``class_ids`` in each pixel.
        class_ids: The value of each class, ascending.
        name: What to call the map in a message.

    Raises:
        SceneError: If the map holds another value.
    """
    values = np.array([0, *class_ids])
    classes = np.searchsorted(values, labels).clip(max=len(class_ids))
    unknown = labels[values[classes] != labels]
    if unknown.size:
        raise SceneError(
            f"{name} must be 0 (unlabelled) or one of the class values "
            f"{', '.join(map(str, class_ids))}; {unknown.size} pixels hold others: "
            f"{shorten(np.unique(unknown).tolist())}"
        )
    return classes.astype(np.int64, copy=False)


def field_map(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Number the fields, which are connected areas of one class (8 neighbours).

    Args:
        labels: Label map, shape (H, W), 0 = unlabelled.

    Returns:
        The number of each pixel's field, from 1, class by class; 0 = unlabelled. Shape (H, W).
    """
    fields = np.zeros(labels.shape, dtype=np.int64)
    for number in np.unique(labels[labels > 0]):
        areas, _ = label(labels == number, structure=np.ones((3, 3)))
        fields[areas > 0] = areas[areas > 0] + fields.max()
    return fields


def check_class_names(given: Sequence[str] | None, own: Mapping[int, str]) -> None:
    """Refuse class names of the user's where the label file names its classes.

    Names in a column of polygons are numbered alphabetically. Further names would be given to the
    classes by their position in that order, which the user need not know.

    Raises:
        SceneError: There are both, and they are not the same.
    """
    names = [own[value] for value in sorted(own)]
    if given and own and list(given) != names:
        raise SceneError(
            f"class_names must not rename the classes of a label file, got {shorten(list(given))}; "
            f"the label file names its classes: {shorten(names)}; leave class_names "
            "(--class_names) out"
        )


def warn_of_case(names: Iterable[str], source: str) -> None:
    """Warn of classes whose names, which come from ``source``, differ only in case."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(names):
        spellings.setdefault(name.casefold(), []).append(name)
    for alike in spellings.values():
        if len(alike) > 1:
            warnings.warn(
                f"{source}: {' and '.join(map(repr, alike))} are {len(alike)} classes; if they are "
                "one, spell them alike",
                stacklevel=5,
            )
