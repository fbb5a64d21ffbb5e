"""Cross-validation inside a label budget, where a validation part is too small to choose by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches.split import Split
from hsi_diffusion.patches.stratify import check_labels
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cross_validation_folds(
    split: Split, labels: NDArray[Any], folds: int, *, seed: int
) -> tuple[Split, ...]:
    """Deal the training and validation pixels of a split into folds.

    Class by class, so that every fold holds its share of each; every pixel validates once and
    trains ``folds - 1`` times, but for classes with fewer pixels than folds: they are missing from
    some folds, and the only pixel of a class always trains. The test pixels are left out: nobody
    who chooses by these folds can look at them.

    Args:
        split: Its training and validation pixels are dealt.
        labels: Label map, shape (H, W), 0 = unlabelled.
        folds: How many, at least 2.
        seed: Names the draw.

    Returns:
        One split per fold, without test pixels.

    Raises:
        SplitError: Fewer than two folds, a split of another scene, or a fold that would be empty.
    """
    split.check_fits(check_labels(labels))
    fold_of = deal_into_folds(np.asarray(labels).ravel()[split.labelled], folds, seed=seed)
    return tuple(
        Split.from_labels(
            np.asarray(labels),
            train=split.labelled[fold_of != fold],
            val=split.labelled[fold_of == fold],
            test=np.empty(0, dtype=np.int64),
            settings={"kind": "fold", "seed": int(seed), "fold": fold, "folds": folds},
        )
        for fold in range(folds)
    )


def deal_into_folds(
    classes: NDArray[np.integer[Any]], folds: int, *, seed: int
) -> NDArray[np.int64]:
    """Deal pixels, or any labelled rows, into folds, see :func:`cross_validation_folds`.

    Args:
        classes: Their classes, shape (N,).
        folds: How many, at least 2.
        seed: Names the draw.

    Returns:
        The fold in which each one validates, shape (N,); -1 for the only one of a class.

    Raises:
        SplitError: Fewer than two folds, or a fold that would be empty.
    """
    if folds < 2:
        raise SplitError(f"folds must be at least 2, got {folds}")
    fold_of = np.full(len(classes), -1)
    start = 0
    for label in np.unique(classes):
        places = np.flatnonzero(classes == label)
        if len(places) == 1:
            continue
        random = np.random.default_rng(stable_seed("folds", seed, int(label)))
        # each class goes on where the last one ended, so that small classes fill all folds alike
        fold_of[random.permutation(places)] = (start + np.arange(len(places))) % folds
        start += len(places)
    if start < folds:  # they are filled one after the other
        raise SplitError(
            f"{len(classes)} labelled pixels don't fill {folds} folds; take fewer folds"
        )
    return fold_of
