"""How much better one method is than another, seed by seed, as a figure."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.comparison import fractions
from hsi_diffusion.reports.figures import LEGEND_FONT, TITLE_FONT, panel_grid
from hsi_diffusion.reports.significance import CONFIDENCE, paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from hsi_diffusion.reports.comparison import Measurement

ABREAST = 3
"""Panels in a row of the figure; more of them would be too small to read on a page."""


def differences_figure(
    measurements: Sequence[Measurement],
    pairs: Sequence[tuple[str, str]],
) -> Figure:
    """Draw the differences of :func:`significance_table`, of the overall accuracy.

    Args:
        measurements: Measurements of all methods, on one split or several.
        pairs: Names of two rows each; the second one is taken from the first.

    Returns:
        A panel for each pair, in which every column of the measurements has a line: a dot for each
        seed, and the mean with its confidence interval.

    Raises:
        ConfigurationError: If there is no pair, no measurement holds the overall accuracy, or two
            are of the same row, column and seed.
    """
    if not pairs:
        raise ConfigurationError("pairs must hold at least one pair of rows, got none")
    columns = list(dict.fromkeys(m.column for m in measurements))
    values = fractions(measurements, "overall_accuracy")
    abreast = min(ABREAST, len(pairs))
    rows = math.ceil(len(pairs) / abreast)
    size = (2.2 + 3.2 * abreast, 0.5 + rows * (0.8 + 0.42 * len(columns)))
    drawn, panels = panel_grid(len(pairs), abreast, size, sharey=True)
    for axis, (first, second) in zip(panels, pairs, strict=True):
        axis.axvline(0, color="0.6", linewidth=1)
        for place, column in enumerate(columns):
            one, other = values.get((first, column), {}), values.get((second, column), {})
            seeds = sorted(one.keys() & other.keys())
            points = np.array([100 * (one[seed] - other[seed]) for seed in seeds])
            axis.plot(points, np.full(len(points), place), "o", color="0.6", markersize=3)
            test = paired(one, other)
            if not math.isnan(test.interval[0]):
                axis.plot(test.interval, (place, place), color="tab:blue", linewidth=2.5)
            if test.pairs:
                axis.plot(test.mean, place, "D", color="tab:blue", markersize=6)
        title = "\n".join(textwrap.wrap(f"{first} - {second}", 34))
        axis.set_title(title, fontsize=TITLE_FONT - 1)
        axis.set_xlabel("OA, points", fontsize=LEGEND_FONT)
        axis.set_yticks(range(len(columns)), columns, fontsize=LEGEND_FONT)
        axis.grid(axis="x", color="0.92")
        axis.set_axisbelow(True)
    panels[0].set_ylim(len(columns) - 0.5, -0.5)
    drawn.supxlabel(
        f"dots: seeds; diamond: mean; bar: its {100 * CONFIDENCE:.0f} % interval",
        fontsize=LEGEND_FONT,
        color="0.4",
    )
    return drawn
