"""What may be asked of a denoiser, and what names the features that come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings, feature_settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": ()}, "timesteps must hold at least one"),
        ({"timesteps": (3, 3)}, "timesteps must hold.*each once"),
        ({"levels": (-1,)}, "levels must hold.*from 0"),
        ({"timesteps": "5"}, "timesteps must hold.*whole number.*got 5"),
        ({"timesteps": [5.5]}, r"timesteps must hold.*whole number.*got \[5\.5\]"),
        ({"levels": None}, "levels must hold.*got None"),
        ({"noise": "some"}, "noise must be one of none, fixed, mean, got 'some'"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"tile": 0}, "tile must be at least 1"),
    ],
)
def test_settings_refuse_what_is_not_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FeatureSettings(**settings)


@pytest.mark.parametrize("given", [5, [5], np.array([5]), np.int64(5), iter([5])])
def test_one_timestep_may_stand_alone(given: Any) -> None:
    settings = FeatureSettings(timesteps=given)
    assert settings == FeatureSettings((5,))
    assert type(settings.timesteps[0]) is int


def test_settings_come_by_name_too() -> None:
    settings = FeatureSettings((5, 9), noise="fixed")
    assert feature_settings(settings) is settings
    assert feature_settings({"timesteps": [5, 9], "noise": "fixed"}) == settings
    assert feature_settings(None) == feature_settings({}) == FeatureSettings()
    with pytest.raises(ConfigurationError, match=r"unknown setting features\.timestep.*did you"):
        feature_settings({"timestep": [5]})


def test_identity_leaves_out_what_changes_nothing() -> None:
    base = FeatureSettings(timesteps=(5, 9))
    assert (
        base.identity()
        == FeatureSettings(
            timesteps=[5, 9],  # type: ignore[arg-type]
            tile=9,
            draws=3,
            seed=4,
        ).identity()
    )
    fixed = FeatureSettings(noise="fixed", draws=3).identity()
    assert fixed == FeatureSettings(noise="fixed").identity()
    assert fixed != FeatureSettings(noise="fixed", seed=1).identity()
    mean = FeatureSettings(noise="mean").identity()
    assert mean != FeatureSettings(noise="mean", draws=3).identity()
