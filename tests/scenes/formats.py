"""Small images in files, as GDAL and sensors write them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HEIGHT, WIDTH, BANDS = 7, 6, 5
CUBE = np.random.default_rng(0).integers(1, 3000, (HEIGHT, WIDTH, BANDS)).astype(np.int16)
WAVES = (450.0, 550.0, 650.0, 850.0, 1600.0)
PLACE = (2.0, 0.0, 600000.0, 0.0, -2.0, 5300000.0)
ROWS, COLUMNS = slice(2, 6), slice(1, 5)
ENVI = """ENVI
samples = 6
lines = 7
bands = 5
data type = 2
interleave = {interleave}
byte order = 0
"""


@dataclass
class Labelled:
    """What is read of a DataArray, where xarray is not installed."""

    values: NDArray[Any]
    dims: tuple[str, ...] = ("y", "x", "band")
    coords: dict[str, Labelled] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return int(self.values.size)


def write_envi(folder: Path, cube: Any = CUBE, fields: str = "", interleave: str = "bil") -> Path:
    order = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave]
    (folder / "a.img").write_bytes(cube.transpose(order).astype("<i2").tobytes())
    (folder / "a.hdr").write_text(ENVI.format(interleave=interleave) + fields)
    return folder / "a.hdr"


def write_tiff(path: Path, cube: Any = CUBE, **profile: Any) -> Path:
    rasterio = pytest.importorskip("rasterio")
    place = profile.pop("transform", PLACE)
    options = {
        "crs": "EPSG:32632",
        "driver": "GTiff",
        "transform": rasterio.Affine(*place),
    } | profile
    height, width, bands = cube.shape
    with rasterio.open(
        path, "w", height=height, width=width, count=bands, dtype=cube.dtype, **options
    ) as file:
        file.write(cube.transpose(2, 0, 1))
    return path
