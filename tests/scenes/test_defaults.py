from __future__ import annotations

import pytest

from hsi_diffusion.scenes.defaults import default_palette, default_rgb_bands
from tests.scenes.test_catalogue import lightness_and_hue


@pytest.mark.parametrize("num_classes", [0, 1, 9, 16])
def test_palette_has_distinct_colours_off_black_and_white(num_classes: int) -> None:
    palette = default_palette(num_classes)
    assert len(set(palette)) == num_classes
    points = [lightness_and_hue(colour) for colour in palette]
    assert all(20 < point[0] < 95 for point in points)
    distances = [
        float(((a - b) ** 2).sum() ** 0.5) for i, a in enumerate(points) for b in points[:i]
    ]
    assert min(distances, default=100.0) > 10


def test_palette_of_fewer_classes_is_a_part_of_that_of_more() -> None:
    assert default_palette(20)[:7] == default_palette(7)


def test_rgb_bands_are_the_nearest_to_red_green_and_blue() -> None:
    wavelengths = [400 + 10 * band for band in range(40)]
    assert default_rgb_bands(40, wavelengths) == (25, 15, 7)


@pytest.mark.parametrize(
    ("bands", "wavelengths", "expected"),
    [
        (200, None, (150, 100, 50)),
        (4, [900.0, 1100.0, 1300.0, 1500.0], (3, 2, 1)),
        (1, None, (0, 0, 0)),
        (2, None, (1, 1, 0)),
        (4, [400.0, 1100.0, 1800.0, 2500.0], (2, 1, 0)),
    ],
)
def test_rgb_bands_without_visible_light_are_spread(
    bands: int, wavelengths: list[float] | None, expected: tuple[int, int, int]
) -> None:
    assert default_rgb_bands(bands, wavelengths) == expected
