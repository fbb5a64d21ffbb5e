"""Labels as polygons and points, as people draw them: blank cells, other spellings, overlaps."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hsi_diffusion.errors import FileFormatError, SceneError
from hsi_diffusion.scenes import (
    Georeference,
    Raster,
    load_custom_scene,
    open_raster,
    read_labels,
)
from tests.scenes.formats import CUBE, HEIGHT, PLACE, WIDTH, write_tiff

if TYPE_CHECKING:
    from pathlib import Path

LEFT, TOP = PLACE[2], PLACE[5]


def write_polygons(
    path: Path, classes: list[Any], columns: list[tuple[int, int]], crs: str | None = "EPSG:32632"
) -> Path:
    """A polygon over all rows of some columns of the image for each class."""
    geopandas, shapely = (pytest.importorskip(name) for name in ("geopandas", "shapely"))
    shapes = [
        shapely.box(LEFT + 2 * first, TOP - 2 * HEIGHT, LEFT + 2 * last, TOP)
        for first, last in columns
    ]
    geopandas.GeoDataFrame({"class": classes}, geometry=shapes, crs=crs).to_file(path)
    return path


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_points_without_a_class_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", "row,column,class\n0,0,10\n1,1,2\n3,3,\n4,4,  \n2,2\n,,\n")
    with pytest.warns(UserWarning, match="4 of 6 shapes or points have no class in column 'class'"):
        found = read_labels(path, open_raster(CUBE))
    assert found.names == {}
    assert found.values[0, 0] == 10
    assert found.values[1, 1] == 2
    assert np.count_nonzero(found.values) == 2


def test_a_file_without_any_class_and_a_row_that_is_too_long_are_refused(tmp_path: Path) -> None:
    image = open_raster(CUBE)
    path = write_csv(tmp_path / "p.csv", "row,column,class\n0,0,\n1,1\n")
    with pytest.raises(SceneError, match="all of its 2 cells are empty; give another label_attri"):
        read_labels(path, image)
    write_csv(path, "row,column,class\n0,0,soil\n1,1,wheat, winter\n")
    with pytest.raises(
        FileFormatError, match=r"must have 3 cells, .*: +winter; .* quotation marks"
    ):
        read_labels(path, image)
    write_csv(path, "row,column,class\n0,0,soil,\n1,1,wheat,\n")
    assert read_labels(path, image).names == {1: "soil", 2: "wheat"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_programs_write_them(encoding: str, tmp_path: Path) -> None:
    text = "row\tcolumn\tclass\r\n0\t0\tGrünland\r\n1\t1\tÖdland\r\n"
    (tmp_path / "p.csv").write_bytes(text.encode(encoding))
    found = read_labels(tmp_path / "p.csv", open_raster(CUBE))
    assert found.names == {1: "Grünland", 2: "Ödland"}
    assert (found.values[0, 0], found.values[1, 1]) == (1, 2)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes("row,column,class\n0,0,Grünland\n".encode("cp1252"))
    with pytest.raises(FileFormatError, match=r"p\.csv must be text in UTF-8.*'CSV UTF-8"):
        read_labels(tmp_path / "p.csv", open_raster(CUBE))


def test_a_table_without_shapes_is_refused(tmp_path: Path) -> None:
    pyogrio, pandas = (pytest.importorskip(name) for name in ("pyogrio", "pandas"))
    path = tmp_path / "table.gpkg"
    pyogrio.write_dataframe(pandas.DataFrame({"class": [1, 2], "geometry": ["a", "b"]}), path)
    with pytest.raises(FileFormatError, match=r"table\.gpkg must hold polygons .* class, geometry"):
        read_labels(path, open_raster(write_tiff(tmp_path / "a.tif")))


@pytest.mark.parametrize("classes", [["10", "", "2"], ["10", " ", "2"], [10, None, 2]])
def test_polygons_without_a_class_are_left_out_with_a_warning(
    classes: list[Any], tmp_path: Path
) -> None:
    path = write_polygons(tmp_path / "a.gpkg", classes, [(0, 2), (2, 4), (4, 5)])
    with pytest.warns(UserWarning, match="1 of 3 shapes or points have no class"):
        found = read_labels(path, open_raster(write_tiff(tmp_path / "a.tif")))
    assert found.names == {}
    assert_array_equal(found.values, [[10, 10, 0, 0, 2, 0]] * HEIGHT)


def test_spellings_of_a_class(tmp_path: Path) -> None:
    image = open_raster(write_tiff(tmp_path / "a.tif"))
    path = write_polygons(tmp_path / "a.gpkg", ["soil", "soil ", " rye"], [(0, 2), (2, 4), (4, 5)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_labels(path, image)
    assert found.names == {1: "rye", 2: "soil"}
    assert_array_equal(found.values, [[2, 2, 2, 2, 1, 0]] * HEIGHT)
    write_polygons(path, ["maize", "Maize", "rye"], [(0, 2), (2, 4), (4, 5)])
    with pytest.warns(UserWarning, match="'Maize' and 'maize' are 2 classes; if they are one, spe"):
        assert read_labels(path, image).names == {1: "Maize", 2: "maize", 3: "rye"}


@pytest.mark.parametrize("order", [["A", "B", "A"], ["B", "A", "A"], ["A", "A", "B"]])
def test_pixels_of_two_classes_are_unlabelled_whatever_is_drawn_last(
    order: list[str], tmp_path: Path
) -> None:
    columns = {"A": iter([(0, 3), (2, 5)]), "B": iter([(2, 4)])}
    path = write_polygons(tmp_path / "a.gpkg", order, [next(columns[name]) for name in order])
    with pytest.warns(UserWarning, match=f"{2 * HEIGHT} pixels lie in polygons of two classes"):
        found = read_labels(path, open_raster(write_tiff(tmp_path / "a.tif")))
    assert_array_equal(found.values, [[1, 1, 0, 0, 1, 0]] * HEIGHT)
    assert found.polygons is not None
    second = max(place for place, name in enumerate(order, 1) if name == "A")
    assert_array_equal(found.polygons[:, 4], second)


def test_a_missing_coordinate_system_is_told(tmp_path: Path) -> None:
    image = open_raster(write_tiff(tmp_path / "a.tif"))
    path = write_polygons(tmp_path / "nocrs.shp", ["a"], [(0, 2)], crs=None)
    with pytest.warns(
        UserWarning, match=r"nocrs.shp names no coordinate system; that of .*a.tif \(EPSG:32632\)"
    ):
        found = read_labels(path, image)
    assert_array_equal(found.values, [[1, 1, 0, 0, 0, 0]] * HEIGHT)
    unnamed = Raster.of(CUBE, georeference=Georeference(None, PLACE))
    path = write_polygons(tmp_path / "crs.shp", ["a"], [(0, WIDTH)])
    with pytest.warns(UserWarning, match=r"array names no .* that of .*crs.shp \(EPSG:32632\)"):
        assert read_labels(path, unnamed).values.all()


def test_names_of_the_file_are_never_replaced_by_position(tmp_path: Path) -> None:
    image = write_tiff(tmp_path / "image.tif")
    labels = write_polygons(tmp_path / "fields.gpkg", ["wheat", "maize"], [(0, 2), (3, 5)])
    scene = load_custom_scene(image, labels, label_attribute="class")
    assert scene.info.class_names == ("maize", "wheat"), "numbered in alphabetical order"
    with pytest.raises(SceneError, match=r"the label file names its classes: .*maize"):
        load_custom_scene(
            image, labels, label_attribute="class", class_names=["grain", "sweet corn"]
        )


def test_class_0_is_unlabelled(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", "row,column,class,name\n0,0,0,none\n1,1,2,soil\n")
    found = read_labels(path, open_raster(CUBE))
    assert found.names == {2: "soil"}
    assert np.count_nonzero(found.values) == 1
    write_csv(path, "row,column,class\n0,0,0\n")
    with pytest.raises(SceneError, match=r"numbers from 1 \(0 is unlabelled\), got 0"):
        read_labels(path, open_raster(CUBE))
    path = write_polygons(tmp_path / "a.gpkg", [0, 3], [(0, 4), (2, 5)])
    found = read_labels(path, open_raster(write_tiff(tmp_path / "a.tif")))
    assert_array_equal(found.values, [[0, 0, 3, 3, 3, 0]] * HEIGHT)
    assert found.polygons is not None
    assert_array_equal(found.polygons > 0, found.values > 0)


def test_polygons_of_a_mask_need_no_class_beside_labels(tmp_path: Path) -> None:
    image = write_tiff(tmp_path / "a.tif")
    mask = write_polygons(tmp_path / "mask.gpkg", [None, "b"], [(0, 2), (2, 3)])
    test = np.zeros((HEIGHT, WIDTH), dtype=int)
    test[:, 5] = 1
    labels = np.ones_like(test)
    scene = load_custom_scene(image, labels, train_labels=mask, test_labels=test)
    assert_array_equal(scene.fixed_train, [[True] * 3 + [False] * 3] * HEIGHT)


def test_points_beyond_the_earth_are_refused(tmp_path: Path) -> None:
    image = open_raster(write_tiff(tmp_path / "a.tif"))
    path = write_csv(tmp_path / "p.csv", "lat,lon,class\n116.4,39.9,soil\n")
    with pytest.raises(SceneError, match=r"points of .*p\.csv can't be told .* may be swapped"):
        read_labels(path, image)
