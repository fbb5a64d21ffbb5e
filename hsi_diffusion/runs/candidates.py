"""What a run chooses among, and on which pixels it compares."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches import cross_validation_folds

if TYPE_CHECKING:
    from hsi_diffusion.modules import SceneDataModule
    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import ChoiceSettings, FeatureStageSettings


@dataclass(frozen=True, slots=True)
class FeatureCandidate:
    """Features that a classifier could learn from.

    Attributes:
        timesteps: Steps t of the noise schedule.
        levels: Numbers of the denoiser's feature levels.
    """

    timesteps: tuple[int, ...]
    levels: tuple[int, ...]

    def __str__(self) -> str:
        """For reports: "t = 50, 100, level 2"."""
        timesteps, levels = (", ".join(map(str, part)) for part in (self.timesteps, self.levels))
        return f"t = {timesteps}, {'level' if len(self.levels) == 1 else 'levels'} {levels}"


def feature_candidates(settings: FeatureStageSettings) -> tuple[FeatureCandidate, ...]:
    """All candidates that ``settings.combine`` makes of the timesteps and levels."""
    timesteps, levels = settings.timesteps, settings.levels
    if settings.combine == "none":
        return tuple(FeatureCandidate((t,), (level,)) for t, level in product(timesteps, levels))
    if settings.combine == "timesteps":
        return tuple(FeatureCandidate(timesteps, (level,)) for level in levels)
    return (FeatureCandidate(timesteps, levels),)


def choice_splits(data: SceneDataModule, settings: ChoiceSettings) -> tuple[Split, ...]:
    """Splits to compare candidates on: train on each one's training pixels, compare on the others.

    The split of the run where its validation part is large enough, else folds of its label budget,
    see :class:`~hsi_diffusion.runs.settings.ChoiceSettings`.

    Args:
        data: The scene, set up.
        settings: When to cross-validate.

    Raises:
        SplitError: There are no pixels to validate on.
    """
    split = data.require_split()
    blocks = split.settings.get("kind") == "blocks"
    if settings.folds > 1 and not blocks and len(split.val) < settings.small:
        return cross_validation_folds(split, data.labels, settings.folds, seed=data.seed)
    if not len(split.val):
        raise SplitError(
            "the split has no validation pixels to choose by: give more pixels per class, a "
            "split.val_fraction above 0, choice.folds of at least 2, or a single candidate "
            "(features.timesteps, features.levels, raw_bands.spaces, "
            "classifier.propagation.own_shares)"
        )
    return (split,)
