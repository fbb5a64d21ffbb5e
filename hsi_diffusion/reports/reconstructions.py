"""How well a denoiser restores the scene at several timesteps (SpectralDiff, Figs. 9 to 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import spectral_angle
from hsi_diffusion.reports.figures import LEGEND_FONT, TITLE_FONT, panel_grid, show_image
from hsi_diffusion.reports.images import colour_limits, false_colour_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.scenes import SceneInfo

    Cube = NDArray[Any]

LINES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("$x_t$", {"color": "0.72", "linewidth": 0.7}),
    (r"restored $\hat{x}_0$", {"color": "#d55e00", "linewidth": 1.4}),
    ("$x_0$", {"color": "black", "linewidth": 1.0, "linestyle": (0, (4, 2))}),
)
"""Label and style of the three spectra; the clean one lies dashed over the restored one."""


def reconstruction_images(
    x0: Cube,
    noised: Mapping[int, Cube],
    restored: Mapping[int, Cube],
    info: SceneInfo,
    valid: NDArray[np.bool_] | None = None,
) -> Figure:
    """The clean, the noised and the restored image at several timesteps, in false colour.

    All are stretched alike, by the clean image's 2nd and 98th percentile. The title of each
    restored image holds its mean spectral angle to the clean one.

    Args:
        x0: Clean cube, shape (H, W, C), in the scene's units where C is the number of bands.
        noised: x_t for each timestep t, in the same units.
        restored: Prediction of x_0 for the same timesteps, likewise.
        info: The scene's facts.
        valid: Which pixels hold data, shape (H, W); the others are white. None: all.

    Raises:
        ConfigurationError: If timesteps or shapes don't agree.
    """
    timesteps = _check(x0, noised, restored)
    limits = colour_limits(x0, info, valid)
    clean = torch.from_numpy(np.array(x0, np.float64))
    height, width = x0.shape[:2]
    # a column is at least wide enough for its title
    panel_width = max(1.7, min(2.4, 2.4 * width / height))
    panel_height = panel_width * height / width
    columns = len(timesteps) + 1
    size = (columns * (panel_width + 0.1) + 0.3, 2 * (panel_height + 0.55))
    figure, axes = panel_grid(2 * columns, columns, size)
    above, below = axes[:columns], axes[columns:]
    show_image(above[0], false_colour_image(x0, info, limits, valid), "$x_0$")
    below[0].set_visible(False)
    for t, upper, lower in zip(timesteps, above[1:], below[1:], strict=True):
        show_image(upper, false_colour_image(noised[t], info, limits, valid), f"$x_t$, t = {t}")
        found = torch.from_numpy(np.array(restored[t], np.float64))
        angles = np.degrees(spectral_angle(clean, found).numpy())
        angle = float(angles.mean(where=True if valid is None else valid))
        title = f"restored $\\hat{{x}}_0$,\nspectral angle {angle:.1f}°"
        image = false_colour_image(restored[t], info, limits, valid)
        show_image(lower, image, title, font=LEGEND_FONT)
    return figure


def reconstruction_spectra(
    x0: Cube,
    noised: Mapping[int, Cube],
    restored: Mapping[int, Cube],
    pixels: Sequence[tuple[int, int]],
    info: SceneInfo,
    *,
    names: Sequence[str] | None = None,
) -> Figure:
    """Spectra of chosen pixels: clean, noised and restored, a row per pixel, a column per t.

    Args:
        x0: Clean cube, shape (H, W, C), in the scene's units where C is the number of bands.
        noised: x_t for each timestep t, in the same units.
        restored: Prediction of x_0 for the same timesteps, likewise.
        pixels: (row, column) of each pixel.
        info: The scene's facts; its wavelengths are the x axis where C is the number of bands.
        names: What each pixel is, such as its class; None gives its position.

    Raises:
        ConfigurationError: If timesteps or shapes don't agree, or a pixel lies outside.
    """
    timesteps = _check(x0, noised, restored)
    height, width, channels = x0.shape
    if not pixels:
        raise ConfigurationError("pixels must name at least one (row, column), got none")
    for row, column in pixels:
        if not (0 <= row < height and 0 <= column < width):
            raise ConfigurationError(
                f"pixels must lie in the image of {height} x {width}, got ({row}, {column})"
            )
    if names is None:
        names = [f"pixel ({row}, {column})" for row, column in pixels]
    axis_label, x, order = spectral_axis(channels, info)
    figure = Figure(
        figsize=(2.6 * len(timesteps) + 0.8, 1.9 * len(pixels) + 0.8), layout="constrained"
    )
    axes = figure.subplots(len(pixels), len(timesteps), sharex=True, sharey="row", squeeze=False)
    for row_axes, (row, column), name in zip(axes, pixels, names, strict=True):
        for axis, t in zip(row_axes, timesteps, strict=True):
            for cube, (label, style) in zip((noised[t], restored[t], x0), LINES, strict=True):
                axis.plot(x, cube[row, column, order], label=label, **style)
            axis.grid(color="0.9", linewidth=0.5)
            axis.tick_params(labelsize=8)
        # a spectrum drowned in noise must not flatten the clean one
        clean = x0[row, column]
        margin = max(0.3 * float(np.ptp(clean)), 1e-6)
        row_axes[0].set_ylim(clean.min() - margin, clean.max() + margin)
        row_axes[0].set_ylabel(name, fontsize=LEGEND_FONT)
    for axis, t in zip(axes[0], timesteps, strict=True):
        axis.set_title(f"t = {t}", fontsize=TITLE_FONT)
    figure.supxlabel(axis_label, fontsize=LEGEND_FONT)
    # of other channels than bands, such as components, nobody knows a unit
    units = " in the scene's units" if channels == info.bands else ""
    figure.supylabel(f"value{units}", fontsize=LEGEND_FONT)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=LEGEND_FONT
    )
    return figure


def spectral_axis(
    channels: int, info: SceneInfo
) -> tuple[str, NDArray[np.float64], NDArray[np.int64]]:
    """Label and values of the x axis, and the order of the channels along it."""
    if channels == info.bands and info.wavelengths is not None:
        wavelengths = np.array(info.wavelengths)
        order = np.argsort(wavelengths, kind="stable")
        return "wavelength in nm", wavelengths[order], order
    label = "band" if channels == info.bands else "component"
    return label, np.arange(channels, dtype=np.float64), np.arange(channels)


def _check(x0: Cube, noised: Mapping[int, Cube], restored: Mapping[int, Cube]) -> list[int]:
    """The timesteps in ascending order."""
    timesteps = sorted(noised)
    if not timesteps or timesteps != sorted(restored):
        raise ConfigurationError(
            f"noised and restored must hold the same timesteps, at least one, "
            f"got {timesteps} and {sorted(restored)}"
        )
    for name, cubes in (("noised", noised), ("restored", restored)):
        for t in timesteps:
            if cubes[t].shape != x0.shape:
                raise ConfigurationError(
                    f"{name}[{t}] must have the shape of x0, {x0.shape}, got {cubes[t].shape}"
                )
    return timesteps
