"""What files of maps say of their classes and coordinates, read by rasterio and the library."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.scenes import Georeference, open_raster
from hsi_diffusion.scenes.writers import ImageFacts, write_image

if TYPE_CHECKING:
    from pathlib import Path

rasterio = pytest.importorskip("rasterio")

DEGREES = (1e-4, 0.0, 11.5, 0.0, -1e-4, 48.1)
METRES = (10.0, 0.0, 4_400_000.0, 0.0, -10.0, 2_800_000.0)
IDS = np.array([[0, 1, 2], [2, 2, 1]])


def write(path: Path, ids: tuple[int, int], place: Georeference | None = None) -> Path:
    """A map of two classes of these numbers."""
    values = np.array([0, *ids], dtype=np.min_scalar_type(max(ids)))[IDS][:, :, None]
    facts = ImageFacts(
        shape=values.shape,
        dtype=values.dtype,
        georeference=place,
        class_names=dict(zip(ids, ("maize", "rye"), strict=True)),
        palette=dict(zip(ids, ((250, 0, 0), (0, 250, 0)), strict=True)),
    )
    write_image(path, facts, [(slice(0, 2), slice(0, 3), values)])
    return path


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4258", "EPSG:3035", "EPSG:25832", "EPSG:32733"])
@pytest.mark.parametrize("as_wkt", [False, True])
def test_an_envi_map_keeps_its_coordinate_system(crs: str, as_wkt: bool, tmp_path: Path) -> None:
    known = rasterio.crs.CRS.from_user_input(crs)
    place = DEGREES if known.is_geographic else METRES
    path = write(
        tmp_path / "map.hdr", (1, 2), Georeference(known.to_wkt() if as_wkt else crs, place)
    )
    own = open_raster(path, ndim=2).georeference
    assert own is not None
    assert own.transform == pytest.approx(place)
    assert own.crs is not None
    assert rasterio.crs.CRS.from_user_input(own.crs) == known
    with rasterio.open(path.with_suffix(".img")) as file:
        assert file.crs.is_geographic == known.is_geographic
        assert file.crs.to_epsg(confidence_threshold=25) == known.to_epsg()
    info = next(line for line in path.read_text().splitlines() if line.startswith("map info"))
    assert ("Geographic Lat/Lon" in info) == known.is_geographic
    assert ("WGS-84" in info) == (crs in ("EPSG:4326", "EPSG:32733"))


def test_a_coordinate_system_that_nobody_knows_is_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="can't say that its coordinates are those of EPSG:999999"):
        path = write(tmp_path / "map.hdr", (1, 2), Georeference("EPSG:999999", METRES))
    own = open_raster(path, ndim=2).georeference
    assert own == Georeference(None, METRES)


@pytest.mark.parametrize("ids", [(65_536, 3_301_010), (3_301_010_000, 3_301_110_200)])
def test_large_class_values_are_written_without_names_and_colours(
    ids: tuple[int, int], tmp_path: Path
) -> None:
    beside = write(tmp_path / "map.tif", (1, 2)).with_name("map.tif.aux.xml")
    assert beside.exists()
    place = Georeference("EPSG:3035", METRES)
    for name in ("map.tif", "map.hdr"):
        with pytest.warns(UserWarning, match=f"no names and colours .* {ids[1]}, is above 65535"):
            path = write(tmp_path / name, ids, place)
        found = open_raster(path, ndim=2)
        values, valid = found.read()
        assert_array_equal(np.where(valid, values[:, :, 0], 0), np.array([0, *ids])[IDS])
        assert not found.class_names
        assert path.stat().st_size < 5000
    assert not beside.exists(), "the names of the earlier map"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path / "map.npy", ids)


def test_overviews_of_a_map_hold_its_classes_alone(tmp_path: Path) -> None:
    values = np.random.default_rng(0).choice([70_001, 90_001], (600, 600, 1)).astype(np.uint32)
    facts = ImageFacts(shape=values.shape, dtype=values.dtype, class_names={90_001: "rye"})
    with pytest.warns(UserWarning, match="no names and colours"):
        write_image(tmp_path / "a.tif", facts, [(slice(0, 600), slice(0, 600), values)])
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= {70_001, 90_001}


TURNED = {
    "north-up": (10.0, 0.0, 0.0, -5.0),
    "south-up": (10.0, 0.0, 0.0, 5.0),
    "30 degrees": (8.660254037844387, 5.0, 5.0, -8.660254037844387),
    "-150 degrees": (-8.660254037844387, -5.0, -5.0, 8.660254037844387),
    "90 degrees, 10 x 5": (0.0, 5.0, 10.0, 0.0),
}


@pytest.mark.parametrize("name", TURNED)
def test_a_turned_envi_map_lies_where_gdal_sees_it(name: str, tmp_path: Path) -> None:
    a, b, d, e = TURNED[name]
    place = Georeference("EPSG:32632", (a, b, 600_000.0, d, e, 5_300_000.0))
    path = write(tmp_path / "map.hdr", (1, 2), place)
    own = open_raster(path, ndim=2).georeference
    assert own is not None
    assert_allclose(own.transform, place.transform, atol=1e-9)
    with rasterio.open(path.with_suffix(".img")) as file:
        assert_allclose(tuple(file.transform)[:6], place.transform, atol=1e-9)


@pytest.mark.parametrize(
    "turned",
    [
        (-10.0, 0.0, 0.0, 10.0),  # by 180 degrees, which GDAL takes for south-up
        (-10.0, 0.0, 0.0, -10.0),
        (10.0, 3.0, 0.0, -10.0),
        (8.660254037844387, 2.5, 5.0, -4.330127018922194),  # 10 x 5 by 30 degrees
    ],
)
def test_places_that_an_envi_header_cannot_hold(turned: tuple[float, ...], tmp_path: Path) -> None:
    a, b, d, e = turned
    with pytest.raises(ConfigurationError, match=r"can't hold the coordinates of .*write \.tif"):
        write(tmp_path / "map.hdr", (1, 2), Georeference("EPSG:32632", (a, b, 6e5, d, e, 5e6)))
