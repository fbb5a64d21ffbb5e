"""Bands of an image at other wavelengths, where some of the wavelengths are missing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hsi_diffusion.scenes import Raster, load_custom_scene, resample_bands

WAVES = tuple(wave for wave in np.arange(900.0, 1600, 10) if not 1340 < wave < 1450)
"""Without the bands in which water vapour absorbs."""

CUBE = np.random.default_rng(0).random((3, 4, len(WAVES)), dtype=np.float32)


@pytest.mark.parametrize("known", [True, False])
def test_bands_beside_a_gap_stay_as_they_are(known: bool) -> None:
    image = Raster.of(CUBE, wavelengths=WAVES, fwhm=(10.0,) * len(WAVES) if known else None)
    assert_allclose(resample_bands(image, WAVES).read()[0], CUBE, rtol=1e-5)


def test_a_gap_of_the_image_does_not_widen_its_bands() -> None:
    """As it has the widths of its bands beside the gap, new ones there are blurred like others."""
    image = Raster.of(CUBE, wavelengths=WAVES)
    wanted = [1000.0, 1340.0, 1450.0]
    found = resample_bands(image, wanted, [10.0] * 3).read()[0]
    assert_allclose(found, CUBE[:, :, [WAVES.index(wave) for wave in wanted]], rtol=1e-5)
    wider = resample_bands(image, wanted, [30.0] * 3).read()[0]
    assert (np.abs(wider - found).max(axis=(0, 1)) > 0.01).all()


def test_a_scene_knows_the_widths_of_its_bands() -> None:
    widths = tuple(np.linspace(8, 12, len(WAVES)).tolist())
    image = Raster.of(CUBE, wavelengths=WAVES, fwhm=widths)
    labels = np.ones(CUBE.shape[:2], dtype=np.int64)
    assert load_custom_scene(image, labels).info.fwhm == widths
    assert load_custom_scene(image, labels, sample=4).info.fwhm == widths
