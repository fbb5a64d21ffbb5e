from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.patches.filters import blur_radius, gaussian_blur


def scene(height: int = 9, width: int = 7, channels: int = 3) -> np.ndarray[Any, np.dtype[Any]]:
    return np.random.default_rng(0).normal(size=(height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_agrees_with_plain_loops(sigma: float) -> None:
    cube = scene()
    height, width, channels = cube.shape
    reach = int(4 * sigma + 0.5)
    offsets = range(-reach, reach + 1)
    weights = {offset: np.exp(-((offset / sigma) ** 2) / 2) for offset in offsets}
    total = sum(weights.values()) ** 2

    def inside(place: int, size: int) -> int:
        """Reflected at the borders, the pixel at the edge repeated."""
        place %= 2 * size
        return min(place, 2 * size - 1 - place)

    expected = np.zeros(cube.shape)
    for row in range(height):
        for column in range(width):
            for down in offsets:
                for right in offsets:
                    there = cube[inside(row + down, height), inside(column + right, width)]
                    expected[row, column] += weights[down] * weights[right] / total * there
    found = gaussian_blur(cube, sigma)
    assert found.dtype == np.float32
    assert found.shape == (height, width, channels)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_any_real_dtype_is_computed_in_floats(dtype: type[np.generic]) -> None:
    cube = (100 + 20 * scene()).astype(dtype)
    found = gaussian_blur(cube, 1.0)
    np.testing.assert_array_equal(found, gaussian_blur(cube.astype(np.float32), 1.0))
    assert (found % 1 != 0).any()


def test_zero_leaves_the_cube_as_it_is() -> None:
    cube = scene()
    found = gaussian_blur(cube, 0)
    np.testing.assert_array_equal(found, cube)
    assert not np.shares_memory(found, cube)


def test_channels_do_not_mix() -> None:
    cube = np.zeros((8, 8, 3), dtype=np.float32)
    cube[4, 4, 1] = 1
    found = gaussian_blur(cube, 1.0)
    assert (found[..., [0, 2]] == 0).all()
    assert found[..., 1].sum() == pytest.approx(1, rel=1e-5)
    assert found[4, 4, 1] < 0.5


def test_wrong_use_is_told() -> None:
    for sigma in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="sigma must be at least 0 and finite"):
            gaussian_blur(scene(), sigma)
    with pytest.raises(SceneError, match=r"shape \(H, W, C\), got float32 in shape \(9, 7\)"):
        gaussian_blur(scene()[..., 0], 1.0)
    with pytest.raises(SceneError, match="real numbers"):
        gaussian_blur(scene().astype(complex), 1.0)
    spoilt = scene()
    spoilt[1, 2, 2] = np.nan
    with pytest.raises(SceneError, match="channel 2 holds nan or infinity"):
        gaussian_blur(spoilt, 1.0)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0, 2.3])
def test_the_radius_is_how_far_a_pixel_reaches(sigma: float) -> None:
    cube = np.zeros((41, 3, 1), dtype=np.float32)
    cube[20] = 1
    reached = np.flatnonzero(gaussian_blur(cube, sigma)[:, 1, 0])
    assert reached[-1] - 20 == 20 - reached[0] == blur_radius(sigma)
