"""Lengths and areas on the ground of an image's pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.scenes.gdal import require_rasterio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.scenes.georeference import Georeference

AXIS, FLATTENING = 6378137.0, 1 / 298.257223563
"""Semi-major axis in metres and flattening of WGS 84."""

WEB_MERCATOR = {"proj": "merc", "nadgrids": "@null"}
"""How PROJ tells Web Mercator, whose codes and names are several."""


def pixel_sizes(place: Georeference | None, height: int, width: int) -> NDArray[np.float64] | None:
    """Length and area of the pixels of each row.

    Where coordinates are degrees, a degree is as long as at the middle of the row on WGS 84. So is
    a metre of Web Mercator, which is one at the equator alone.

    Returns:
        Width of a pixel in metres, and its area in square metres, shape (2, H); None where the
        units of the coordinates are unknown.

    Raises:
        MissingDependencyError: rasterio is not there to understand the coordinate system.
    """
    if place is None or place.crs is None:
        return None
    crs = require_rasterio("the area of a pixel").crs.CRS.from_user_input(place.crs)
    a, _, _, d, _, _ = place.transform
    mercator = crs.is_projected and WEB_MERCATOR.items() <= crs.to_dict().items()
    if crs.is_projected and not mercator:
        unit = float(crs.linear_units_factor[1])
        sizes = np.array([[math.hypot(a, d) * unit], [place.pixel_area * unit**2]])
        return np.repeat(sizes, height, axis=1)
    if not crs.is_geographic and not mercator:
        return None
    _, y = place.coordinates(np.arange(height) + 0.5, width / 2)
    angle = np.arctan(np.sinh(y / AXIS)) if mercator else np.deg2rad(y)
    squared = FLATTENING * (2 - FLATTENING)
    waist = 1 - squared * np.sin(angle) ** 2
    # metres on the ground in one of longitude and latitude, first in radians
    east = AXIS * np.cos(angle) / np.sqrt(waist)
    north = AXIS * (1 - squared) / waist**1.5
    if mercator:
        east, north = east / AXIS, north * np.cos(angle) / AXIS
    else:
        east, north = np.deg2rad(east), np.deg2rad(north)
    return np.stack([np.hypot(a * east, d * north), place.pixel_area * east * north])
