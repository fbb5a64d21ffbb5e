"""Bands and images that hold no data anywhere, and what files declare of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes import load_custom_scene, open_raster
from tests.scenes.formats import BANDS, CUBE, WAVES, Labelled, write_envi, write_tiff

if TYPE_CHECKING:
    from pathlib import Path

FILLED = CUBE.copy()
FILLED[:, :, [1, 3]] = -9999
NAN = np.where(FILLED < 0, np.nan, FILLED).astype(np.float32)


def write(kind: str, folder: Path) -> Any:
    match kind:
        case "npy":
            np.save(folder / "a.npy", NAN)
            return folder / "a.npy"
        case "tiff":
            return write_tiff(folder / "a.tif", FILLED, nodata=-9999)
        case "envi":
            return write_envi(folder, FILLED, "data ignore value = -9999\n")
        case "masked":
            return np.ma.masked_equal(FILLED, -9999)
    return NAN


@pytest.mark.parametrize("sample", [None, 42])
@pytest.mark.parametrize("kind", ["npy", "tiff", "envi", "masked", "array"])
@pytest.mark.filterwarnings("error:.*constant")
def test_bands_without_data_are_named(kind: str, sample: int | None, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"2 of 5 bands hold no data anywhere: 1, 3 \(counted"):
        load_custom_scene(write(kind, tmp_path), sample=sample)


def test_the_mask_and_the_bands_that_are_left_out_count(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    cube = CUBE.astype(np.float32)
    cube[1:, :, 3] = np.nan  # the mask hides the only row in which this band holds data
    path = write_tiff(tmp_path / "a.tif", cube)
    with rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(len(cube))[:, None] > np.zeros(cube.shape[1]))
        file.update_tags(1, bbl="0")
    with pytest.raises(SceneError, match=r"1 of 4 bands hold no data anywhere: 3 \("):
        load_custom_scene(path)
    with rasterio.open(path, "r+") as file:
        file.update_tags(4, bbl="0")
    assert load_custom_scene(path).bands == 3


def test_bands_may_be_marked_as_bad(tmp_path: Path) -> None:
    fields = "data ignore value = -9999\nbbl = {1, 0, 1, 0, 1}\n"
    scene = load_custom_scene(write_envi(tmp_path, FILLED, fields))
    assert_array_equal(scene.cube, CUBE[:, :, [0, 2, 4]])


@pytest.mark.filterwarnings("error:.*constant")
def test_pixels_without_data_in_different_bands() -> None:
    cube = np.full((2, 2, 2), np.nan)
    cube[0, :, 0], cube[1, :, 1] = 1, 1
    for nothing in (cube, np.full((2, 2, 2), np.nan)):
        with pytest.raises(SceneError, match="none of the 4 pixels holds data"):
            load_custom_scene(nothing)


def test_bands_without_data_of_an_image_that_is_resampled(tmp_path: Path) -> None:
    waves = f"wavelength = {{{', '.join(map(str, WAVES))}}}\nwavelength units = nm\n"
    (tmp_path / "b").mkdir()
    first = write_envi(tmp_path, fields=waves)
    second = write_envi(tmp_path / "b", FILLED, f"{waves}data ignore value = -9999\n")
    with pytest.raises(SceneError, match=f"2 of {BANDS} bands hold no data anywhere: 1, 3"):
        load_custom_scene([first, second], resample=True)


def test_widths_of_the_first_image_are_resampled_to(tmp_path: Path) -> None:
    def write_waves(name: str, waves: Any, width: int, cube: Any) -> Path:
        (tmp_path / name).mkdir()
        numbers = f"{{{', '.join(map(str, waves))}}}"
        widths = f"{{{', '.join([str(width)] * BANDS)}}}"
        fields = f"wavelength = {numbers}\nwavelength units = nm\nfwhm = {widths}\n"
        return write_envi(tmp_path / name, cube, fields)

    fine = np.arange(500, 500 + 10 * BANDS, 10)
    spike = np.zeros_like(CUBE)
    spike[:, :, 2] = 1000
    second = write_waves("second", fine, 10, spike)
    peaks = []
    for name, width in (("same", 10), ("wider", 30)):
        scene = load_custom_scene([write_waves(name, fine, width, CUBE), second], resample=True)
        assert scene.images is not None
        peaks.append(scene.cube[scene.images["a-2"]][0, 0, 2])
    assert peaks[0] == pytest.approx(1000)
    assert peaks[1] < 600


DECLARED = [
    ({"_FillValue": np.int16(-9999)}, 1, 0),
    ({"missing_value": [-9999, 1], "_FillValue": "none"}, 1, 0),
    ({"Data_Ignore_Value": -9999.0, "Scale_Factor": 10_000.0}, 1e-4, 0),  # NEON
    ({"_fillvalue": np.array([-9999]), "scale_factor": 0.5, "add_offset": -3.0}, 0.5, -3),
    ({"_FillValue": -9999, "missing_value": 1, "scale_factor": 10.0}, 10, 0),
    ({"_FillValue": -9999, "Scale_Factor": 0.25, "add_offset": 0}, 0.25, 0),
]


@pytest.mark.parametrize(("attributes", "scale", "offset"), DECLARED)
@pytest.mark.parametrize("kind", ["hdf5", "array"])
def test_what_an_array_declares_is_heeded(
    kind: str, attributes: dict[str, Any], scale: float, offset: float, tmp_path: Path
) -> None:
    cube = CUBE.copy()
    cube[2, 3, 1] = -9999
    source: Any = Labelled(cube, attrs=attributes)
    if kind == "hdf5":
        source = tmp_path / "a.h5"
        with h5py.File(source, "w") as file:
            file["reflectance"] = cube
            file["reflectance"].attrs.update(attributes)
    raster = open_raster(source)
    values, valid = raster.read()
    assert np.argwhere(~valid).tolist() == [[2, 3]]
    assert_allclose(values[valid], CUBE[valid] * scale + offset, rtol=1e-6)
    assert values.dtype == (np.int16 if (scale, offset) == (1, 0) else np.float32)
    # the user's value wins
    one = open_raster(source, nodata=CUBE[4, 4, 0]).read()[1]
    assert not one[4, 4]
    assert one[2, 3]
