"""Colours and false-colour bands for scenes that bring none of their own."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

RED_GREEN_BLUE_NM: Final = (650.0, 550.0, 470.0)


PALETTE: Final = (
    "4bb400 0000ff 6996ff d24b78 e1d296 690087 783c00 2dc3e1 f0f00f 5a5aff "
    "5a2d5a 005a3c 69963c f000a5 f0b4b4 d2f078 c300c3 2d00c3 780f1e 6978a5 "
    "1eb469 78693c e1e1ff a5d20f 2d1ea5 69b4ff 876900 e187a5 5a78ff 00d25a"
)
"""Colours picked one by one, each as far as it can be from those before, black and white.

Distance is that of CIE Lab, as seen by protanopes and deuteranopes (Machado et al., IEEE TVCG 15,
2009) or, times 0.62, by others: hues may tell others more apart.
"""


def default_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Make ``num_classes`` colours that can be told apart, none of them near black or white.

    Protanopes and deuteranopes can tell the first 16 apart as well. From the 31st on, neighbours
    stand far apart on the colour wheel (steps of the golden ratio).
    """
    known = [bytes.fromhex(colour) for colour in PALETTE.split()]
    colours = [(red, green, blue) for red, green, blue in known[:num_classes]]
    for number in range(len(colours), num_classes):
        hue, lightness = (number * 0.618034) % 1.0, (0.45, 0.62, 0.35)[number % 3]
        red, green, blue = (round(255 * v) for v in colorsys.hls_to_rgb(hue, lightness, 0.7))
        colours.append((red, green, blue))
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
