"""Labelled arrays, as xarray and rioxarray hold images in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hsi_diffusion.scenes import Georeference, open_raster
from tests.scenes.formats import CUBE, HEIGHT, PLACE, WIDTH, Labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

X, Y = 600001.0 + 2 * np.arange(WIDTH), 5299999.0 - 2 * np.arange(HEIGHT)


def image(
    x: NDArray[Any] | None, y: NDArray[Any] | None, transform: tuple[float, ...] | None = PLACE
) -> Labelled:
    """An image of these columns and rows, with the transform that rioxarray stored of the whole."""
    mapping = {"crs_wkt": "EPSG:32632"}
    if transform is not None:
        a, b, c, d, e, f = transform
        mapping["GeoTransform"] = " ".join(map(str, (c, a, b, f, d, e)))
    coords = {"spatial_ref": Labelled(np.array(0), (), attrs=mapping)}
    coords |= {
        name: Labelled(one, (name,)) for name, one in (("x", x), ("y", y)) if one is not None
    }
    shape = HEIGHT if y is None else len(y), WIDTH if x is None else len(x)
    return Labelled(CUBE[: shape[0], : shape[1]], coords=coords)


@pytest.mark.parametrize(
    ("columns", "rows", "transform"),
    [
        (slice(None), slice(None), PLACE),
        (slice(2, None), slice(1, 6), (2, 0, PLACE[2] + 4, 0, -2, PLACE[5] - 2)),
        (slice(None, None, 2), slice(None), (4, 0, PLACE[2] - 1, 0, -2, PLACE[5])),
        (slice(None), slice(None, None, -1), (2, 0, PLACE[2], 0, 2, PLACE[5] - 2 * HEIGHT)),
        # the step of a single row comes from the stored transform
        (slice(1, None), slice(3, 4), (2, 0, PLACE[2] + 2, 0, -2, PLACE[5] - 6)),
    ],
)
def test_an_array_that_was_cut_or_turned_lies_where_its_coordinates_are(
    columns: slice, rows: slice, transform: tuple[float, ...]
) -> None:
    found = open_raster(image(X[columns], Y[rows])).georeference
    assert found is not None
    assert found.crs == "EPSG:32632"
    assert_allclose(found.transform, transform)


def test_the_stored_transform_counts_where_no_coordinates_tell() -> None:
    turned = (1.0, 1.0, 6e5, 1.0, -1.0, 5.3e6)
    assert open_raster(image(X, Y, turned)).georeference == Georeference("EPSG:32632", turned)
    for x, y in ((None, None), (X, None)):
        assert open_raster(image(x, y)).georeference == Georeference("EPSG:32632", PLACE)
    assert open_raster(image(None, None, None)).georeference is None
    assert open_raster(image(X[:1], Y, None)).georeference is None


def test_coordinates_may_be_rounded_but_not_uneven() -> None:
    degrees = (11.5 + 5e-4 * np.arange(WIDTH)).astype(np.float32)
    found = open_raster(image(degrees, Y, None)).georeference
    assert found is not None
    assert found.transform[0] == pytest.approx(5e-4, rel=0.01)
    # neither the coordinates nor the transform of the whole image tell where such columns lie
    assert open_raster(image(X[[0, 1, 3]], Y)).georeference is None


def test_a_real_data_array_is_cut_and_turned() -> None:
    xarray = pytest.importorskip("xarray")
    mapping = {"GeoTransform": "600000 2 0 5300000 0 -2", "crs_wkt": "EPSG:32632"}
    coords = {"x": X, "y": Y, "spatial_ref": ((), 0, mapping)}
    array = xarray.DataArray(CUBE, dims=("y", "x", "band"), coords=coords)
    part = open_raster(array.isel(x=slice(2, None)).sortby("y"))
    assert_array_equal(part.read()[0], CUBE[::-1, 2:])
    place = (2.0, 0.0, PLACE[2] + 4, 0.0, 2.0, PLACE[5] - 2 * HEIGHT)
    assert part.georeference == Georeference("EPSG:32632", place)
