"""Components whitened by what varies inside superpixels."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches import RelevantComponents, superpixels


@pytest.fixture(scope="module")
def cube() -> np.ndarray:
    """Four areas, brightness that varies by pixel, and one loud band that means nothing."""
    random = np.random.default_rng(0)
    areas = np.kron(np.arange(4).reshape(2, 2), np.ones((16, 16), dtype=int))
    spectra = 5 + random.normal(size=(4, 12))
    cube = spectra[areas] + 0.1 * random.normal(size=(32, 32, 12))
    cube[..., 3] += random.normal(size=(32, 32))
    return np.asarray(cube * random.uniform(0.5, 1.5, size=(32, 32, 1)))


def test_inside_superpixels_components_are_white(cube: np.ndarray) -> None:
    transform = RelevantComponents(4, scale="within", superpixels=4).fit(cube)
    components = transform.transform(cube).reshape(-1, 4)
    unit = normalize(cube.reshape(-1, 12)).reshape(cube.shape).astype(np.float32)
    segments = superpixels(unit, 4).ravel()
    inside = [components[segments == number] for number in np.unique(segments)]
    scatter = sum(np.cov(rows.T) * (len(rows) - 1) for rows in inside) / (
        len(components) - len(inside)
    )
    np.testing.assert_allclose(scatter, np.eye(4), atol=1e-3)
    np.testing.assert_allclose(np.cov(components.T).diagonal(), transform.ratios, rtol=1e-3)
    unit = RelevantComponents(4, superpixels=4).fit(cube).transform(cube).reshape(-1, 4)
    np.testing.assert_allclose(unit, components / components.std(axis=0), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("scale", ["unit", "within"])
def test_all_components_give_the_spectra_back_but_for_brightness(
    cube: np.ndarray, scale: Literal["unit", "within"]
) -> None:
    transform = RelevantComponents(scale=scale, superpixels=2).fit(cube)
    found = transform.inverse(transform.transform(cube)).reshape(-1, 12)
    np.testing.assert_allclose(found, normalize(cube.reshape(-1, 12)), atol=1e-3)


def test_brightness_goes_and_the_loud_band_hardly_counts(cube: np.ndarray) -> None:
    transform = RelevantComponents(3, superpixels=4).fit(cube)
    np.testing.assert_allclose(
        transform.transform(2 * cube), transform.transform(cube), rtol=1e-4, atol=1e-3
    )
    weights = np.abs(transform.projection[:, 0])
    assert weights[3] < 0.1 * weights.max()


def test_superpixels_keep_to_the_mask(cube: np.ndarray) -> None:
    mask = np.ones((32, 32), dtype=bool)
    mask[:4] = False
    segments = superpixels(cube, 4, mask)
    assert not segments[:4].any()
    assert segments[mask].all()
    masked = np.where(mask[..., None], cube, np.nan)
    plain, holes = (RelevantComponents(2, superpixels=4).fit(c, mask) for c in (cube, masked))
    np.testing.assert_array_equal(plain.ratios, holes.ratios)


def test_settings_are_checked(cube: np.ndarray) -> None:
    with pytest.raises(ConfigurationError, match="superpixels must be at least 2"):
        RelevantComponents(superpixels=1)
    with pytest.raises(ConfigurationError, match="scale must be"):
        RelevantComponents(scale="noise")  # type: ignore[arg-type]
    # at most as many as there are bands
    assert RelevantComponents(13).fit(cube).num_components == cube.shape[2]
