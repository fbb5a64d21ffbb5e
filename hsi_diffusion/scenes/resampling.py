"""Bands of one sensor as another one would measure them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.raster import Raster
from hsi_diffusion.scenes.scene import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

SIGMA = 1 / np.sqrt(8 * np.log(2))
"""Standard deviation of a Gaussian whose full width at half maximum is 1."""


def resample_bands(
    image: Raster, wavelengths: Sequence[float], fwhm: Sequence[float] | None = None
) -> Raster:
    """Resample the bands of an image to other wavelengths, as for images of two sensors.

    Each new band is the mean of the spectrum, straight between the old band centres, under a
    Gaussian response. An old band has blurred the spectrum already by a Gaussian of its own width,
    so that only what is missing to the new width is added: an image on its own wavelengths stays as
    it is. Widths that are not known are taken to be the distance to the nearer neighbouring band:
    the other one may lie beyond a gap, where bands were removed.

    Args:
        image: The image; its wavelengths must be known.
        wavelengths: Centres of the new bands in nm.
        fwhm: Their full widths at half maximum in nm; None: their spacing.

    Returns:
        The image with float32 values, still read in windows.

    Raises:
        SceneError: The image has no wavelengths, or some new centres lie outside of them.
    """
    if image.wavelengths is None:
        raise SceneError(
            f"{image.path} has no wavelengths, so its bands can't be resampled; give them "
            "(--wavelengths)"
        )
    weights = response(image.wavelengths, image.fwhm, wavelengths, fwhm).T.astype(np.float32)

    def window(rows: slice, columns: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        values, valid = image.read(rows, columns)
        found = values.reshape(-1, image.bands).astype(np.float32, copy=False) @ weights
        return found.reshape(*valid.shape, -1), valid

    return Raster(
        image.path,
        image.height,
        image.width,
        len(wavelengths),
        np.dtype(np.float32),
        window,
        wavelengths=tuple(wavelengths),
        fwhm=None if fwhm is None else tuple(fwhm),
        georeference=image.georeference,
        sensor=image.sensor,
        held=image.bytes_per_pixel + 4 * image.bands,
    )


def response(
    old: ArrayLike, old_fwhm: ArrayLike | None, new: ArrayLike, new_fwhm: ArrayLike | None
) -> NDArray[np.float64]:
    """Weights of old bands in new ones, shape (new, old), rows of sum 1; all in nm."""
    centres, wanted = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    order = np.argsort(centres, kind="stable")
    nodes = centres[order]
    if len(outside := wanted[(wanted < nodes[0]) | (wanted > nodes[-1])]):
        raise SceneError(
            f"the image's bands lie between {nodes[0]:g} and {nodes[-1]:g} nm, and can't be "
            f"resampled to {shorten(outside.tolist())} nm: leave these bands out"
        )
    widths = np.interp(wanted, nodes, _widths(centres, old_fwhm)[order])
    added = np.sqrt(np.maximum(_widths(wanted, new_fwhm) ** 2 - widths**2, 0))
    sigma = np.maximum(SIGMA * added, 1e-9)[:, None]  # straight between two bands
    places = (nodes - wanted[:, None]) / sigma
    # integrals of the Gaussian, and of it times the wavelength, between neighbouring nodes
    areas = np.diff(ndtr(places), axis=1)
    density = np.exp(-0.5 * places**2) / np.sqrt(2 * np.pi)
    moments = wanted[:, None] * areas - sigma * np.diff(density, axis=1)
    step = np.diff(nodes)
    step[step == 0] = np.inf  # two bands at one wavelength
    after = (moments - nodes[:-1] * areas) / step
    found = np.zeros((len(wanted), len(nodes)))
    found[:, 1:] += after
    found[:, :-1] += areas - after
    weights = np.empty_like(found)
    weights[:, order] = found / found.sum(axis=1, keepdims=True)
    return weights


def _widths(centres: NDArray[np.float64], fwhm: ArrayLike | None) -> NDArray[np.float64]:
    if fwhm is not None:
        return np.asarray(fwhm, dtype=np.float64)
    if len(centres) == 1:
        return np.zeros(1)
    order = np.argsort(centres, kind="stable")
    widths = np.empty_like(centres)
    step = np.diff(centres[order])
    widths[order] = np.minimum(np.append(step, step[-1]), np.insert(step, 0, step[0]))
    return widths
