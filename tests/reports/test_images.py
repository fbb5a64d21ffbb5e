"""False-colour and label images against hand-made arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hsi_diffusion.errors import SceneError
from hsi_diffusion.reports.images import (
    colour_bands,
    colour_limits,
    false_colour_image,
    label_image,
)
from hsi_diffusion.scenes import SceneInfo, simulate_scene


@pytest.fixture(scope="module")
def info() -> SceneInfo:
    return dataclasses.replace(simulate_scene(16, 16, 6, 3).info, rgb_bands=(4, 2, 1))


def test_own_bands_are_used_only_for_a_cube_of_bands(info: SceneInfo) -> None:
    assert colour_bands(6, info) == (4, 2, 1)
    assert colour_bands(20, info) == (0, 1, 2)
    assert colour_bands(2, info) == (0, 1, 1)
    assert colour_bands(1, info) == (0, 0, 0)


def test_stretch_is_by_percentiles_and_keeps_bright_pixels_apart(info: SceneInfo) -> None:
    rng = np.random.default_rng(0)
    cube = rng.gamma(2.0, 300.0, (31, 17, 6))
    image = false_colour_image(cube, info)
    assert image.dtype == np.uint8
    assert image.shape == (31, 17, 3)
    for colour, band in enumerate(info.rgb_bands):
        values = cube[..., band]
        low, high = np.percentile(values, [2, 98])
        linear = np.clip((values - low) / (high - low), 0, None)
        dark = linear < 0.8
        np.testing.assert_allclose(image[..., colour][dark], np.rint(255 * linear[dark]), atol=1)
        assert (image[..., colour] == 255).mean() < 0.005
        order = np.argsort(values.ravel())
        assert (np.diff(image[..., colour].ravel()[order].astype(int)) >= 0).all()


def test_shared_limits_show_two_cubes_alike(info: SceneInfo) -> None:
    cube = np.random.default_rng(0).normal(size=(9, 9, 6))
    limits = colour_limits(cube, info)
    np.testing.assert_array_equal(
        false_colour_image(cube, info, limits), false_colour_image(cube, info)
    )
    brighter = false_colour_image(cube + 1, info, limits)
    assert np.all(brighter >= false_colour_image(cube, info))
    assert brighter.mean() > false_colour_image(cube, info).mean() + 20


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_constant_bands_are_black(info: SceneInfo, dtype: type) -> None:
    assert not false_colour_image(np.full((4, 5, 6), 7, dtype=dtype), info).any()


def test_label_image_takes_the_palette_and_black(info: SceneInfo) -> None:
    labels = np.array([[0, 1], [2, 3]])
    image = label_image(labels, info)
    assert image.dtype == np.uint8
    assert image.tolist() == [
        [[0, 0, 0], list(info.palette[0])],
        [list(info.palette[1]), list(info.palette[2])],
    ]


@pytest.mark.parametrize("labels", [[[0, 4]], [[-1, 2]]])
def test_label_outside_the_classes_is_refused(info: SceneInfo, labels: list[list[int]]) -> None:
    with pytest.raises(SceneError, match=r"labels must be 0 \(unlabelled\) to 3"):
        label_image(np.array(labels), info)
