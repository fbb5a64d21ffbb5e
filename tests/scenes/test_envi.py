"""ENVI images, written by hand and by another library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose
from spectral.io import envi

from hsi_diffusion.errors import FileFormatError
from hsi_diffusion.scenes import list_arrays, open_raster, read_array
from hsi_diffusion.scenes.readers import file_format

if TYPE_CHECKING:
    from pathlib import Path

CUBE = np.arange(2 * 3 * 7, dtype=np.int16).reshape(2, 3, 7)

AXES = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}


def write_by_hand(folder: Path, interleave: str, order: int, offset: int = 0) -> Path:
    """Header and numbers of CUBE, from nothing but ENVI's description of its format."""
    header = folder / "scene.hdr"
    header.write_text(
        f"ENVI\ndescription = {{\n  a field}}\nsamples = 3\nlines   = 2\nbands   = 7\n"
        f"header offset = {offset}\nfile type = ENVI Standard\ndata type = 2\n"
        f"interleave = {interleave}\nbyte order = {order}\nReflectance Scale Factor = 10000\n",
        encoding="utf-8",
    )
    stored = CUBE.transpose(AXES[interleave]).astype("<i2" if order == 0 else ">i2")
    (folder / "scene.img").write_bytes(b"\xff" * offset + stored.tobytes())
    return header


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.filterwarnings("error")
def test_every_layout(tmp_path: Path, interleave: str, order: int, offset: int) -> None:
    header = write_by_hand(tmp_path, interleave, order, offset)
    assert file_format(header) == "envi"
    assert list_arrays(header) == {"": CUBE.shape}
    cube = read_array(header, ndim=3)
    assert np.array_equal(cube, CUBE)
    assert cube.dtype == np.dtype("int16")
    assert cube.dtype.isnative
    assert cube.flags.c_contiguous
    assert cube.flags.writeable


@pytest.mark.parametrize("ending", ["", ".dat", ".raw", ".IMG", ".bil"])
def test_names_of_the_numbers(tmp_path: Path, ending: str) -> None:
    header = write_by_hand(tmp_path, "bil", 0)
    (tmp_path / "scene.img").rename(tmp_path / f"scene{ending}")
    assert np.array_equal(read_array(header), CUBE)


def test_header_named_after_the_whole_file(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0).rename(tmp_path / "scene.img.hdr")
    assert np.array_equal(read_array(header), CUBE)


def test_label_map_of_a_classification(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [2, 2, 0]], dtype=np.uint8)
    header = tmp_path / "labels.hdr"
    envi.save_classification(str(header), labels, dtype=np.uint8)
    assert np.array_equal(read_array(header, ndim=2), labels)


def test_numbers_missing_short_or_ambiguous(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0)
    numbers = tmp_path / "scene.img"
    content = numbers.read_bytes()
    (tmp_path / "scene.dat").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"not clear.*scene\.dat, scene\.img"):
        read_array(header)
    (tmp_path / "scene.dat").unlink()
    numbers.write_bytes(content[:-1])
    with pytest.raises(FileFormatError, match=r"must hold 84 bytes.*got 83"):
        read_array(header)
    numbers.unlink()
    with pytest.raises(FileFormatError, match=r"not beside it: put scene or scene\.img"):
        read_array(header)


def test_header_without_its_sizes(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0)
    text = header.read_text(encoding="utf-8")
    header.write_text(text.replace("bands   = 7\n", ""), encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"scene\.hdr.*bands"):
        read_array(header)


def test_numbers_given_for_the_header(tmp_path: Path) -> None:
    write_by_hand(tmp_path, "bsq", 0)
    with pytest.raises(FileFormatError, match=r"give its header .*scene\.hdr"):
        read_array(tmp_path / "scene.img")


@pytest.mark.parametrize("header", ["scene.hdr", "scene.img.hdr"])
@pytest.mark.parametrize("numbers", ["scene.img", "scene"])
def test_both_files_give_the_same_image(tmp_path: Path, header: str, numbers: str) -> None:
    if header == "scene.img.hdr" and numbers == "scene":
        header = "scene.hdr"
    written = write_by_hand(tmp_path, "bil", 0).rename(tmp_path / header)
    written.write_text(f"{written.read_text()}bbl = {{1, 0, 1, 1, 1, 1, 0}}\n")
    (tmp_path / "scene.img").rename(tmp_path / numbers)
    by_numbers, by_header = open_raster(tmp_path / numbers), open_raster(written)
    assert by_numbers.good_bands == by_header.good_bands == (0, 2, 3, 4, 5)
    assert by_numbers.path == by_header.path
    values = by_numbers.read()[0]
    assert values.dtype == np.float32
    assert np.array_equal(values, by_header.read()[0])


def test_a_text_that_is_no_header(tmp_path: Path) -> None:
    header, notes = tmp_path / "lone.hdr", tmp_path / "lone.txt"
    header.write_text("hello\n")
    notes.write_text("hello\n")
    for read in (open_raster, read_array):
        with pytest.raises(FileFormatError, match=r"lone\.hdr is not an ENVI header: its first"):
            read(header)
        with pytest.raises(FileFormatError, match=r"lone\.txt is of an unknown format"):
            read(notes)


