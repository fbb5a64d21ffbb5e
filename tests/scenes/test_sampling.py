"""Windows of a large image as a scene."""

from __future__ import annotations

import numpy as np

from hsi_diffusion import simulate_scene
from hsi_diffusion.scenes import Raster, sample_scene


def test_labelled_pixels_keep_their_neighbourhoods() -> None:
    image = simulate_scene(90, 80, 6, 3)
    labels = np.zeros_like(image.labels)
    labels[:40:9, :35:7] = image.labels[:40:9, :35:7]
    scene = sample_scene(Raster.of(image.cube), labels, pixels=6000, side=16, margin=4)
    assert scene.valid is not None
    assert scene.cube.shape[0] * scene.cube.shape[1] <= 8000
    places = {image.cube[spot].tobytes(): spot for spot in np.ndindex(image.cube.shape[:2])}
    found = list(zip(*np.nonzero(scene.labels), strict=True))
    assert len(found) > 5
    for row, column in found:
        there = places[scene.cube[row, column].tobytes()]
        assert scene.labels[row, column] == labels[there]
        for step in (-4, 4):  # inside the margin, as far as the image goes
            if 0 <= there[0] + step < 90:
                around = scene.cube[row + step, column]
                assert np.array_equal(around, image.cube[there[0] + step, there[1]])
    again = sample_scene(Raster.of(image.cube), labels, pixels=6000, side=16, margin=4)
    assert np.array_equal(again.cube, scene.cube)
