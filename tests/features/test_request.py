"""What may be asked of a denoiser, and what names the features that come back."""

from __future__ import annotations

from typing import Any

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": ()}, "timesteps must hold at least one"),
        ({"timesteps": (3, 3)}, "timesteps must hold.*each once"),
        ({"levels": (-1,)}, "levels must hold.*from 0"),
        ({"noise": "some"}, "noise must be one of none, fixed, mean, but is 'some'"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"tile": 0}, "tile must be at least 1"),
    ],
)
def test_settings_refuse_what_is_not_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FeatureSettings(**settings)


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
