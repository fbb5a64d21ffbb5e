"""Figures of the whole scene: false colour, classification, split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.text import OffsetFrom

from hsi_diffusion.errors import SceneError
from hsi_diffusion.reports.figures import LEGEND_FONT, image_page, show_image
from hsi_diffusion.reports.images import (
    NO_DATA,
    class_colours,
    colour_bands,
    false_colour_image,
    label_image,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from hsi_diffusion.scenes import Georeference, SceneInfo

SPLIT_COLOURS = {
    "train": (0.902, 0.380, 0.000),
    "val": (0.980, 0.900, 0.250),
    "test": (0.337, 0.706, 0.914),
    "labelled, not used": (0.450, 0.450, 0.450),
    "unlabelled": (0.0, 0.0, 0.0),
    "no data": NO_DATA,
}
"""Colours that differ in lightness too, so that every kind of colour vision distinguishes them."""


def classification_map(
    prediction: NDArray[Any],
    info: SceneInfo,
    *,
    truth: NDArray[Any] | None = None,
    title: str = "Classification",
    metres: float | None = None,
    georeference: Georeference | None = None,
) -> Figure:
    """The classes of all pixels, beside the ground truth, with a legend.

    Args:
        prediction: Shape (H, W), 0 = no data (white), classes 1..K.
        info: The scene's facts: palette and class names.
        truth: Ground truth, shape (H, W), 0 = unlabelled (black where there is data); None shows
            the map alone.
        title: Title of the map's panel.
        metres: Width of a pixel, for a scale bar; None: no bar.
        georeference: Where the pixels lie, for an arrow towards north; None: no arrow.

    Raises:
        SceneError: If the maps differ in size or hold other classes.
    """
    panels = [(title, prediction)]
    if truth is not None:
        if truth.shape != prediction.shape:
            raise SceneError(
                f"truth must have the shape of the prediction, {prediction.shape}, "
                f"got {truth.shape}"
            )
        panels.insert(0, ("Ground truth", truth))
    valid = prediction > 0
    legend = class_colours(info, [labels for _, labels in panels], valid)
    figure, axes = image_page(len(panels), prediction.shape, legend)
    for axis, (name, labels) in zip(axes, panels, strict=True):
        show_image(axis, label_image(labels, info, valid), name)
    if metres is not None or georeference is not None:
        figure.set_figheight(figure.get_figheight() + 0.3)  # room below the map
    if metres is not None:
        _scale_bar(axes[-1], prediction.shape, metres)
    if georeference is not None:
        _north_arrow(axes[-1], georeference)
    return figure


def _scale_bar(axis: Axes, shape: tuple[int, ...], metres: float) -> None:
    """A bar of 1, 2 or 5 times a power of ten, at most a quarter of the width, below an image."""
    widest = metres * shape[1] / 4
    power = 10.0 ** math.floor(math.log10(widest))
    # rounded up to a power of ten, the logarithm gives one that is too wide: half of it
    length = max(step * power for step in (0.5, 1, 2, 5) if step * power <= widest)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    below = 1.02 * shape[0]
    limits = axis.get_xlim(), axis.get_ylim()
    axis.plot([0, length / metres], [below, below], color="black", linewidth=3, clip_on=False)
    axis.set(xlim=limits[0], ylim=limits[1])  # the map keeps its size
    axis.text(1.08 * length / metres, below, text, va="center", fontsize=LEGEND_FONT, clip_on=False)


def _north_arrow(axis: Axes, georeference: Georeference) -> None:
    """An arrow with an N below the right corner of an image, along the grid's north."""
    rows, columns = georeference.places((0.0, 0.0), (0.0, 1.0))
    along = np.array([columns[1] - columns[0], rows[0] - rows[1]])
    along *= 9 / np.linalg.norm(along)  # points
    arrow = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}
    middle = axis.annotate(
        "N",
        (1, 0),
        (-18, -15),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=LEGEND_FONT,
        annotation_clip=False,
    )
    from_letter = OffsetFrom(middle, (1, 0.5))
    axis.annotate(
        "",
        (8 + along[0], along[1]),
        (8 - along[0], -along[1]),
        xycoords=from_letter,
        textcoords=from_letter,
        arrowprops=arrow,
        annotation_clip=False,
    )


def false_colour(
    cube: NDArray[Any], info: SceneInfo, valid: NDArray[np.bool_] | None = None
) -> Figure:
    """A false-colour picture, each colour stretched by percentiles.

    The title names the scene and what is shown as red, green and blue.

    Args:
        cube: Shape (H, W, C); see :func:`~hsi_diffusion.reports.images.colour_bands`.
        info: The scene's facts.
        valid: Which pixels hold data, shape (H, W); the others are white. None: all.
    """
    figure, (axis,) = image_page(1, cube.shape[:2])
    bands = colour_bands(cube.shape[-1], info)
    if info.wavelengths is not None and cube.shape[-1] == info.bands:
        shown = ", ".join(f"{info.wavelengths[band]:.0f}" for band in bands) + " nm"
    else:
        shown = "channels " + ", ".join(str(band) for band in bands)
    image = false_colour_image(cube, info, valid=valid)
    show_image(axis, image, f"{info.title} (RGB: {shown})")
    return figure


def split_map(
    labels: NDArray[Any],
    train: NDArray[np.int64] | Sequence[int],
    val: NDArray[np.int64] | Sequence[int],
    test: NDArray[np.int64] | Sequence[int],
    valid: NDArray[np.bool_] | None = None,
) -> Figure:
    """Where the training, validation and test pixels lie, and how many they are.

    Args:
        labels: Ground truth, shape (H, W), 0 = unlabelled. Labelled pixels in no part (such as
            those near a border between blocks) are shown grey.
        train: Flat pixel numbers (row * W + column).
        val: Likewise.
        test: Likewise.
        valid: Which pixels hold data, shape (H, W); the others are white. None: all.

    Raises:
        SceneError: If a pixel number lies outside the map.
    """
    parts = {
        name: np.asarray(part, np.int64)
        for name, part in (("train", train), ("val", val), ("test", test))
    }
    names = list(SPLIT_COLOURS)
    shown = np.where(
        labels.ravel() > 0, names.index("labelled, not used"), names.index("unlabelled")
    )
    if valid is not None:
        shown[~valid.ravel()] = names.index("no data")
    for name, pixels in parts.items():
        if pixels.size and (pixels.min() < 0 or pixels.max() >= labels.size):
            raise SceneError(
                f"{name} must hold pixel numbers from 0 to {labels.size - 1}, "
                f"got {pixels.min()} to {pixels.max()}"
            )
        shown[pixels] = names.index(name)
    counts = np.bincount(shown, minlength=len(names))
    legend = {
        f"{name} ({count:,})": colour
        for (name, colour), count in zip(SPLIT_COLOURS.items(), counts, strict=True)
        if count
    }
    figure, (axis,) = image_page(1, labels.shape, legend)
    image = np.array(list(SPLIT_COLOURS.values()))[shown].reshape(*labels.shape, 3)
    show_image(axis, image, "Split of the labelled pixels")
    return figure
