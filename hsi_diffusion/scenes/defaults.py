"""Colours and false-colour bands for scenes that bring none of their own."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

RED_GREEN_BLUE_NM: Final = (650.0, 550.0, 470.0)


def default_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Make ``num_classes`` colours that can be told apart, none of them near black or white.

    Neighbours stand far apart on the colour wheel (steps of the golden ratio), in three
    alternating levels of brightness.
    """
    colours = []
    for number in range(num_classes):
        hue = (0.58 + number * 0.618034) % 1.0
        lightness, saturation = ((0.50, 0.70), (0.68, 0.75), (0.33, 0.65))[number % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, saturation)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return tuple(colours)


def default_rgb_bands(
    bands: int, wavelengths: Sequence[float] | None = None
) -> tuple[int, int, int]:
    """Choose the bands to show as red, green and blue.

    They are the ones nearest to 650, 550 and 470 nm where the wavelengths (in nm) reach over
    them, or the three shortest where these are not three; else bands at 3/4, 1/2 and 1/4 of the
    spectrum.
    """
    centres = [] if wavelengths is None else list(wavelengths)
    if centres and min(centres) <= 480 and max(centres) >= 640:
        shortest = sorted(range(len(centres)), key=centres.__getitem__)
        red, green, blue = (
            min(shortest, key=lambda band: abs(centres[band] - colour))
            for colour in RED_GREEN_BLUE_NM
        )
        if len({red, green, blue}) < 3 <= bands:
            blue, green, red = shortest[:3]
        return red, green, blue
    return 3 * bands // 4, bands // 2, bands // 4
