"""Arrays of colours: false-colour composites and coloured label maps, shape (H, W, 3), uint8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from hsi_diffusion.scenes import SceneInfo


SHOULDER = 0.8
"""Brightness from which false colour is compressed."""

NO_DATA = (1.0, 1.0, 1.0)
"""Colour of pixels without data: that of the paper, where unlabelled pixels are black."""


def colour_bands(channels: int, info: SceneInfo) -> tuple[int, int, int]:
    """The channels of a cube of so many to show as red, green and blue.

    These are the scene's own RGB bands where the cube holds the scene's bands, otherwise (for
    example for principal components) the first three channels; the last one repeats where there
    are fewer.
    """
    if channels == info.bands:
        return info.rgb_bands
    return (0, min(1, channels - 1), min(2, channels - 1))


def class_colours(
    info: SceneInfo, shown: Iterable[NDArray[Any]], valid: NDArray[np.bool_] | None = None
) -> dict[str, tuple[float, float, float]]:
    """The legend of label maps: each class and its colour, black for pixels of none, and no data.

    Args:
        info: The scene's facts: class names and palette.
        shown: The label maps, 0 = no class.
        valid: Which pixels hold data, shape (H, W); None: all.

    Returns:
        Red, green and blue from 0 to 1 by the name of the class.
    """
    colours = {
        name: (red / 255, green / 255, blue / 255)
        for name, (red, green, blue) in zip(info.class_names, info.palette, strict=True)
    }
    some = True if valid is None else valid
    if any(((labels == 0) & some).any() for labels in shown):
        colours["unlabelled"] = (0.0, 0.0, 0.0)
    if not np.all(some):
        colours["no data"] = NO_DATA
    return colours


def colour_limits(
    cube: NDArray[Any], info: SceneInfo, valid: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values between which the colours of ``cube`` are stretched, for each colour by itself.

    Args:
        cube: Shape (H, W, C).
        info: The scene's facts.
        valid: Which pixels hold data, shape (H, W); None: all.

    Returns:
        The 2nd and 98th percentiles, shown as black and as nearly full colour, each of shape (3,).
    """
    bands = cube[..., list(colour_bands(cube.shape[-1], info))]
    bands = bands.reshape(-1, 3) if valid is None else bands[valid]
    low, high = np.percentile(bands, (2, 98), axis=0)
    return low, high


def false_colour_image(
    cube: NDArray[Any],
    info: SceneInfo,
    limits: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """A colour picture of a cube.

    Args:
        cube: Shape (H, W, C), real numbers.
        info: The scene's facts; see :func:`colour_bands`.
        limits: As :func:`colour_limits` gives them, to show several cubes alike; None takes the
            2nd and 98th percentile of this cube.
        valid: Which pixels hold data, shape (H, W); the others are white. None: all.

    Returns:
        uint8, shape (H, W, 3). The brightest fifth is compressed more and more, so that what is
        brighter than the 98th percentile is still distinguished.
    """
    low, high = colour_limits(cube, info, valid) if limits is None else limits
    bands = cube[..., list(colour_bands(cube.shape[-1], info))].astype(np.float32)
    # a constant band has no contrast to stretch and is shown black
    scaled = (bands - low) / np.where(high > low, high - low, np.inf)
    bright = np.maximum(scaled - SHOULDER, 0)
    room = 1 - SHOULDER
    scaled = np.minimum(scaled, SHOULDER) + room * (1 - np.exp(-bright / room))
    if valid is not None:
        scaled[~valid] = NO_DATA
    return np.asarray(np.rint(255 * np.clip(scaled, 0, 1)), dtype=np.uint8)


def label_image(
    labels: NDArray[Any], info: SceneInfo, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """A label map in the scene's palette.

    Args:
        labels: Shape (H, W), integers: 0 = unlabelled (black), classes 1..K.
        info: The scene's facts.
        valid: Which pixels hold data, shape (H, W); the others are white. None: all.

    Returns:
        uint8, shape (H, W, 3).

    Raises:
        SceneError: If a label is outside 0..K.
    """
    if labels.min() < 0 or labels.max() > info.num_classes:
        raise SceneError(
            f"labels must be 0 (unlabelled) to {info.num_classes}, the classes of {info.name!r}, "
            f"got {labels.min()} to {labels.max()}"
        )
    image = np.asarray(np.array([(0, 0, 0), *info.palette], dtype=np.uint8)[labels])
    if valid is not None:
        image[~valid] = np.multiply(255, NO_DATA)
    return image
