"""Lengths and areas of pixels, against what PROJ makes of their corners."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hsi_diffusion.scenes import Georeference
from hsi_diffusion.scenes.ground import pixel_sizes

warp = pytest.importorskip("rasterio.warp")

ESRI = (
    'PROJCS["WGS_1984_Web_Mercator_Auxiliary_Sphere",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",'
    'SPHEROID["WGS_1984",6378137.0,298.257223563]],PRIMEM["Greenwich",0.0],'
    'UNIT["Degree",0.0174532925199433]],PROJECTION["Mercator_Auxiliary_Sphere"],'
    'PARAMETER["False_Easting",0.0],PARAMETER["False_Northing",0.0],'
    'PARAMETER["Central_Meridian",0.0],PARAMETER["Standard_Parallel_1",0.0],'
    'PARAMETER["Auxiliary_Sphere_Type",0.0],UNIT["Meter",1.0]]'
)
ROWS = 4


@pytest.mark.parametrize("crs", ["EPSG:3857", "ESRI:102100", ESRI])
@pytest.mark.parametrize("northing", [0.0, 6_100_000.0, -8_400_000.0])
@pytest.mark.parametrize("turned", [False, True])
def test_pixels_of_web_mercator(crs: str, northing: float, turned: bool) -> None:
    side = 1000.0
    turn = np.deg2rad(30 if turned else 0)
    a, d = side * np.cos(turn), side * np.sin(turn)
    place = Georeference(crs, (a, d, 1_200_000.0, d, -a, northing))
    sizes = pixel_sizes(place, ROWS, 1)
    assert sizes is not None
    for row, (length, area) in enumerate(sizes.T):
        x, y = place.coordinates([row, row, row + 1, row + 1], [0, 1, 1, 0])
        middle = [float(value) for value in place.coordinates(row + 0.5, 0.5)]
        longitude, latitude = warp.transform("EPSG:3857", "EPSG:4326", [middle[0]], [middle[1]])
        local = f"+proj=laea +lat_0={latitude[0]} +lon_0={longitude[0]} +datum=WGS84"
        east, north = map(np.array, warp.transform("EPSG:3857", local, x, y))
        shoelace = 0.5 * abs(east @ np.roll(north, 1) - north @ np.roll(east, 1))
        assert_allclose(area, shoelace, rtol=2e-5)
        sides = np.hypot(np.diff(east), np.diff(north))
        assert_allclose(length, (sides[0] + sides[2]) / 2, rtol=2e-5)


def test_other_metres_and_no_unit() -> None:
    place = Georeference("EPSG:32632", (10.0, 0.0, 6e5, 0.0, -20.0, 5.3e6))
    sizes = pixel_sizes(place, 3, 2)
    assert sizes is not None
    assert_allclose(sizes, np.array([[10.0] * 3, [200.0] * 3]))
    unknown = Georeference('LOCAL_CS["x",UNIT["metre",1]]', place.transform)
    assert pixel_sizes(unknown, 3, 2) is None
