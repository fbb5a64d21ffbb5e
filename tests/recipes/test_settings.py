"""What recipes refuse, and what follows from their settings."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches import MNF
from hsi_diffusion.recipes import (
    BandSpace,
    FeatureStageSettings,
    PretrainSettings,
    PropagationSettings,
    Recipe,
)

if TYPE_CHECKING:
    from hsi_diffusion.recipes.settings import Combine


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("none", ["t = 5, level 0", "t = 5, level 2", "t = 50, level 0", "t = 50, level 2"]),
        ("timesteps", ["t = 5, 50, level 0", "t = 5, 50, level 2"]),
        ("all", ["t = 5, 50, levels 0, 2"]),
    ],
)
def test_candidates_of_every_combination(combine: Combine, expected: list[str]) -> None:
    settings = FeatureStageSettings(timesteps=(5, 50), levels=(0, 2), combine=combine)
    assert [str(candidate) for candidate in settings.candidates()] == expected


def test_features_are_asked_for_and_reduced_as_the_settings_say() -> None:
    settings = FeatureStageSettings(noise="mean", draws=3, tile=40, combine="timesteps")
    candidate = settings.candidates()[1]
    request = settings.request(candidate, "float32", 7)
    assert (request.timesteps, request.levels) == ((5, 10, 50, 100, 200, 400), (1,))
    assert (request.noise, request.draws, request.seed, request.tile) == ("mean", 3, 7, 40)
    assert settings.reduction() is None
    reduction = replace(settings, components=9, scale="standard", whiten=True).reduction()
    assert reduction is not None
    assert (reduction.components, reduction.scale, reduction.whiten) == (9, "standard", True)
    assert reduction.per_timestep


def test_a_space_is_named_by_all_that_is_done_in_it() -> None:
    assert str(BandSpace()) == "minmax"
    space = BandSpace(
        transform=functools.partial(MNF, components=20, scale="noise"), blur=1.5, neighbours=4
    )
    assert str(space) == "mnf-20, blur 1.5, 4 neighbours"


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (BandSpace, {"blur": -1.0}, r"blur must be at least 0 .*, got -1\.0"),
        (BandSpace, {"neighbours": -1}, "neighbours must be at least 0"),
        (PretrainSettings, {"steps": 0}, r"pretrain\.steps must be at least 1, got 0"),
        (PretrainSettings, {"batch_size": 0}, r"pretrain\.batch_size must be at least 1, got 0"),
        (PretrainSettings, {"micro_batch_size": 0}, r"micro_batch_size must be at least 1, got 0"),
        (PretrainSettings, {"gradient_clip": -1.0}, r"pretrain\.gradient_clip must be at least 0"),
        (FeatureStageSettings, {"levels": ()}, r"features\.levels must hold at least one number"),
        (FeatureStageSettings, {"timesteps": (5, 5)}, r"features\.timesteps must hold .*each once"),
        (FeatureStageSettings, {"angles": True}, r"needs features\.combine=timesteps"),
        (PropagationSettings, {"alpha": 2.0}, r"spreading\.alpha must be .*, got 2\.0"),
        (PropagationSettings, {"own_shares": ()}, r"spreading\.own_shares must hold at least one"),
        (Recipe, {"pretrain": PretrainSettings(denoiser=None), "raw_bands": ()}, "give raw_bands"),
    ],
)
def test_what_nothing_could_be_done_with_is_refused(
    kind: type[Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        kind(**settings)


def test_the_control_is_the_same_without_a_denoiser() -> None:
    recipe = Recipe(pretrain=PretrainSettings(steps=7))
    control = recipe.without_pretraining()
    assert (recipe.pretrains, control.pretrains) == (True, False)
    assert replace(control, pretrain=recipe.pretrain) == recipe
