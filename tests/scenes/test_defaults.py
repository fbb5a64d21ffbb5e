from __future__ import annotations

import pytest

from hsi_diffusion.scenes.defaults import default_palette, default_rgb_bands
from tests.scenes.vision import SEEN, smallest_distance


@pytest.mark.parametrize("vision", SEEN)
def test_everybody_can_tell_16_classes_apart_from_each_other_and_from_black_and_white(
    vision: str,
) -> None:
    colours = [*default_palette(16), (0, 0, 0), (255, 255, 255)]
    assert smallest_distance(colours, vision) > 20


def test_many_classes_have_different_colours() -> None:
    assert len(set(default_palette(60))) == 60
    assert smallest_distance(default_palette(30), "deuteranope") > 12


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
