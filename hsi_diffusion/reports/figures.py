"""Common parts of all figures: pages that fit their images, legends, and writing to a file.

Figures are built on :class:`matplotlib.figure.Figure` alone. Without pyplot there is no global
state: nothing has to be closed, no window system is needed, and threads don't disturb each other.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

Colour = tuple[float, float, float]
"""Red, green and blue from 0 to 1."""

Layout = Literal["constrained", "compressed"]

WIDE = 1.6
"""Width over height from which panels stand below each other."""

LEGEND_FONT = 9
TITLE_FONT = 11


def image_page(
    panels: int, size: tuple[int, ...], legend: Mapping[str, Colour] | None = None
) -> tuple[Figure, list[Axes]]:
    """A page of equal panels for images of so many rows and columns, see :func:`legend_page`."""
    height, width = size
    aspect = width / height
    if aspect > WIDE:  # below each other
        panel_width = min(15.0, 5 * aspect)
        panel_height = panel_width / aspect
        rows, columns = panels, 1
    else:
        panel_height = 5.2
        panel_width = panel_height * aspect
        rows, columns = 1, panels
    page = (columns * (panel_width + 0.15), rows * (panel_height + 0.45))
    return legend_page(panels, columns, page, legend or {})


def legend_page(
    panels: int,
    columns: int,
    size: tuple[float, float],
    legend: Mapping[str, Colour],
    *,
    layout: Layout = "constrained",
) -> tuple[Figure, list[Axes]]:
    """A page of panels without ticks, and the legend, a colour for each name, below.

    The size is that of the panels with their titles, width and height in inches.
    """
    width, lines = max(size[0], 4.5), 0
    if legend:
        # in inches: about 0.068 per letter at 9 points, plus the coloured box and the gaps
        entry = 0.55 + 0.068 * max(map(len, legend))
        lines = math.ceil(len(legend) / max(1, int(width / entry)))
    page = (width, size[1] + 0.2 * lines + 0.15)
    figure, axes = panel_grid(panels, columns, page, layout=layout)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    if legend:
        figure.legend(
            handles=[
                Patch(facecolor=colour, edgecolor="0.4", linewidth=0.5, label=name)
                for name, colour in legend.items()
            ],
            loc="outside lower center",
            ncols=math.ceil(len(legend) / lines),  # evened out over the lines
            fontsize=LEGEND_FONT,
            frameon=False,
            handlelength=1.4,
            columnspacing=1.4,
        )
    return figure, axes


def panel_grid(
    panels: int,
    columns: int,
    size: tuple[float, float],
    *,
    layout: Layout = "constrained",
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """A page of so many inches, wide and high, with panels in rows; the last row may have fewer."""
    figure = Figure(figsize=size, layout=layout)
    axes = figure.subplots(math.ceil(panels / columns), columns, squeeze=False, **options).ravel()
    for spare in axes[panels:]:
        spare.remove()
    return figure, list(axes[:panels])


def show_image(
    axis: Axes, image: NDArray[Any], title: str, *, font: float = TITLE_FONT, **options: Any
) -> None:
    """Show an image pixel by pixel, with a title and without ticks."""
    axis.imshow(image, interpolation="nearest", **options)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=font)


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
