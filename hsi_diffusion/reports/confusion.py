"""The confusion matrix as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.figures import TITLE_FONT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CELL = 0.58
"""Inches per class: room for a percentage and a count at a size that can be read."""


def confusion_matrix(
    matrix: NDArray[Any] | Sequence[Sequence[int]], class_names: Sequence[str]
) -> Figure:
    """What each true class was taken for.

    Args:
        matrix: Counts, shape (K, K); rows are the truth, columns the prediction.
        class_names: K names.

    Returns:
        A figure whose cells hold the percentage of the row (large) and the pixels (small); empty
        cells are left blank, and rows of absent classes are grey.

    Raises:
        ConfigurationError: If the matrix does not fit the names.
    """
    counts = np.asarray(matrix)
    classes = len(class_names)
    if counts.shape != (classes, classes):
        raise ConfigurationError(
            f"matrix must have shape ({classes}, {classes}), one row and column per class name, "
            f"got {counts.shape}"
        )
    totals = counts.sum(axis=1)
    percent = 100 * counts / np.maximum(totals, 1)[:, None]
    rows = [f"{name} ({total:,})" for name, total in zip(class_names, totals, strict=True)]
    side = max(CELL * classes, 2.4)
    # about 0.07 inches per letter at 9 points, and what axis labels and the colour bar take
    figure = Figure(
        figsize=(
            side + 0.07 * max(map(len, rows)) + 1.4,
            side + 0.063 * max(map(len, class_names)) + 0.8,
        ),
        layout="constrained",
    )
    axis = figure.subplots()
    absent = np.broadcast_to((totals == 0)[:, None], counts.shape)
    image = axis.imshow(np.ma.masked_where(absent, percent), cmap="Blues", vmin=0, vmax=100)
    axis.set_facecolor("0.9")
    for row, column in np.argwhere(counts > 0):
        colour = "white" if percent[row, column] > 55 else "black"
        share = f"{percent[row, column]:.1f}" if percent[row, column] < 99.95 else "100"
        for text, rise, size in ((share, 3.5, 9), (f"{counts[row, column]:,}", -7.5, 6.5)):
            axis.annotate(
                text,
                (column, row),
                (0, rise),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=size,
                color=colour,
            )
    axis.set_xticks(range(classes), class_names, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(classes), rows)
    axis.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="0.85", linewidth=0.5)
    axis.tick_params(which="both", length=0, labelsize=9)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class (pixels)")
    axis.set_title("Confusion matrix (percent, pixels)", fontsize=TITLE_FONT)
    figure.colorbar(image, ax=axis, label="percent of the true class", shrink=0.7, pad=0.02)
    return figure
