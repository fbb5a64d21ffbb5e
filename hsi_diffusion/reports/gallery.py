"""The maps of several methods beside each other, as papers compare them."""

from __future__ import annotations

import math
import re
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.reports.figures import TITLE_FONT, WIDE, legend_page
from hsi_diffusion.reports.images import NO_DATA, class_colours, label_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from hsi_diffusion.reports.figures import Colour
    from hsi_diffusion.scenes import SceneInfo

PAGE_WIDTH = 12.0
"""Inches that a page has at most."""

PANEL_AREA = 13.0
"""Square inches that a panel has at most, whatever its shape."""

PANEL_WIDTH = 1.2
"""Inches that a panel takes at least, so that there is room for its title."""

LETTER, LINE = 0.088, 0.18
"""Inches of a letter and of a line of a title."""

WHO_COLOURS = {
    "both right": (0.85, 0.85, 0.85),
    "only the method": (0.0, 0.447, 0.698),
    "only the control": (0.902, 0.624, 0.0),
    "both wrong": (0.25, 0.0, 0.1),
}
"""Colours of who is right on a test pixel."""


def map_gallery(
    maps: Mapping[str, NDArray[Any]],
    info: SceneInfo,
    truth: NDArray[Any],
) -> Figure:
    r"""The ground truth and the maps of all methods in a grid, with one legend.

    The page is wider than high; but maps that are much wider than high stand below each other, in
    two columns where they are many.

    Args:
        maps: For each title, such as ``"SpectralDiff\nOA 98.34 %"``, a map of shape (H, W), 0 = no
            data (white), classes 1..K. Titles that are too long for their panel are wrapped.
        info: The scene's facts: palette and class names.
        truth: Ground truth, shape (H, W), 0 = unlabelled (black where a map holds a class).

    Raises:
        SceneError: If the maps differ in size from the ground truth, or hold other classes.
        ConfigurationError: If there is no map.
    """
    if not maps:
        raise ConfigurationError("maps must hold at least one map, got none")
    labels = {"Ground truth": truth, **maps}
    for name, array in labels.items():
        if array.shape != truth.shape:
            raise SceneError(
                f"all maps must have the shape of the ground truth, {truth.shape}, but {name!r} "
                f"has {array.shape}"
            )
    valid = np.any([array > 0 for array in maps.values()], axis=0)
    figure, axes = _page(tuple(labels), truth.shape, class_colours(info, labels.values(), valid))
    for axis, array in zip(axes, labels.values(), strict=True):
        axis.imshow(label_image(array, info, valid), interpolation="nearest")
    return figure


def compared_maps(
    method: NDArray[Any],
    control: NDArray[Any],
    truth: NDArray[Any],
    info: SceneInfo,
    *,
    test: NDArray[np.int64],
    confidence: NDArray[Any],
) -> Figure:
    """Method and control beside the ground truth, who is right where, and how sure the method is.

    Args:
        method: Classes 1..K of the method, shape (H, W), 0 = no data (white).
        control: Likewise of the control.
        truth: Ground truth, shape (H, W), 0 = unlabelled.
        info: The scene's facts: palette and class names.
        test: Flat pixel numbers (row * W + column) of the pixels that were tested.
        confidence: Probability of the method's class, shape (H, W), white = 1.
    """
    maps = {"Ground truth": truth, "Method": method, "Control": control}
    right = [(found == truth).ravel()[test] for found in (method, control)]
    who = np.full(truth.size, len(WHO_COLOURS))
    who[test] = 2 * ~right[0] + ~right[1]
    counts = np.bincount(who, minlength=len(WHO_COLOURS))
    shown = {
        f"{name} ({count:,} test pixels)": colour
        for (name, colour), count in zip(WHO_COLOURS.items(), counts, strict=False)
    }
    valid = method > 0
    titles = (*maps, "Who is right", "Confidence of the method (white: 100 %)")
    figure, axes = _page(titles, truth.shape, class_colours(info, maps.values(), valid) | shown)
    for axis, labels in zip(axes, maps.values(), strict=False):
        axis.imshow(label_image(labels, info, valid), interpolation="nearest")
    colours = np.array([*WHO_COLOURS.values(), NO_DATA])
    axes[3].imshow(colours[who].reshape(*truth.shape, 3), interpolation="nearest")
    axes[4].imshow(
        np.where(valid, confidence, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest"
    )
    return figure


def _page(
    titles: Sequence[str], size: tuple[int, ...], legend: Mapping[str, Colour]
) -> tuple[Figure, list[Axes]]:
    """A page of a panel per title for images of so many rows and columns, and the legend below."""
    aspect = size[1] / size[0]
    columns = _columns(len(titles), aspect)
    rows = math.ceil(len(titles) / columns)
    panel_width = min(math.sqrt(PANEL_AREA * aspect), PAGE_WIDTH / columns)
    panel_height = panel_width / aspect
    slot = max(panel_width, PANEL_WIDTH)
    wrapped = [_wrapped(title, slot) for title in titles]
    lines = [
        max(title.count("\n") + 1 for title in wrapped[row * columns : (row + 1) * columns])
        for row in range(rows)
    ]
    page = (columns * (slot + 0.1), rows * (panel_height + 0.13) + LINE * sum(lines))
    # the plain constrained layout leaves gaps beside panels of a fixed shape, and cuts titles off
    figure, axes = legend_page(len(titles), columns, page, legend, layout="compressed")
    for axis, title in zip(axes, wrapped, strict=True):
        axis.set_title(title, fontsize=TITLE_FONT)
    return figure, axes


def _columns(panels: int, aspect: float) -> int:
    """So many that the page is half as wide again as it is high; three quarters for wide maps."""
    wanted = 0.75 if aspect > WIDE else 1.5
    columns = min(panels, math.ceil(math.sqrt(panels * wanted / aspect)))
    # as few empty panels as the number of rows allows
    return math.ceil(panels / math.ceil(panels / columns))


def _wrapped(title: str, width: float) -> str:
    """The title in lines of ``width`` inches; a figure is not parted from its sign."""
    letters = max(int(width / LETTER), 4)
    kept = re.sub(r" (?=[%±])|(?<=±) ", "\N{NO-BREAK SPACE}", title)
    return "\n".join(part for line in kept.split("\n") for part in textwrap.wrap(line, letters))
