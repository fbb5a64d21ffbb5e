"""Common parts of all figures: pages that fit their images, legends, and writing to a file.

Figures are built on :class:`matplotlib.figure.Figure` alone. Without pyplot there is no global
state: nothing has to be closed, no window system is needed, and threads don't disturb each other.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

Colour = tuple[float, float, float]
"""Red, green and blue from 0 to 1."""

WIDE = 1.6
"""Width over height from which panels stand below each other."""

LEGEND_FONT = 9
TITLE_FONT = 11


def image_page(
    panels: int, size: tuple[int, ...], legend: Mapping[str, Colour] | None = None
) -> tuple[Figure, list[Axes]]:
    """A page of equal panels for images of one size, with a legend below.

    Args:
        panels: How many panels.
        size: Rows and columns of the images.
        legend: Colour of each name.

    Returns:
        The figure and its panels, without ticks.
    """
    height, width = size
    aspect = width / height
    stacked = aspect > WIDE
    if stacked:
        panel_width = min(15.0, 5 * aspect)
        panel_height = panel_width / aspect
        rows, columns = panels, 1
    else:
        panel_height = 5.2
        panel_width = panel_height * aspect
        rows, columns = 1, panels
    page_width = max(columns * (panel_width + 0.15), 4.5)
    legend = legend or {}
    page_height = rows * (panel_height + 0.45) + legend_height(legend, page_width) + 0.15
    figure = Figure(figsize=(page_width, page_height), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    add_legend(figure, legend)
    return figure, axes


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all.

    Args:
        figure: The figure.
        path: File to write; its suffix decides the format (.png, .pdf, .svg, ...).

    Returns:
        ``path``.

    Raises:
        ConfigurationError: If the suffix names no format that can be written.
    """
    path = Path(path)
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in formats:
        raise ConfigurationError(
            f"path must end in one of {', '.join(f'.{name}' for name in sorted(formats))}, "
            f"got {path.name!r}"
        )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return path


def save_both(figure: Figure, path: Path) -> None:
    """Write a figure as ``path``, a .png, and as a PDF beside it."""
    save_figure(figure, path.with_suffix(".png"))
    figure.set_layout_engine("none")  # it has been laid out; again takes as long as drawing it
    save_figure(figure, path.with_suffix(".pdf"))


def legend_height(legend: Mapping[str, Colour], page_width: float) -> float:
    """Height in inches of a legend on a page of so many inches."""
    return 0.2 * math.ceil(len(legend) / _legend_columns(legend, page_width))


def add_legend(figure: Figure, legend: Mapping[str, Colour]) -> None:
    """Put the colour of each name below the panels."""
    if not legend:
        return
    figure.legend(
        handles=[
            Patch(facecolor=colour, edgecolor="0.4", linewidth=0.5, label=name)
            for name, colour in legend.items()
        ],
        loc="outside lower center",
        ncols=_legend_columns(legend, figure.get_figwidth()),
        fontsize=LEGEND_FONT,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.4,
    )


def _legend_columns(legend: Mapping[str, Colour], page_width: float) -> int:
    """As many columns as fit on the page, evened out over the rows."""
    if not legend:
        return 1
    # in inches: about 0.068 per letter at 9 points, plus the coloured box and the gaps
    entry = 0.55 + 0.068 * max(map(len, legend))
    fitting = max(1, min(len(legend), int(page_width / entry)))
    return math.ceil(len(legend) / math.ceil(len(legend) / fitting))
