"""Where the pixels of an image lie on the ground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Georeference:
    """Coordinates of an image's pixels.

    Attributes:
        crs: Coordinate reference system as WKT, or "EPSG:32632"; None: coordinates without a known
            system.
        transform: (a, b, c, d, e, f) as in rasterio: the corner of a pixel towards row and column 0
            lies at x = a * column + b * row + c, y = d * column + e * row + f.

    Raises:
        SceneError: The transform is not six finite numbers, or can't be inverted.
    """

    crs: str | None
    transform: tuple[float, float, float, float, float, float]

    def __post_init__(self) -> None:
        """Refuse a transform that maps an area onto none."""
        values = tuple(map(float, self.transform))
        if len(values) != 6 or not all(map(math.isfinite, values)) or self.pixel_area == 0:
            raise SceneError(
                "transform must hold the six numbers (a, b, c, d, e, f) of an affine map that can "
                f"be inverted, got {self.transform}"
            )
        object.__setattr__(self, "transform", values)

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in squared units of the coordinates."""
        a, b, _, d, e, _ = self.transform
        return abs(a * e - b * d)

    def coordinates(self, rows: ArrayLike, columns: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """X and y of places in the image; the centre of pixel (0, 0) is row 0.5, column 0.5."""
        a, b, c, d, e, f = self.transform
        rows, columns = np.asarray(rows, dtype=np.float64), np.asarray(columns, dtype=np.float64)
        return a * columns + b * rows + c, d * columns + e * rows + f

    def places(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows and columns of coordinates, as :meth:`coordinates` counts them."""
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(x, dtype=np.float64) - c, np.asarray(y, dtype=np.float64) - f
        scale = a * e - b * d
        return (a * y - d * x) / scale, (e * x - b * y) / scale
