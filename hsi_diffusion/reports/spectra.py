"""Figures of cubes by class: spectra with their spread, features by timestep, an embedding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.reports.comparison import fractions
from hsi_diffusion.reports.figures import (
    LEGEND_FONT,
    TITLE_FONT,
    image_page,
    panel_grid,
    show_image,
)
from hsi_diffusion.reports.images import class_colours
from hsi_diffusion.reports.reconstructions import spectral_axis
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from hsi_diffusion.reports.comparison import Measurement
    from hsi_diffusion.scenes import SceneInfo

BAND = (16, 50, 84)
"""Percentiles that are drawn: the median, and one standard deviation of a normal distribution."""


def class_spectra(cube: NDArray[Any], labels: NDArray[Any], info: SceneInfo) -> Figure:
    """Spectra of each class: the median, and the middle 68 % of its pixels.

    Args:
        cube: Bands or features, shape (H, W, C).
        labels: Label map, shape (H, W), 0 = unlabelled.
        info: The scene's facts; its wavelengths are the x axis where C is the number of bands.

    Returns:
        A panel for each class that is there; the medians of all others are grey behind it.

    Raises:
        SceneError: The shapes differ, or nothing is labelled.
    """
    _check(cube, labels)
    spectra = {
        name: np.percentile(cube[labels == number], BAND, axis=0)
        for number, name in enumerate(info.class_names, start=1)
        if (labels == number).any()
    }
    label, x, order = spectral_axis(cube.shape[2], info)
    columns = min(4, len(spectra))
    size = (2.6 * columns + 0.5, 2.0 * math.ceil(len(spectra) / columns) + 0.5)
    figure, axes = panel_grid(len(spectra), columns, size, sharex=True, sharey=True)
    colours = class_colours(info, ())
    for axis, (name, (low, median, high)) in zip(axes, spectra.items(), strict=True):
        for other in spectra.values():
            axis.plot(x, other[1][order], color="0.85", linewidth=0.6)
        axis.fill_between(x, low[order], high[order], color=colours[name], alpha=0.35, linewidth=0)
        axis.plot(x, median[order], color=colours[name], linewidth=1.5)
        axis.set_title(name, fontsize=LEGEND_FONT)
        axis.tick_params(labelsize=7)
    figure.supxlabel(label, fontsize=LEGEND_FONT)
    return figure


def feature_maps(cubes: Mapping[str, NDArray[Any]], channels: int = 1) -> Figure:
    """Channels of several cubes as grey pictures, such as features of each timestep.

    Args:
        cubes: For each title, such as ``"t = 100"``, a cube of shape (H, W, C).
        channels: How many of its first channels are shown; of reduced features these are the
            largest principal components.

    Returns:
        A row for each channel, a column for each cube, each stretched from its 2nd to its 98th
        percentile.

    Raises:
        ConfigurationError: There is no cube, the sizes differ, or one has fewer channels.
    """
    shapes = {cube.shape[:2] for cube in cubes.values()}
    if len(shapes) != 1 or min(cube.shape[2] for cube in cubes.values()) < channels:
        raise ConfigurationError(
            f"cubes must hold at least one cube, all of one height and width and of at least "
            f"channels={channels} channels, got {[cube.shape for cube in cubes.values()]}"
        )
    (shape,) = shapes
    height = 2.2 * shape[0] / shape[1]
    size = (2.3 * len(cubes), (height + 0.3) * channels)
    figure, axes = panel_grid(channels * len(cubes), len(cubes), size)
    shown = [(row, name) for row in range(channels) for name in cubes]
    for axis, (row, name) in zip(axes, shown, strict=True):
        image = cubes[name][..., row]
        low, high = np.percentile(image, (2, 98))
        title = f"{name}, channel {row}"
        show_image(axis, image, title, font=LEGEND_FONT, cmap="gray", vmin=low, vmax=high)
    return figure


def embedding(
    cubes: Mapping[str, NDArray[Any]],
    labels: NDArray[Any],
    info: SceneInfo,
    *,
    pixels: int = 1000,
    seed: int = 0,
) -> Figure:
    """Labelled pixels in a plane that keeps neighbours together (t-SNE), coloured by class.

    Distances between clusters, and their sizes, mean nothing in such a plane.

    Args:
        cubes: For each title, such as ``"bands"`` and ``"features"``, a cube of shape (H, W, C).
        labels: Label map, shape (H, W), 0 = unlabelled.
        info: The scene's facts.
        pixels: Largest number of pixels, drawn at random; the same in all panels.
        seed: Names the draw and t-SNE's start.

    Raises:
        SceneError: The shapes differ, or fewer than ten pixels are labelled.
    """
    # a second to load, for nobody else
    from sklearn.manifold import TSNE  # noqa: PLC0415

    for cube in cubes.values():
        _check(cube, labels)
    known = np.flatnonzero(labels)
    if len(known) < 10:
        raise SceneError(f"labels must hold at least ten labelled pixels, got {len(known)}")
    rng = np.random.default_rng(stable_seed("embedding", seed))
    drawn = rng.permutation(known)[:pixels]
    shown = labels.ravel()[drawn]
    colours = class_colours(info, ())
    legend = {name: colours[name] for name in (info.class_names[k - 1] for k in np.unique(shown))}
    figure, axes = image_page(len(cubes), (1, 1), legend)
    for axis, (name, cube) in zip(axes, cubes.items(), strict=True):
        points = np.asarray(cube, np.float32).reshape(-1, cube.shape[2])[drawn]
        plane = TSNE(
            perplexity=min(30, len(drawn) / 4), init="pca", random_state=seed
        ).fit_transform(points)
        own = np.array(info.palette)[shown - 1] / 255
        axis.scatter(plane[:, 0], plane[:, 1], c=own, s=9, linewidths=0)
        axis.set_title(name, fontsize=TITLE_FONT)
        axis.set_aspect("equal", adjustable="datalim")
    return figure


def learning_curves(measurements: Sequence[Measurement]) -> Figure:
    """How the overall accuracy grows with the labels: mean and standard deviation over the seeds.

    Args:
        measurements: Their columns end in the labels per class, as ``"10"`` or ``"salinas, 10"``.

    Raises:
        ConfigurationError: A column ends in no number, or nothing holds the overall accuracy.
    """
    values = fractions(measurements, "overall_accuracy")
    drawn, (axis,) = panel_grid(1, 1, (5.5, 3.8))
    curves: dict[str, dict[float, list[float]]] = {}
    for (row, column), seeds in values.items():
        try:
            labels = float(column.replace(",", " ").split()[-1])
        except ValueError as error:
            raise ConfigurationError(
                f"columns must end in the labels per class, such as 10, got {column!r}"
            ) from error
        curves.setdefault(row, {})[labels] = [100 * value for value in seeds.values()]
    for (row, curve), marker in zip(sorted(curves.items()), "osD^vP*X<>hd" * 9, strict=False):
        x = sorted(curve)
        spread = [float(np.std(curve[n], ddof=1)) if len(curve[n]) > 1 else 0.0 for n in x]
        axis.errorbar(
            x, [np.mean(curve[n]) for n in x], spread, label=row, marker=marker, capsize=2
        )
    axis.set_xlabel("labelled pixels per class", fontsize=LEGEND_FONT)
    axis.set_ylabel("OA, percent", fontsize=LEGEND_FONT)
    axis.set_xticks(sorted({n for curve in curves.values() for n in curve}))
    axis.grid(color="0.92")
    axis.legend(frameon=False, fontsize=LEGEND_FONT)
    return drawn


def _check(cube: NDArray[Any], labels: NDArray[Any]) -> None:
    if cube.shape[:2] != labels.shape or not labels.any():
        raise SceneError(
            f"labels must hold labelled pixels and cover the cube, {cube.shape[:2]}, got "
            f"{labels.shape} with {int((labels > 0).sum())} labelled"
        )
