"""How a map agrees with ground truth of its image."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.files import plain_data
from hsi_diffusion.metrics import summarise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from hsi_diffusion.models.fitted import FittedOn
    from hsi_diffusion.scenes.vector import Labels

Block = tuple[slice, slice, "NDArray[Any]"]


def ground_truth(labels: Labels, known: FittedOn) -> NDArray[np.int64]:
    """Ground truth as places 1..K among the classes that a model knows, 0 elsewhere, (H, W).

    Classes that the labels name are the model's classes of the same name, the others those of the
    same number.

    Raises:
        SceneError: None of the classes is the model's.
    """
    by_name = dict(zip(known.class_names, range(1, len(known.class_names) + 1), strict=True))
    by_id = dict(zip(known.class_ids, range(1, len(known.class_ids) + 1), strict=True))
    values, where, counts = np.unique(labels.values, return_inverse=True, return_counts=True)
    places: list[int] = []
    others: dict[str, int] = {}
    for value, pixels in zip(values.tolist(), counts.tolist(), strict=True):
        name = labels.names.get(value)
        places.append(by_id.get(value, 0) if name is None else by_name.get(name, 0))
        if value and not places[-1]:
            others[name or str(value)] = pixels
    if others and not any(places):
        raise SceneError(
            f"none of the classes of the labels ({', '.join(others)}) is one of the model's "
            f"({', '.join(known.class_names)}); give labels with the same names or numbers"
        )
    if others:
        warnings.warn(
            f"{sum(others.values())} labelled pixels are of classes that the model doesn't know "
            f"({', '.join(others)}), and are left out",
            stacklevel=3,
        )
    return np.array(places)[where].reshape(labels.values.shape)


def map_accuracy(
    blocks: Iterable[Block], truth: NDArray[np.int64], known: FittedOn
) -> dict[str, Any]:
    """Figures of a map on the labelled pixels that it gives a class.

    Args:
        blocks: Rows, columns and class ids (h, w) of every part of the map, 0 = no data.
        truth: From :func:`ground_truth`.
        known: What the model knows of the scene that it learned.

    Returns:
        Plain data: figures as fractions, lists in the order of ``classes``, None for what there is
        not; the confusion matrix has a row for each class of the ground truth.
    """
    number = len(known.class_ids)
    ids = np.array([0, *known.class_ids])
    counts = np.zeros((number + 1) ** 2, dtype=np.int64)
    for rows, columns, found in blocks:
        pairs = truth[rows, columns] * (number + 1) + np.searchsorted(ids, found)
        counts += np.bincount(pairs.ravel(), minlength=len(counts))
    matrix = counts.reshape(number + 1, number + 1)[1:, 1:]
    held = {
        "pixels": int(matrix.sum()),
        "classes": list(known.class_names),
        **summarise(matrix),
        "confusion_matrix": matrix,
    }
    plain: dict[str, Any] = plain_data(held)
    return plain
