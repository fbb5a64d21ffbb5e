from __future__ import annotations

import importlib.util
from inspect import unwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from hsi_diffusion.errors import FileFormatError, MissingDependencyError
from hsi_diffusion.scenes import list_arrays, open_raster, parse_location, read_array
from hsi_diffusion.scenes.readers import file_format
from tests.scenes.mat73 import write_mat73

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUBE = np.arange(2 * 3 * 7, dtype=np.int16).reshape(2, 3, 7)
"""Three different sizes, so that swapped axes show."""

LABELS = np.array([[0, 1, 2], [2, 2, 0]], dtype=np.uint8)


def write_cube(path: Path, kind: str) -> None:
    """Write CUBE in one of the formats, whatever the suffix of ``path``."""
    match kind:
        case "mat":
            scipy.io.savemat(path, {"cube": CUBE}, appendmat=False)
        case "mat compressed":
            scipy.io.savemat(path, {"cube": CUBE}, appendmat=False, do_compression=True)
        case "mat73":
            write_mat73(path, {"cube": CUBE})
        case "mat73 without header":
            with h5py.File(path, "w") as file:
                file["cube"] = CUBE.T
                file["cube"].attrs["MATLAB_class"] = np.bytes_("int16")
        case "mat73 without attributes":
            write_mat73(path, {"cube": CUBE}, attributes=False)
        case "hdf5":
            with h5py.File(path, "w") as file:
                file.create_dataset("cube", data=CUBE, compression="gzip")
        case "npy":
            with path.open("wb") as raw:
                np.save(raw, CUBE)
        case "npy big-endian, Fortran order":
            with path.open("wb") as raw:
                np.save(raw, np.asfortranarray(CUBE.astype(">i2")))
        case "tiff bands apart":
            bands_first = CUBE.transpose(2, 0, 1)
            tifffile.imwrite(path, bands_first, planarconfig="separate", photometric="minisblack")
        case "tiff bands together":
            tifffile.imwrite(path, CUBE, planarconfig="contig", photometric="minisblack")
        case "tiff pages, big-endian":
            with tifffile.TiffWriter(path, byteorder=">") as writer:
                for band in CUBE.transpose(2, 0, 1):
                    writer.write(band, contiguous=True, metadata=None)
        case "bigtiff deflated":
            bands_first = CUBE.transpose(2, 0, 1)
            tifffile.imwrite(
                path, bands_first, bigtiff=True, compression="zlib", photometric="minisblack"
            )


KINDS = pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mat", "mat"),
        ("mat compressed", "mat"),
        ("mat73", "hdf5"),
        ("mat73 without header", "hdf5"),
        ("mat73 without attributes", "hdf5"),
        ("hdf5", "hdf5"),
        ("npy", "npy"),
        ("npy big-endian, Fortran order", "npy"),
        ("tiff bands apart", "tiff"),
        ("tiff bands together", "tiff"),
        ("tiff pages, big-endian", "tiff"),
        ("bigtiff deflated", "tiff"),
    ],
)


@KINDS
def test_every_format_gives_the_same_cube(tmp_path: Path, kind: str, expected: str) -> None:
    path = tmp_path / "scene.bin"
    write_cube(path, kind)
    assert file_format(path) == expected
    assert list(list_arrays(path).values()) == [CUBE.shape]
    cube = read_array(path, ndim=3)
    assert np.array_equal(cube, CUBE)
    assert cube.dtype == np.dtype("int16")
    assert cube.dtype.isnative
    assert cube.flags.c_contiguous


@pytest.mark.parametrize("kind", ["mat", "mat73", "hdf5", "npy", "tiff bands apart"])
def test_damaged_files_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "scene.bin"
    write_cube(path, kind)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    with pytest.raises(FileFormatError, match=r"scene\.bin.*(cut short|no 3-D array)"):
        read_array(path, ndim=3)


