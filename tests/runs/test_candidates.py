from __future__ import annotations

import numpy as np
import pytest

from hsi_diffusion import SimulatedSceneDataModule
from hsi_diffusion.errors import SplitError
from hsi_diffusion.runs.candidates import choice_splits, feature_candidates
from hsi_diffusion.runs.settings import ChoiceSettings, FeatureStageSettings


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("none", ["t = 5, level 0", "t = 5, level 2", "t = 50, level 0", "t = 50, level 2"]),
        ("timesteps", ["t = 5, 50, level 0", "t = 5, 50, level 2"]),
        ("all", ["t = 5, 50, levels 0, 2"]),
    ],
)
def test_candidates_of_every_combination(combine: str, expected: list[str]) -> None:
    settings = FeatureStageSettings(timesteps=(5, 50), levels=(0, 2), combine=combine)  # type: ignore[arg-type]
    assert [str(candidate) for candidate in feature_candidates(settings)] == expected


def scene(split: str, val_fraction: float = 0.2) -> SimulatedSceneDataModule:
    data = SimulatedSceneDataModule(
        40, 36, 16, 4, patch_size=5, split=split, val_fraction=val_fraction, seed=3
    )
    data.setup()
    return data


def test_few_validation_pixels_are_replaced_by_folds_of_the_label_budget() -> None:
    data = scene("5")
    folds = choice_splits(data, ChoiceSettings(folds=3, small=100))
    assert len(folds) == 3
    for fold in folds:
        np.testing.assert_array_equal(fold.labelled, data.require_split().labelled)
        assert not len(fold.test)


@pytest.mark.parametrize(
    ("split", "settings"),
    [
        ("5", ChoiceSettings(folds=1)),
        ("5", ChoiceSettings(small=4)),
        ("blocks", ChoiceSettings(small=10_000)),
    ],
)
def test_otherwise_the_validation_part_decides(split: str, settings: ChoiceSettings) -> None:
    data = scene(split)
    assert choice_splits(data, settings) == (data.require_split(),)


def test_without_validation_pixels_folds_can_choose() -> None:
    data = scene("5", val_fraction=0)
    assert len(choice_splits(data, ChoiceSettings())) == 3
    with pytest.raises(SplitError, match="no validation pixels to choose by"):
        choice_splits(data, ChoiceSettings(folds=1))
