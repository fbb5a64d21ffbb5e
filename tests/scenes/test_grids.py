"""Label rasters that are larger than the image."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.io import savemat

from hsi_diffusion.errors import FileFormatError, SceneError
from hsi_diffusion.scenes import Georeference, Raster, open_raster, read_labels
from tests.scenes.formats import CUBE, ENVI, HEIGHT, PLACE, WIDTH, write_tiff

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGE = Raster.of(CUBE, georeference=Georeference("EPSG:32632", PLACE))
COUNTRY = np.random.default_rng(1).integers(1, 9, (200, 300)).astype(np.uint8)


class Country:
    """A label map in memory, with the pixels that are read of it."""

    def __init__(self, values: NDArray[Any], place: Georeference) -> None:
        self.read = 0
        whole = Raster.of(values[:, :, None], georeference=place)

        def window(rows: slice, columns: slice) -> tuple[NDArray[Any], None]:
            part = values[rows, columns, None]
            self.read += part.size
            return part, None

        self.raster = replace(whole, window=window)


def test_only_what_covers_the_image_is_read_of_a_large_label_raster() -> None:
    place = (2.0, 0.0, PLACE[2] - 200, 0.0, -2.0, PLACE[5] + 100)
    country = Country(COUNTRY, Georeference("EPSG:32632", place))
    with pytest.warns(UserWarning, match="another grid"):
        found = read_labels(country.raster, IMAGE)
    assert_array_equal(found.values, COUNTRY[50 : 50 + HEIGHT, 100 : 100 + WIDTH])
    assert country.read <= (HEIGHT + 6) * (WIDTH + 6)


@pytest.mark.parametrize("turn", [0.0, 0.5, 2.0])
def test_a_window_in_another_system_gives_what_the_whole_raster_gives(
    turn: float, tmp_path: Path
) -> None:
    warp = pytest.importorskip("rasterio.warp")
    cosine, sine = 200 * np.cos(turn), 200 * np.sin(turn)  # pixels of 200 m
    place = (cosine, sine, PLACE[2], sine, -cosine, PLACE[5])
    image = replace(IMAGE, georeference=Georeference("EPSG:32632", place))
    assert image.georeference is not None
    rows, columns = (part + 0.5 for part in np.indices((HEIGHT, WIDTH)))
    x, y = image.georeference.coordinates(rows.ravel(), columns.ravel())
    x, y = warp.transform("EPSG:32632", "EPSG:3035", x, y)
    labels = Georeference("EPSG:3035", (30.0, 0, min(x) - 1500, 0, -30.0, max(y) + 2000))
    expected = np.floor(labels.places(x, y)).astype(int)
    path = write_tiff(
        tmp_path / "country.tif", COUNTRY[:, :, None], crs="EPSG:3035", transform=labels.transform
    )
    with pytest.warns(UserWarning, match="another grid"):
        found = read_labels(path, image)
    assert_array_equal(found.values.ravel(), COUNTRY[expected[0], expected[1]])


def test_labels_elsewhere_are_refused_and_a_part_of_the_images_size_is_no_shift() -> None:
    place = (2.0, 0.0, PLACE[2] + 4, 0.0, -2.0, PLACE[5] - 4)  # two rows and columns further
    country = Country(COUNTRY, Georeference("EPSG:32632", place))
    with pytest.warns(UserWarning, match="another grid"):
        found = read_labels(country.raster, IMAGE).values
    assert_array_equal(found[2:, 2:], COUNTRY[: HEIGHT - 2, : WIDTH - 2])
    assert not found[:2].any()
    bare = COUNTRY.copy()
    bare[:20, :20] = 0
    away = (2.0, 0.0, PLACE[2] - 5000, 0.0, -2.0, PLACE[5])
    for values, where in ((bare, place), (COUNTRY, away)):
        country = Country(values, Georeference("EPSG:32632", where))
        with pytest.raises(SceneError, match="labels don't lie on the image"):
            read_labels(country.raster, IMAGE)


def test_labels_in_a_system_that_knows_no_such_place_are_refused() -> None:
    pytest.importorskip("rasterio")
    degrees = (1e-3, 0.0, 10.0, 0.0, -1e-3, 95.0)  # beyond the pole
    image = replace(IMAGE, georeference=Georeference("EPSG:4326", degrees))
    labels = Country(COUNTRY, Georeference("EPSG:3857", (100.0, 0.0, 0.0, 0.0, -100.0, 0.0)))
    with pytest.raises(SceneError, match=r"can't be told in the other coordinate system: .*latit"):
        read_labels(labels.raster, image)


def test_a_finer_raster_of_the_same_extent_is_read_whole(tmp_path: Path) -> None:
    labels = np.arange(1, 1 + HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1).astype(np.uint8)
    fine = labels.repeat(25, 0).repeat(25, 1)
    # 0.04 pixels of the image, which is a pixel of the labels, beside the image
    place = (2 / 25, 0.0, PLACE[2] - 0.08, 0.0, -2 / 25, PLACE[5] + 0.08)
    image = open_raster(write_tiff(tmp_path / "a.tif"))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = read_labels(write_tiff(tmp_path / "fine.tif", fine, transform=place), image)
    assert any("25 x 25 pixels" in str(one.message) for one in told)
    assert_array_equal(found.values, labels[:, :, 0])


COLOURS = np.array([[0, 0, 0], [9, 9, 9], [50, 0, 0], [0, 200, 7]], dtype=np.uint8)
MAP = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 4
PICTURES = {"colours": COLOURS[MAP], "one-hot": (MAP[:, :, None] == [1, 3, 2]).astype(np.uint8)}
MEANT = {"colours": np.array([0, 2, 3, 1])[MAP], "one-hot": np.array([0, 1, 3, 2])[MAP]}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.filterwarnings("ignore:.*picture of 3 colours")
def test_pictures_lie_where_their_coordinates_are(kind: str, tmp_path: Path) -> None:
    picture, meant = PICTURES[kind], MEANT[kind]
    image = open_raster(write_tiff(tmp_path / "a.tif"))

    def read(values: NDArray[Any], step: float, right: float, down: float) -> NDArray[np.int64]:
        place = (step, 0.0, PLACE[2] + right, 0.0, -step, PLACE[5] - down)
        return read_labels(write_tiff(tmp_path / "b.tif", values, transform=place), image).values

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(grid|pixels)")
        assert_array_equal(read(picture, 2, 0, 0), meant)
    with pytest.raises(SceneError, match=r"\+0.0 rows and \+10.0 columns off"):
        read(picture, 2, 20, 0)
    wide = np.pad(picture, ((1, 2), (3, 1), (0, 0)))
    with pytest.warns(UserWarning, match="another grid"):
        assert_array_equal(read(wide, 2, -6, -2), meant)
    with pytest.raises(SceneError, match="don't lie on the image"):
        read(wide, 2, 200_000, 0)
    with pytest.warns(UserWarning, match="3 x 3 pixels"):
        assert_array_equal(read(picture.repeat(3, 0).repeat(3, 1), 2 / 3, 0, 0), meant)
    bare = open_raster(CUBE)  # without coordinates pixel matches pixel
    assert_array_equal(read_labels(tmp_path / "b.tif", Raster.of(np.repeat(np.repeat(
        CUBE, 3, 0), 3, 1))).values, meant.repeat(3, 0).repeat(3, 1))  # fmt: skip
    with pytest.raises(SceneError, match="labels must have the height and width of the cube"):
        read_labels(tmp_path / "b.tif", bare)


def test_the_nodata_of_a_picture_is_unlabelled(tmp_path: Path) -> None:
    image = open_raster(write_tiff(tmp_path / "a.tif"))
    path = write_tiff(tmp_path / "b.tif", PICTURES["colours"], nodata=0)
    with pytest.warns(UserWarning, match="picture of 3 colours"):
        assert_array_equal(read_labels(path, image).values, MEANT["colours"])


def test_pixels_of_0_in_maps_that_may_count_from_0_are_told(tmp_path: Path) -> None:
    image = Raster.of(CUBE)
    from_0 = np.where(MAP == 0, 255, MAP - 1).astype(np.uint8)
    zeros = np.count_nonzero(from_0 == 0)
    told = f"255 is taken for unlabelled.* so is 0, which {zeros} pixels hold.*number the classes"
    with pytest.warns(UserWarning, match=told) as found:
        assert set(np.unique(read_labels(from_0, image).values)) == {0, 1, 2}
    assert len(found) == 1
    with pytest.warns(UserWarning, match=r"not for a class$"):  # without 0 nothing is lost
        read_labels(np.where(from_0 == 255, from_0, from_0 + 1), image)
    declared = write_tiff(tmp_path / "a.tif", from_0[:, :, None], nodata=255)
    with pytest.warns(UserWarning, match=told):
        read_labels(declared, open_raster(write_tiff(tmp_path / "b.tif")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_labels(from_0.astype(np.int16), image)
        read_labels(MAP.astype(np.uint8), image)


@pytest.mark.parametrize("name", ["Unclassified", "background", "Masked Pixels", "No data", "oats"])
def test_a_class_called_0_is_told(name: str, tmp_path: Path) -> None:
    header = tmp_path / "map.hdr"
    fields = f"file type = ENVI Classification\nclass names = {{{name}, rye, soil, maize}}\n"
    header.write_text(
        ENVI.format(interleave="bsq").replace("bands = 5", "bands = 1").replace("= 2\n", "= 1\n")
        + fields
    )
    MAP.astype(np.uint8).tofile(tmp_path / "map.img")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = read_labels(header, Raster.of(CUBE))
    assert found.names == {1: "rye", 2: "soil", 3: "maize"}
    zeros = np.count_nonzero(MAP == 0)
    expected = [f"{zeros} pixels of 0, which the file calls 'oats'"] if name == "oats" else []
    assert [text in str(one.message) for text in expected for one in told] == [True] * len(told)
    assert len(told) == len(expected)


@pytest.mark.parametrize("kind", ["mat", "npz", "h5"])
def test_the_map_of_the_images_size_is_taken_of_a_file(kind: str, tmp_path: Path) -> None:
    path, image = tmp_path / f"a.{kind}", Raster.of(CUBE)
    arrays: dict[str, Any] = {"cube": CUBE, "gt": MAP, "wavelengths": np.arange(5.0)[None]}

    def write(**arrays: NDArray[Any]) -> None:
        if kind == "npz":
            np.savez(path, **arrays)  # type: ignore[arg-type]
        elif kind == "mat":
            savemat(path, arrays)
        else:
            with h5py.File(path, "w") as file:
                for name, array in arrays.items():
                    file[name] = array

    write(**arrays)
    assert_array_equal(read_labels(path, image).values, MAP)
    write(**arrays, other=MAP)
    with pytest.raises(FileFormatError, match=r"several arrays, .*:gt .*:other"):
        read_labels(path, image)
    write(cube=CUBE, gt=MAP[1:], wavelengths=np.arange(5.0)[None])
    with pytest.raises(FileFormatError, match="several arrays"):
        read_labels(path, image)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH, 1), (1, HEIGHT, WIDTH)])
def test_a_further_axis_of_length_1_changes_nothing(shape: tuple[int, ...], tmp_path: Path) -> None:
    labels = MAP.reshape(shape)
    np.save(tmp_path / "a.npy", labels)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["gt"] = labels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (labels, tmp_path / "a.npy", tmp_path / "a.h5"):
            assert_array_equal(read_labels(source, Raster.of(CUBE)).values, MAP)