def test_a_text_beside_an_image(tmp_path: Path) -> None:
    write_by_hand(tmp_path, "bsq", 0)
    notes = tmp_path / "scene.txt"
    notes.write_text("hello\n")
    with pytest.raises(FileFormatError, match=r"scene\.txt is of an unknown format"):
        open_raster(notes)


def test_a_folder_is_no_file_of_numbers(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0)
    (tmp_path / "scene").mkdir()
    assert np.array_equal(read_array(header), CUBE)


def test_spectral_library_is_no_image(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0)
    text = header.read_text(encoding="utf-8")
    header.write_text(text.replace("ENVI Standard", "ENVI Spectral Library"), encoding="utf-8")
    with pytest.raises(FileFormatError, match="spectral library"):
        read_array(header)


def test_wavelengths_in_the_names_of_bands(tmp_path: Path) -> None:
    """Where GDAL writes them."""
    header = write_by_hand(tmp_path, "bsq", 0)
    names = ", ".join(f"{420 + 10 * band}.0 nm" for band in range(7))
    header.write_text(f"{header.read_text()}band names = {{\n{names}}}\n")
    assert open_raster(header).wavelengths == tuple(420 + 10 * band for band in range(7))
    header.write_text(f"{header.read_text()}bbl = {{1, 0, 1, 1, 1, 1, 1}}\n")
    assert open_raster(header).wavelengths == (420, 440, 450, 460, 470, 480)


UTM = "map info = {UTM, 1, 1, 600000, 5300000, 2, 2, 32, North, WGS-84}\n"


@pytest.mark.parametrize("found", ["Unknown", "", "cut", "http://localhost:1/x"])
def test_a_coordinate_system_that_nobody_understands(found: str, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    known = rasterio.crs.CRS.from_epsg(32632)
    header = write_by_hand(tmp_path, "bsq", 0)
    text = known.to_wkt()[:-30] if found == "cut" else found
    header.write_text(f"{header.read_text()}{UTM}coordinate system string = {{{text}}}\n")
    if found:
        with pytest.warns(UserWarning, match=r"scene\.hdr: 'coordinate system string' must hold"):
            place = open_raster(header).georeference
    else:
        place = open_raster(header).georeference
    assert place is not None
    assert place.crs == "EPSG:32632"
    assert place.transform == (2, 0, 600000, 0, -2, 5300000)


def test_a_zone_that_there_is_not(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0)
    header.write_text(header.read_text() + UTM.replace("32, North", "72, North"))
    place = open_raster(header).georeference
    assert place is not None
    assert place.crs is None


ANGLES = [0, 30, -12.5, 90, 150, 179.99, 180, -180, 270, 540]


@pytest.mark.parametrize("sizes", ["10, 10", "10, 5"])
@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.filterwarnings("ignore:.*no geotransform")
def test_turned_images_lie_where_gdal_sees_them(sizes: str, angle: float, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    header = write_by_hand(tmp_path, "bsq", 0)
    place = f"UTM, 1, 1, 600000, 5300000, {sizes}, 32, North, WGS-84, rotation={angle}"
    header.write_text(f"{header.read_text()}map info = {{{place}}}\n")
    found = open_raster(header).georeference
    assert found is not None
    with rasterio.open(tmp_path / "scene.img") as file:
        assert_allclose(found.transform, tuple(file.transform)[:6], atol=1e-9)


def test_what_of_map_info_makes_no_sense(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0)
    text = header.read_text()
    header.write_text(f"{text}map info = {{UTM, 1, 1, 600000}}\n")
    with pytest.warns(UserWarning, match=r"scene\.hdr: 'map info' must hold .* has no coordinates"):
        assert open_raster(header).georeference is None
    for wrong in ("0, 2, 32", "2, 0, 32", "nan, 2, 32", "2, 2, 32, rotation=north"):
        header.write_text(f"{text}map info = {{UTM, 1, 1, 600000, 5300000, {wrong}, North}}\n")
        with pytest.raises(FileFormatError, match=r"scene\.hdr: 'map info' .* are not 0, got"):
            open_raster(header)


def test_a_list_may_begin_on_the_next_line(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0)
    waves = ",\n ".join(f"{450 + 10 * band}" for band in range(7))
    header.write_text(
        f"{header.read_text()}sensor type =\nwavelength =\n{{{waves}}}\ndata ignore value = 3\n"
    )
    raster = open_raster(header)
    assert raster.wavelengths == tuple(450 + 10 * band for band in range(7))
    assert (raster.sensor, raster.nodata) == ("", 3)


def test_compressed_numbers_are_refused(tmp_path: Path) -> None:
    header = write_by_hand(tmp_path, "bsq", 0)
    text = header.read_text()
    header.write_text(f"{text}file compression = 0\n")
    assert np.array_equal(read_array(header), CUBE)
    header.write_text(f"{text}file compression = 1\n")
    with pytest.raises(FileFormatError, match=r"'file compression' must be 0, got 1; uncompress"):
        open_raster(header)