@pytest.mark.parametrize("content", [b"short", b"\x00" * 4096, b"PK\x03\x04" + b"\x00" * 200])
def test_unknown_formats_list_the_known(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scene.mat"
    path.write_bytes(content)
    assert file_format(path) is None
    with pytest.raises(FileFormatError, match=r"unknown format.*v7\.3.*HDF5.*\.npy.*TIFF.*ROIs"):
        read_array(path)


def test_unknown_formats_name_the_extra_that_may_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.jp2"
    path.write_bytes(b"\x00\x00\x00\x0cjP  \r\n\x87\n")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "rasterio" else find(name)
    )
    with pytest.raises(FileFormatError, match=r"JPEG 2000.*pip install hsi-diffusion\[geo\]"):
        unwrap(list_arrays)(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "scene.mat"
    path.touch()
    with pytest.raises(FileFormatError, match=r"scene\.mat is empty \(0 bytes\); get it again"):
        read_array(path)


def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileFormatError, match=r"no file .*scene\.mat; check its name"):
        read_array(tmp_path / "scene.mat")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileFormatError, match="looked for in") as caught:
        read_array("scene.mat")
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(FileFormatError, match="is a folder; name a file in it"):
        read_array(tmp_path)


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hsi_diffusion.scenes.readers.file_format", refuse)
    with pytest.raises(FileFormatError, match=r"can't read .*map\.npy: you have no permission"):
        unwrap(list_arrays)(tmp_path / "map.npy")


@pytest.mark.parametrize("write", [scipy.io.savemat, write_mat73])
def test_cube_beside_a_map_needs_no_key(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "packed.mat"
    write(path, {"ori_data": CUBE, "map": LABELS})
    assert list_arrays(path) == {"ori_data": (2, 3, 7), "map": (2, 3)}
    assert np.array_equal(read_array(path, ndim=3), CUBE)
    assert np.array_equal(read_array(path, ndim=2), LABELS)
    assert np.array_equal(read_array(path, "map"), LABELS)


def test_several_arrays_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "two.mat"
    scipy.io.savemat(path, {"first": CUBE, "second": CUBE, "map": LABELS})
    with pytest.raises(
        FileFormatError, match="several arrays, say which one as FILE:key"
    ) as caught:
        read_array(path, ndim=3)
    assert f"{path}:first (2, 3, 7), {path}:second (2, 3, 7)" in str(caught.value)
    assert "map" not in str(caught.value)


def test_wrong_key_and_wrong_axes_list_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "one.mat"
    scipy.io.savemat(path, {"map": LABELS})
    with pytest.raises(
        FileFormatError, match=r"no array 'cube' .* there is: .*one\.mat:map \(2, 3\)"
    ):
        read_array(path, "cube")
    with pytest.raises(FileFormatError, match=r"no 3-D array of real numbers; there is: .*map"):
        read_array(path, ndim=3)
    with pytest.raises(
        FileFormatError, match=r"one\.mat:map must be a 3-D array .* \(2, 3\); there"
    ):
        read_array(path, "map", ndim=3)


def test_a_key_for_a_nameless_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.npy"
    np.save(path, LABELS)
    with pytest.raises(
        FileFormatError, match=r"no array 'map' .* there is: .*map\.npy \(2, 3\); leave out the key"
    ):
        read_array(path, "map")


@pytest.mark.parametrize("suffix", ["mat", "h5", "npy"])
def test_complex_arrays_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cube.{suffix}"
    cube = CUBE.astype(complex)
    if suffix == "mat":
        scipy.io.savemat(path, {"cube": cube})
    elif suffix == "npy":
        np.save(path, cube)
    else:
        with h5py.File(path, "w") as file:
            file["cube"] = cube
    with pytest.raises(
        FileFormatError, match=r"complex128; store the magnitude|left aside: cube \(complex128\)"
    ):
        read_array(path, ndim=3)


def test_what_is_left_aside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scene.mat"
    scipy.io.savemat(path, {"data": {"cube": CUBE}})
    with pytest.raises(FileFormatError, match=r"there is: none; left aside: data \(struct\)"):
        read_array(path, ndim=3)


def test_arrays_in_groups_of_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "scene.h5"
    with h5py.File(path, "w") as file:
        file["level/cube"] = CUBE
        file["note"] = "text is no array of numbers"
    assert list_arrays(path) == {"level/cube": (2, 3, 7)}
    assert np.array_equal(read_array(path, "level/cube"), CUBE)


def test_empty_datasets_of_hdf5_are_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "scene.h5"
    with h5py.File(path, "w") as file:
        file["cube"] = CUBE
        file["nothing"] = h5py.Empty("f")
    assert list_arrays(path) == {"cube": CUBE.shape}
    assert np.array_equal(read_array(path), CUBE)


def test_matlab_texts_cells_and_empty_arrays_are_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "scene.mat"
    write_mat73(path, {"cube": CUBE, "empty": np.zeros((1, 2)), "text": np.zeros((1, 4))})
    with h5py.File(path, "r+") as file:
        file["empty"].attrs["MATLAB_empty"] = np.uint8(1)
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
        file["#refs#/a"] = CUBE.T
    assert list_arrays(path) == {"cube": (2, 3, 7)}


def test_mat_texts_and_structs_are_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "scene.mat"
    scipy.io.savemat(path, {"cube": CUBE, "text": "hello", "struct": {"cube": CUBE}})
    assert list_arrays(path) == {"cube": (2, 3, 7)}


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError, match="pickled Python objects, which could run code"):
        read_array(path)


