"""How candidates are compared: on the validation part, or on folds of the label budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches import cross_validation_folds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hsi_diffusion.patches import Split
    from hsi_diffusion.recipes import ChoiceSettings


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate, and how good it is on validation pixels.

    Attributes:
        candidate: Timesteps and levels of features, or a space of bands.
        accuracy: Fraction of the validation pixels that are right; nan where nothing was compared.
        loss: Mean cross-entropy on them, in nats; likewise.
    """

    candidate: Any
    accuracy: float = math.nan
    loss: float = math.nan

    @property
    def rank(self) -> tuple[float, float]:
        """Smallest for the best: the highest accuracy, then the lowest loss; nan is the worst."""
        accuracy, loss = self.accuracy, self.loss
        return (
            math.inf if math.isnan(accuracy) else -accuracy,
            math.inf if math.isnan(loss) else loss,
        )


def choice_splits(
    split: Split, labels: NDArray[np.integer[Any]], settings: ChoiceSettings, seed: int
) -> tuple[Split, ...]:
    """Splits to compare candidates on: train on each one's training pixels, compare on the others.

    Args:
        split: Where its validation part is large enough, it is the one; else folds of its label
            budget are, see :class:`~hsi_diffusion.recipes.ChoiceSettings`.
        labels: Label map, shape (H, W).
        settings: When to cross-validate.
        seed: Names the draw of the folds.

    Raises:
        SplitError: There are no pixels to validate on.
    """
    # folds would be drawn at random, inside the fields of the training
    apart = split.disjoint and len(split.val)
    if settings.folds > 1 and not apart and len(split.val) < settings.small:
        return cross_validation_folds(split, labels, settings.folds, seed=seed)
    if not len(split.val):
        raise SplitError(
            "the split has no validation pixels to choose by: give more pixels per class, a "
            "val_fraction above 0, choice.folds of at least 2, or a single candidate "
            "(features.timesteps, features.levels, raw_bands, spreading.own_shares)"
        )
    return (split,)
