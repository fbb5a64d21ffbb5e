"""Products of sensors, in files made like theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes import Georeference, load_custom_scene, open_raster
from tests.scenes.formats import (
    BANDS,
    COLUMNS,
    CUBE,
    ENVI,
    PLACE,
    ROWS,
    WAVES,
    write_tiff,
)

if TYPE_CHECKING:
    from pathlib import Path


STEM = "ENMAP01-____L2A-DT0000_20230101T000000Z_001_V010400_20230101T000000Z-"


def write_enmap(folder: Path, cube: Any, **tags: str) -> Path:
    path = write_tiff(folder / f"{STEM}SPECTRAL_IMAGE.TIF", cube, nodata=-32768)
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(path, "r+") as file:
        for band in range(1, BANDS + 1):
            file.set_band_description(band, f"Band {band}")
            file.update_tags(band, **({"bbl": tags["bbl"][band - 1]} if tags else {}))
    bands = "".join(
        f'<bandID number="{n}"><wavelengthCenterOfBand>{wave}</wavelengthCenterOfBand>'
        f"<FWHMOfBand>{6 + n}</FWHMOfBand><GainOfBand>0.0001</GainOfBand>"
        f"<OffsetOfBand>{n}</OffsetOfBand></bandID>"
        for n, wave in enumerate(WAVES, 1)
    )
    path = folder / f"{STEM}METADATA.XML"
    path.write_text(
        f"<level_X><specific><backgroundValue>-32768</backgroundValue><bandCharacterisation>{bands}"
        "</bandCharacterisation></specific></level_X>"
    )
    return path


def test_enmap(tmp_path: Path) -> None:
    cube = CUBE.copy()
    cube[0, 0] = -32768
    raster = open_raster(write_enmap(tmp_path, cube))
    values, valid = raster.read()
    assert raster.good_bands is None
    assert raster.wavelengths == WAVES
    assert raster.fwhm == (7.0, 8.0, 9.0, 10.0, 11.0)
    assert not valid[0, 0]
    assert valid.sum() == valid.size - 1
    assert_allclose(values[valid], CUBE[valid] / 1e4 + np.arange(1, 6), rtol=1e-6)


@pytest.mark.filterwarnings("error:.*constant")
def test_enmap_bands_of_nothing_but_background_are_left_out(tmp_path: Path) -> None:
    cube = CUBE.copy()
    cube[:, :, 3] = -32768
    cube[0, 0] = -32768
    path = write_enmap(tmp_path, cube)
    raster = open_raster(path)
    kept = [0, 1, 2, 4]
    assert raster.good_bands == tuple(kept)
    assert raster.wavelengths == tuple(WAVES[band] for band in kept)
    assert raster.fwhm == (7.0, 8.0, 9.0, 11.0)
    assert raster.band_names == ("Band 1", "Band 2", "Band 3", "Band 5")
    # a window in a corner without data has the bands of the whole image
    assert raster.read(slice(0, 1), slice(0, 1))[0].shape == (1, 1, 4)
    scene = load_custom_scene(path)
    expected = CUBE[:, :, kept] / 1e4 + np.array(kept) + 1
    assert scene.valid is not None
    assert_array_equal(scene.valid, (cube != -32768).any(axis=2))
    assert_allclose(scene.cube[scene.valid], expected[scene.valid], rtol=1e-6)


def test_enmap_without_any_data(tmp_path: Path) -> None:
    path = write_enmap(tmp_path, np.full_like(CUBE, -32768))
    with pytest.raises(SceneError, match="none of the 42 pixels holds data"):
        load_custom_scene(path)


def test_enmap_with_a_list_of_bad_bands(tmp_path: Path) -> None:
    cube = CUBE.copy()
    cube[:, :, 3] = -32768
    raster = open_raster(write_enmap(tmp_path, cube, bbl="01111"))
    assert raster.good_bands == (1, 2, 4)
    assert raster.fwhm == (8.0, 9.0, 11.0)
    assert raster.band_names == ("Band 2", "Band 3", "Band 5")


def test_prisma(tmp_path: Path) -> None:
    path = tmp_path / "PRS_L2D_STD_20230101000000_20230101000004_0001.he5"
    stored = CUBE.astype(np.uint16) * 10
    with h5py.File(path, "w") as file:
        fields = "HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"
        # descending in the file, with a band that was not recorded
        file[f"{fields}/VNIR_Cube"] = stored[:, :, [2, 1, 0]].transpose(0, 2, 1)
        swir = np.concatenate([stored[:, :, [4, 3]], stored[:, :, :1]], axis=2)
        file[f"{fields}/SWIR_Cube"] = swir.transpose(0, 2, 1)
        file.attrs["List_Cw_Vnir"] = np.array([650.0, 550.0, 450.0])
        file.attrs["List_Cw_Swir"] = np.array([1600.0, 850.0, 2000.0])
        file.attrs["List_Cw_Swir_Flags"] = np.array([1, 1, 0])
        for name in ("Vnir", "Swir"):
            file.attrs[f"L2Scale{name}Min"], file.attrs[f"L2Scale{name}Max"] = 0.0, 0.5
        corners = {"UL": (600001.0, 5299999.0), "LR": (600011.0, 5299987.0)}
        for corner, (x, y) in corners.items():
            file.attrs[f"Product_{corner}corner_easting"] = x
            file.attrs[f"Product_{corner}corner_northing"] = y
        file.attrs["Epsg_Code"] = 32632
    raster = open_raster(path)
    assert raster.wavelengths == WAVES
    assert raster.shape == CUBE.shape
    assert_allclose(raster.read(ROWS, COLUMNS)[0], stored[ROWS, COLUMNS] * (0.5 / 65535), rtol=1e-6)
    assert raster.georeference == Georeference("EPSG:32632", PLACE)


def test_aviris_ng(tmp_path: Path) -> None:
    # a file of numbers without an ending, and a map that is turned
    path = tmp_path / "ang20190712t231624_rfl_v2v2_img.hdr"
    cube = CUBE.astype(np.float32)
    cube[0, 0] = -9999
    cube.transpose(0, 2, 1).tofile(path.with_suffix(""))
    path.write_text(
        ENVI.format(interleave="bil").replace("data type = 2", "data type = 4")
        + "wavelength units = Nanometers\ndata ignore value = -9999\n"
        f"wavelength = {{{', '.join(map(str, WAVES))}}}\nfwhm = {{5, 5, 5, 5, 5}}\n"
        "map info = {UTM, 1, 1, 600000, 5300000, 2, 2, 32, North, WGS-84, rotation=30}\n"
    )
    raster = open_raster(path)
    values, valid = raster.read()
    assert raster.wavelengths == WAVES
    assert raster.fwhm == (5.0,) * BANDS
    assert not valid[0, 0]
    assert_array_equal(values[valid], CUBE[valid])
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(path.with_suffix("")) as file:
        expected = tuple(file.transform)[:6]
    assert raster.georeference is not None
    assert_allclose(raster.georeference.transform, expected, rtol=1e-9, atol=1e-6)


def test_emit(tmp_path: Path) -> None:
    path = tmp_path / "EMIT_L2A_RFL_001_20230101T000000_0000000_001.nc"
    raw = CUBE.astype(np.float32) / 1e4
    rows, columns = np.zeros((2, 4, 4), dtype=np.int32)
    rows[1:3, 1:3], columns[1:3, 1:3] = [[3, 3], [4, 5]], [[1, 2], [2, 6]]
    with h5py.File(path, "w") as file:
        file["reflectance"] = raw
        file["reflectance"].attrs["_FillValue"] = np.float32(-9999)
        file["sensor_band_parameters/wavelengths"] = np.array(WAVES, dtype=np.float32)
        file["sensor_band_parameters/fwhm"] = np.full(BANDS, 8.5, dtype=np.float32)
        file["sensor_band_parameters/good_wavelengths"] = np.array([1.0, 1, 0, 1, 1])
        file["location/glt_x"], file["location/glt_y"] = columns, rows
        file.attrs["geotransform"] = np.array([10.0, 0.0005, 0.0, 50.0, 0.0, -0.0005])
        file.attrs["spatial_ref"] = "EPSG:4326"
    raster = open_raster(path)
    values, valid = raster.read()
    assert raster.wavelengths == (450.0, 550.0, 850.0, 1600.0)
    assert_array_equal(valid, rows > 0)
    assert_array_equal(values[valid], raw[rows - 1, columns - 1][valid][:, [0, 1, 3, 4]])
    assert raster.georeference == Georeference("EPSG:4326", (5e-4, 0.0, 10.0, 0.0, -5e-4, 50.0))
    assert not open_raster(path).read(slice(0, 1))[1].any()


def test_a_row_of_an_emit_map_that_crosses_the_swath_reads_a_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "EMIT_L2A_RFL_001_20230101T000000_0000000_001.nc"
    raw = np.random.default_rng(0).random((200, 200, 3), dtype=np.float32)
    diagonal = np.arange(1, 201, dtype=np.int32)
    rows, columns = np.stack([diagonal, diagonal[::-1]]), np.stack([diagonal, diagonal])
    with h5py.File(path, "w") as file:
        file["reflectance"] = raw
        for name in ("wavelengths", "fwhm"):
            file[f"sensor_band_parameters/{name}"] = np.array([450.0, 550.0, 650.0])
        file["location/glt_x"], file["location/glt_y"] = columns, rows
    taken: list[int] = []
    read = h5py.Dataset.__getitem__

    def note(data: h5py.Dataset, *place: Any, **options: Any) -> Any:
        found = read(data, *place, **options)
        taken.append(np.asarray(found).nbytes if data.name == "/reflectance" else 0)
        return found

    raster = open_raster(path)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", note)
    values, valid = raster.read(slice(0, 1))
    assert valid.all()
    assert_array_equal(values[0], raw[diagonal - 1, diagonal - 1])
    assert sum(taken) < raw.nbytes / 4
