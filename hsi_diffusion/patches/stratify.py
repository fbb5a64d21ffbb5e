"""Common parts of all splits: label maps checked, and pixels drawn class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SplitError
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pixels = np.ndarray[Any, np.dtype[np.int64]]


def check_labels(labels: NDArray[Any]) -> NDArray[np.int64]:
    """The label map as int64; raise a SplitError if it is none, or no pixel is labelled."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iuf":
        raise SplitError(
            f"labels must be a label map of whole numbers in shape (H, W), got {labels.dtype} in "
            f"shape {labels.shape}"
        )
    whole = labels.astype(np.int64)
    if (whole != labels).any() or (whole < 0).any():
        raise SplitError("labels must hold 0 for unlabelled pixels and classes from 1, as integers")
    if not whole.any():
        raise SplitError(
            "labels must hold at least one labelled pixel, but all of them are 0 (unlabelled); "
            "number the classes from 1"
        )
    return whole


def check_val_fraction(val_fraction: float) -> None:
    """Raise a SplitError unless this fraction of the label budget can validate."""
    if not 0 <= val_fraction < 1:
        raise SplitError(
            "val_fraction must be at least 0 and below 1 (a fraction of the label budget), got "
            f"{val_fraction}"
        )


def shuffled_pixels(mask: NDArray[np.bool_], seed: int, label: int) -> Pixels:
    """The flat numbers of a class's pixels in an order that only the seed and the class decide.

    The label budgets of two splits with one seed are therefore nested: 5 per class are among the
    10 per class.
    """
    random = np.random.default_rng(stable_seed("split", seed, label))
    return random.permutation(np.flatnonzero(mask))


def set_aside(budget: Pixels, val_fraction: float) -> tuple[Pixels, Pixels]:
    """Part one class's label budget into training and validation pixels.

    Args:
        budget: Pixels in random order.
        val_fraction: Share for validation, rounded; from 2 pixels on each side gets at least one,
            unless the share is 0.

    Returns:
        Training and validation pixels.
    """
    number = round_half_up(val_fraction * len(budget))
    if val_fraction > 0:
        number = max(number, 1)
    number = min(number, len(budget) - 1)
    return budget[: len(budget) - number], budget[len(budget) - number :]


def random_validation(
    labels: NDArray[np.int64], budget: NDArray[np.bool_], val_fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Validation pixels (H, W), drawn at random from each class of a label budget (H, W)."""
    validates = np.zeros(labels.size, dtype=np.bool_)
    for number in np.unique(labels[budget]).tolist():
        pixels = shuffled_pixels(budget & (labels == number), seed, number)
        validates[set_aside(pixels, val_fraction)[1]] = True
    return validates.reshape(labels.shape)


def round_half_up(value: float) -> int:
    """Nearest whole number; halves go up, not to the even one."""
    return int(np.floor(value + 0.5))


def listed(classes: list[int]) -> str:
    """Class numbers for a note, such as "class 9" or "classes 1, 7 and 9"."""
    *others, last = map(str, classes)
    return f"classes {', '.join(others)} and {last}" if others else f"class {last}"
