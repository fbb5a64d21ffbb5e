"""Principal components against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import decomposition

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.patches.transforms import PCA

RANDOM = np.random.default_rng(0)
CUBE = (1000 + RANDOM.normal(size=(12, 15, 7)) @ RANDOM.normal(size=(7, 7)) * 50).astype(np.float32)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("components", [1, 3, 7])
def test_components_equal_scikit_learn(components: int, whiten: bool) -> None:
    ours = PCA(components, whiten=whiten).fit(CUBE)
    reference = decomposition.PCA(components, whiten=whiten, svd_solver="full")
    spectra = CUBE.reshape(-1, 7).astype(np.float64)
    expected = reference.fit_transform(spectra)
    result = ours.transform(spectra)
    expected *= np.sign((expected * result).sum(axis=0))  # signs are conventions
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.variances, reference.explained_variance_, rtol=1e-9)
    share = ours.variances / ours.total_variance
    np.testing.assert_allclose(share, reference.explained_variance_ratio_, rtol=1e-9)
    restored = reference.inverse_transform(reference.transform(spectra))
    np.testing.assert_allclose(ours.inverse(result), restored, rtol=1e-5)


def test_signs_are_fixed() -> None:
    weights = PCA().fit(CUBE).projection
    assert (weights[np.abs(weights).argmax(axis=0), np.arange(7)] > 0).all()


def test_whitening_leaves_directions_without_variance_at_zero() -> None:
    cube = np.concatenate([CUBE, CUBE[..., :1], CUBE[..., 1:2] * 2], axis=2).astype(np.float64)
    transform = PCA(whiten=True).fit(cube)
    result = transform.transform(cube)
    np.testing.assert_allclose(result[..., :7].std(axis=(0, 1), ddof=1), 1, atol=1e-3)
    np.testing.assert_array_equal(result[..., 7:], 0)
    np.testing.assert_allclose(transform.inverse(result), cube, rtol=1e-5)


def test_there_are_at_most_as_many_components_as_bands() -> None:
    np.testing.assert_array_equal(PCA(8).fit(CUBE).projection, PCA().fit(CUBE).projection)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match="components must be at least 1"):
        PCA(0)
    with pytest.raises(SceneError, match="at least 2 pixels"):
        PCA().fit(CUBE[:1, :1])


def test_two_pixels_are_enough() -> None:
    cube = np.array([[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]])
    assert PCA(components=1).fit(cube).transform(cube).shape == (1, 2, 1)
    with pytest.raises(SceneError, match="need at least 2 pixels, got 1"):
        PCA(components=1).fit(cube[:, :1])
