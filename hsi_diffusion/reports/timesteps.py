"""Which timesteps a gate chose: a table over scene and classes, and a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.figures import LEGEND_FONT, TITLE_FONT, image_page, show_image
from hsi_diffusion.reports.tables import NOTHING, TextTable, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from hsi_diffusion.reports.figures import Colour

KEPT_COLOUR = "0.8"
"""Colour of the bars behind the weights."""


def timestep_table(
    weights: NDArray[Any],
    timesteps: Sequence[int],
    labels: NDArray[Any] | None = None,
    class_names: Sequence[str] = (),
) -> TextTable:
    """Mean weight of every timestep, and the share of the pixels that keep it, in percent.

    Args:
        weights: Shape (H, W, T), of sum 1 over T, as a
            :class:`~hsi_diffusion.networks.TimestepGate` gives them in evaluation; 0 where a
            pixel does not keep a timestep.
        timesteps: T steps of the noise schedule.
        labels: Shape (H, W), 0 = unlabelled, classes 1..K; None: the whole scene only.
        class_names: K names.

    Returns:
        A row for the whole scene and one for each class; a column per timestep with the mean
        weight, and where not every pixel keeps every timestep, another with the share that does.

    Raises:
        ConfigurationError: If shapes or values don't fit together.
    """
    _check(weights, timesteps)
    rows = [("whole scene", np.ones(weights.shape[:2], dtype=bool))]
    if labels is not None:
        if labels.shape != weights.shape[:2]:
            raise ConfigurationError(
                f"labels must cover the pixels of the weights, {weights.shape[:2]}, got "
                f"{labels.shape}"
            )
        if labels.max() > len(class_names):
            raise ConfigurationError(
                f"class_names must name {labels.max()} classes, got {len(class_names)}"
            )
        rows += [(name, labels == label) for label, name in enumerate(class_names, start=1)]
    header = ["pixels", *(f"weight t = {t}" for t in timesteps)]
    chosen = bool((weights == 0).any())
    if chosen:
        header += [f"kept t = {t}" for t in timesteps]

    def cells(mask: NDArray[np.bool_]) -> list[str]:
        if not mask.any():
            return [NOTHING] * (len(header) - 1)
        found = weights[mask]
        shares = [*found.mean(axis=0), *((found > 0).mean(axis=0) if chosen else ())]
        return [percent(share) for share in shares]

    return TextTable(tuple(header), tuple((name, *cells(mask)) for name, mask in rows))


def timestep_map(weights: NDArray[Any], timesteps: Sequence[int]) -> Figure:
    """The timestep of the largest weight at every pixel, and how much weight each one has.

    Args:
        weights: As for :func:`timestep_table`.
        timesteps: T steps of the noise schedule.

    Returns:
        A figure of two panels: the map, dark for the smallest timestep to light for the largest,
        and bars of the mean weights, in front of grey bars of the pixels that keep a timestep.

    Raises:
        ConfigurationError: If shapes or values don't fit together.
    """
    _check(weights, timesteps)
    # from dark to light, so that the order of the timesteps can be seen
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.95, len(timesteps)))
    colours = {t: tuple(shade[:3]) for t, shade in zip(sorted(timesteps), shades, strict=True)}
    legend = {f"t = {t}": colour for t, colour in colours.items()}
    figure, (image, bars) = image_page(2, weights.shape[:2], legend)
    shown = np.array([colours[t] for t in timesteps])[weights.argmax(axis=2)]
    show_image(image, shown, "Timestep of largest weight")
    _draw_bars(bars, weights, list(timesteps), colours)
    return figure


def _draw_bars(
    axis: Axes, weights: NDArray[Any], timesteps: list[int], colours: dict[int, Colour]
) -> None:
    order = np.argsort(timesteps)
    places = range(len(timesteps))
    title = "Mean weight"
    if (weights == 0).any():
        kept = 100 * (weights > 0).mean(axis=(0, 1))[order]
        axis.bar(places, kept, width=0.9, color=KEPT_COLOUR)
        title += "\n(grey: pixels that keep it)"
    bars = axis.bar(
        places,
        100 * weights.mean(axis=(0, 1))[order],
        width=0.6,
        color=[colours[timesteps[place]] for place in order],
        edgecolor="0.4",
        linewidth=0.5,
    )
    axis.bar_label(bars, fmt="%.0f", fontsize=8, padding=1)
    axis.set_title(title, fontsize=TITLE_FONT)
    axis.set_xticks(places, [str(timesteps[place]) for place in order])
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_xlabel("timestep", fontsize=LEGEND_FONT)
    axis.set_ylabel("percent", fontsize=LEGEND_FONT)
    axis.tick_params(labelsize=8)
    axis.margins(y=0.12)
    axis.spines[["top", "right"]].set_visible(False)


def _check(weights: NDArray[Any], timesteps: Sequence[int]) -> None:
    if weights.ndim != 3 or weights.shape[2] != len(timesteps) or weights.size == 0:
        raise ConfigurationError(
            f"weights must be (H, W, {len(timesteps)}), one per timestep {list(timesteps)}, got "
            f"shape {weights.shape}"
        )
    if weights.min() < 0 or not np.allclose(weights.sum(axis=2), 1, atol=1e-3):
        raise ConfigurationError("weights must be at least 0 and of sum 1 over the timesteps")
