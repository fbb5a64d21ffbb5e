"""The maps of many methods beside each other, as papers compare them."""

from __future__ import annotations

import math
import re
import textwrap
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.reports.figures import TITLE_FONT, WIDE, add_legend, legend_height
from hsi_diffusion.reports.images import class_colours, label_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
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
            class (black), classes 1..K. Titles that are too long for their panel are wrapped.
        info: The scene's facts: palette and class names.
        truth: Ground truth, shape (H, W), 0 = unlabelled (black).

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
    panels = [(name, label_image(array, info)) for name, array in labels.items()]
    legend = class_colours(info, labels.values())
    height, width = truth.shape
    figure, axes = _page([name for name, _ in panels], width / height, legend)
    for axis, (_, image) in zip(axes, panels, strict=True):
        axis.imshow(image, interpolation="nearest")
    return figure


def _page(
    titles: Sequence[str], aspect: float, legend: Mapping[str, Colour]
) -> tuple[Figure, list[Axes]]:
    """A page of a panel per title, and the legend below."""
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
    page_width = max(columns * (slot + 0.1), 4.5)
    below = legend_height(legend, page_width)
    page_height = rows * (panel_height + 0.13) + LINE * sum(lines) + below + 0.15
    # the plain constrained layout leaves gaps beside panels of a fixed shape, and cuts titles off
    figure = Figure(figsize=(page_width, page_height), layout="compressed")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[len(titles) :]:
        axis.remove()
    axes = axes[: len(titles)]
    for axis, title in zip(axes, wrapped, strict=True):
        axis.set_title(title, fontsize=TITLE_FONT)
        axis.set_xticks([])
        axis.set_yticks([])
    add_legend(figure, legend)
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
