"""Band by band scaling against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches.transforms import Identity, MinMax, Standardise

CUBE = np.random.default_rng(0).integers(-9, 8000, (7, 9, 4)).astype(np.int16)


@pytest.mark.parametrize("limits", [(-1.0, 1.0), (0.0, 1.0), (2.0, 7.5)])
def test_minmax_equals_scikit_learn(limits: tuple[float, float]) -> None:
    ours = MinMax(*limits).fit(CUBE).transform(CUBE)
    reference = MinMaxScaler(limits).fit_transform(CUBE.reshape(-1, 4).astype(float))
    np.testing.assert_allclose(ours.reshape(-1, 4), reference, atol=1e-6)
    np.testing.assert_array_equal(ours.min(axis=(0, 1)), limits[0])
    np.testing.assert_array_equal(ours.max(axis=(0, 1)), limits[1])


def test_minmax_puts_a_constant_band_in_the_middle_and_clips_nothing() -> None:
    cube = CUBE.copy()
    cube[..., 1] = 700
    transform = MinMax(0, 3).fit(cube)
    np.testing.assert_array_equal(transform.transform(cube)[..., 1], 1.5)
    outside = transform.transform(transform.maximum[None] + 1)[0]
    assert (np.delete(outside, 1) > 3).all()


def test_standardise_equals_scikit_learn() -> None:
    cube = CUBE.copy()
    cube[..., 2] = -3
    ours = Standardise().fit(cube).transform(cube)
    reference = StandardScaler().fit_transform(cube.reshape(-1, 4).astype(float))
    np.testing.assert_allclose(ours.reshape(-1, 4), reference, atol=1e-6)
    np.testing.assert_array_equal(ours[..., 2], 0.0)


def test_standardise_keeps_small_variances_beside_large_means() -> None:
    cube = np.random.default_rng(1).normal(1e7, 1e-2, (40, 50, 1))
    ours = Standardise().fit(cube).transform(cube)
    assert ours.std() == pytest.approx(1, abs=1e-4)


def test_identity_only_changes_the_dtype() -> None:
    result = Identity().fit(CUBE).transform(CUBE)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, CUBE)


def test_limits_in_the_wrong_order_are_named() -> None:
    with pytest.raises(ConfigurationError, match="low must be below high, got low=1, high=-1"):
        MinMax(1, -1)