def test_npy_of_other_things_than_numbers(tmp_path: Path) -> None:
    path = tmp_path / "texts.npy"
    np.save(path, np.array(["a"]))
    with pytest.raises(FileFormatError, match="must hold real numbers, got <U1"):
        read_array(path)


def test_several_images_of_a_tiff_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(LABELS)
        writer.write(CUBE.transpose(2, 0, 1), photometric="minisblack")
    assert list_arrays(path) == {"0": (2, 3), "1": (2, 3, 7)}
    assert np.array_equal(read_array(path, ndim=3), CUBE)


def test_missing_decoder_of_a_tiff_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any) -> NDArray[Any]:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    path = tmp_path / "map.tif"
    tifffile.imwrite(path, LABELS)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    with pytest.raises(MissingDependencyError, match=r"LZW.*pip install imagecodecs"):
        unwrap(read_array)(path)


@pytest.mark.parametrize(
    ("text", "path", "key"),
    [
        ("scene.mat", "scene.mat", None),
        ("scene.mat:cube", "scene.mat", "cube"),
        ("folder/scene.h5:level/cube", "folder/scene.h5", "level/cube"),
        ("C:\\data\\scene.mat", "C:\\data\\scene.mat", None),
        ("C:/data/scene.mat", "C:/data/scene.mat", None),
        ("C:\\data\\scene.mat:cube", "C:\\data\\scene.mat", "cube"),
    ],
)
def test_locations(text: str, path: str, key: str | None) -> None:
    assert parse_location(text) == (Path(path), key)
    assert parse_location(Path(text)) == (Path(path), key)


def test_file_whose_name_holds_a_colon(tmp_path: Path) -> None:
    path = tmp_path / "scene 12:30.npy"
    np.save(path, LABELS)
    assert parse_location(str(path)) == (path, None)
    assert parse_location(f"{path}:cube") == (path, "cube")


@pytest.mark.parametrize("text", ["scene.mat:", ":cube"])
def test_half_locations(text: str) -> None:
    with pytest.raises(FileFormatError, match="must be FILE or FILE:key"):
        parse_location(text)


def test_real_cube_with_an_unusual_key(shared_data: Path) -> None:
    path = shared_data / "indian_pines" / "IP_200_M.mat"
    assert list_arrays(path) == {"data_M": (145, 145, 200)}
    cube = read_array(path, ndim=3)
    assert cube.shape == (145, 145, 200)
    assert cube.dtype == np.dtype(np.uint8)
    assert np.array_equal(cube, scipy.io.loadmat(path)["data_M"])


def test_real_maps_of_one_split_agree(shared_data: Path) -> None:
    folder = shared_data / "houston2013"
    packed = folder / "houston_gt_tr_te.mat"
    for key, stem in (("houston_gt_tr", "Samples_TR"), ("houston_gt_te", "Samples_VA")):
        image = read_array(folder / f"2013_IEEE_GRSS_DF_Contest_{stem}.tif", ndim=2)
        assert np.array_equal(read_array(packed, key), image)


def test_a_key_of_hdf5_may_begin_with_a_slash(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/cube"], file["other"] = np.ones((2, 3, 4)), np.zeros((2, 3, 4))
    path = f"{tmp_path / 'a.h5'}:/group/cube"
    assert open_raster(path).read()[0].all()
    assert read_array(*parse_location(path)).all()
