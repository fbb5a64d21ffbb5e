"""Read one array from a file, whose format is recognised by its content, not its suffix."""

from __future__ import annotations

import codecs
import importlib.util
import math
import re
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import h5py
import numpy as np
import scipy.io
import tifffile

from hsi_diffusion.errors import FileFormatError, HsiDiffusionError, MissingDependencyError
from hsi_diffusion.scenes.envi import ENDINGS, map_envi
from hsi_diffusion.scenes.gdal import GEO
from hsi_diffusion.scenes.isolated import check_claim, isolated
from hsi_diffusion.scenes.roi import ROI_MAGIC, check_is_file, read_roi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Shape = tuple[int, ...]
FileFormat = Literal["mat", "hdf5", "npy", "npz", "tiff", "envi", "roi"]

FORMATS: Final = (
    "MATLAB .mat (v5 and v7.3), HDF5, NumPy .npy and .npz, TIFF, ENVI images by their header .hdr "
    "and ENVI 'Output of ROIs' text"
)
UNNAMED: Final = ""
"""Key of the array of a file that gives its array no name."""

_TIFF_MAGIC: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# fmt: off
_MAT_CLASSES: Final = frozenset((
    "double", "single", "logical",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
))
# fmt: on
_REAL_KINDS: Final = "biuf"


def file_format(path: str | Path) -> FileFormat | None:
    """Format of a file by its first bytes; None if it is none that the library reads."""
    path = Path(path)
    check_is_file(path)
    with path.open("rb") as file:
        head = file.read(128)
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(_TIFF_MAGIC):
        return "tiff"
    plain = head.removeprefix(codecs.BOM_UTF8)
    if plain.startswith(ROI_MAGIC):
        return "roi"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        plain = head.decode("utf-16", errors="replace").encode()
    if re.match(rb"ENVI\s*[\r\n]", plain):
        return "envi"
    if head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        return "npz" if _npz_names(path) else None
    # MATLAB puts a header of 512 bytes before the HDF5 content of its v7.3 files
    if h5py.is_hdf5(path):
        return "hdf5"
    if head[126:128] in (b"IM", b"MI"):
        return "mat"
    return None


def envi_header(path: Path) -> Path | None:
    """The ENVI header beside a file of numbers; None where there is none."""
    for header in (path.with_name(f"{path.name}.hdr"), path.with_suffix(".hdr")):
        ending = path.name.lower().removeprefix(header.stem.lower())
        if ending in ENDINGS and header.is_file() and file_format(header) == "envi":
            return header
    return None


@isolated
def list_arrays(path: str | Path) -> dict[str, Shape]:
    """Names and shapes of the arrays of real numbers in a file.

    The shapes are those of :func:`read_array`. A format that holds one array without a name
    (.npy, TIFF, ENVI) gives it the name ``""``.

    Raises:
        FileFormatError: If the format is unknown or the file damaged.
    """
    path = Path(path)
    with reading(path):
        match _require_format(path):
            case "mat":
                return {
                    name: tuple(shape)
                    for name, shape, kind in scipy.io.whosmat(path)
                    if kind in _MAT_CLASSES
                }
            case "hdf5":
                return _hdf5_contents(path)[0]
            case "npy":
                return {UNNAMED: _npy_shape(path)}
            case "npz":
                return {
                    name: shape
                    for name, (shape, dtype) in _npz_headers(path).items()
                    if dtype.kind in _REAL_KINDS
                }
            case "tiff":
                with tifffile.TiffFile(path) as file:
                    return {key: _tiff_order(series)[0] for key, series in _tiff_series(file)}
            case "envi":
                return {UNNAMED: map_envi(path).shape}
            case "roi":
                return {UNNAMED: read_roi(path).shape}


@isolated
def read_array(
    path: str | Path, key: str | None = None, *, ndim: int | None = None
) -> NDArray[Any]:
    """Read one array from a file, in native byte order and C order.

    The format is recognised by content: MATLAB .mat v5 and v7.3, HDF5, .npy (never a pickle), TIFF,
    ENVI images (give the header) and ENVI ROI text. MATLAB's v7.3 files hold their arrays with the
    axes reversed; they are turned back. Bands of a TIFF come last, (height, width, bands), whether
    it holds them as samples or as pages; each page is taken for a band.

    Args:
        path: The file.
        key: Name of the array; needed only where several arrays qualify.
        ndim: Consider only arrays with so many axes.

    Raises:
        FileFormatError: If the file is missing, damaged or of an unknown format, or if it is not
            clear which array is meant: the message lists what there is.
        MissingDependencyError: If a TIFF's compression needs another package.
    """
    path = Path(path)
    chosen = choose_array(path, key, ndim)
    with reading(path):
        array: NDArray[Any] = _read(path, chosen)
    if array.dtype.kind == "c":  # the list of a .mat file doesn't tell
        raise FileFormatError(_not_real(path, array.dtype))
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


@isolated
def choose_array(path: Path, key: str | None = None, ndim: int | None = None) -> str:
    """Name of the array that :func:`read_array` reads."""
    arrays = list_arrays(path)
    wanted = "array of real numbers" if ndim is None else f"{ndim}-D array of real numbers"
    there = describe_arrays(path, arrays) or "none"
    if key is not None:
        key = key if key in arrays else key.lstrip("/")  # as HDF5 names its arrays
        if key not in arrays:
            hint = f"; leave out the key {key!r}" if list(arrays) == [UNNAMED] else ""
            raise FileFormatError(
                f"{path} holds no array {key!r} of real numbers; there is: {there}{hint}"
            )
        if ndim not in (None, len(arrays[key])):
            raise FileFormatError(
                f"{path}:{key} must be a {wanted}, got shape {arrays[key]}; there is: {there}"
            )
        return key
    fitting = {name: shape for name, shape in arrays.items() if ndim in (None, len(shape))}
    if len(fitting) == 1:
        return next(iter(fitting))
    if not fitting:
        raise FileFormatError(f"{path} holds no {wanted}; there is: {there}{_left_aside(path)}")
    raise FileFormatError(
        f"{path} holds several arrays, say which one as FILE:key: {describe_arrays(path, fitting)}"
    )


def parse_location(text: str | Path) -> tuple[Path, str | None]:
    """Split ``FILE[:key]`` into the file and the array's name.

    A file whose own name holds a colon, and a Windows drive, are left whole.

    Raises:
        FileFormatError: If the key after the colon is empty.
    """
    path = Path(text)
    name, colon, key = str(text).rpartition(":")
    drive = re.fullmatch("[A-Za-z]", name) is not None and key[:1] in {"/", "\\"}
    if not colon or path.exists() or drive:
        return path, None
    if not key or not name:
        raise FileFormatError(f"a location must be FILE or FILE:key, got {str(text)!r}")
    return Path(name), key


def describe_arrays(path: Path, arrays: dict[str, Shape]) -> str:
    """List arrays for a message, as ``FILE:key (shape)``."""
    return ", ".join(
        f"{path}:{key} {shape}" if key else f"{path} {shape}" for key, shape in arrays.items()
    )


def _require_format(path: Path) -> FileFormat:
    found = file_format(path)
    if found is None and path.stat().st_size == 0:
        raise FileFormatError(f"{path} is empty (0 bytes); get it again")
    if found is None:
        if path.suffix.lower() == ".hdr":
            raise FileFormatError(
                f"{path} is not an ENVI header: its first line must be ENVI; give the header of an "
                "image"
            )
        if (header := envi_header(path)) is not None:
            raise FileFormatError(
                f"{path} seems to hold the numbers of an ENVI image; give its header {header}"
            )
        geo = importlib.util.find_spec("rasterio") is not None
        hint = "" if geo else f"; JPEG 2000, VRT and other images with coordinates need {GEO}"
        raise FileFormatError(
            f"{path} is of an unknown format; what can be read is {FORMATS}{hint}; convert it to "
            "one of these, for example with numpy.save"
        )
    return found


def _read(path: Path, key: str) -> Any:
    match _require_format(path):
        case "mat":
            shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
            # MATLAB stores numbers in the smallest type that holds them
            check_claim(path, math.prod(map(int, shapes[key])), compressed=True)
            return scipy.io.loadmat(path, variable_names=[key])[key]
        case "hdf5":
            with h5py.File(path, "r") as file:
                check_dataset(path, file[key])
                array = file[key][()]
                return array.T if is_matlab(path, file) else array
        case "npy":
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
            check_claim(path, mapped.nbytes, compressed=False)
            return np.load(path, allow_pickle=False)
        case "npz":
            with np.load(path, allow_pickle=False) as file:
                return file[key]
        case "tiff":
            return _read_tiff(path, key)
        case "envi":
            return np.array(map_envi(path))
        case "roi":
            return read_roi(path)


def _npz_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


def _npz_headers(path: Path) -> dict[str, tuple[Shape, np.dtype[Any]]]:
    with zipfile.ZipFile(path) as file:
        return {name: _npy_header(file.open(f"{name}.npy")) for name in _npz_names(path)}


def check_dataset(path: Path, data: h5py.Dataset) -> None:
    """As :func:`check_claim`: what lies in chunks, or was never written, may take less space."""
    whole = data.chunks is None and data.id.get_offset() is not None
    check_claim(path, data.nbytes, compressed=not whole)


def is_matlab(path: Path, file: h5py.File) -> bool:
    """Whether an HDF5 file was written by MATLAB, whose arrays have their axes reversed."""
    with path.open("rb") as raw:
        header = raw.read(6)
    # an object that can't be opened is None here
    return header == b"MATLAB" or any(
        "MATLAB_class" in item.attrs for item in file.values() if item
    )


def _hdf5_contents(path: Path) -> tuple[dict[str, Shape], list[str]]:
    """Names and shapes of the arrays of real numbers in an HDF5 file; and what else it holds."""
    arrays: dict[str, Shape] = {}
    others: list[str] = []

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.dtype.kind not in _REAL_KINDS:
            others.append(f"{name} ({item.dtype})")
            return
        if item.shape is None:  # a dataset without a single number
            return
        # MATLAB keeps texts as numbers, an empty array's shape in place of its content, and what
        # its cells refer to in the group #refs#
        matlab_class = np.asarray(item.attrs.get("MATLAB_class", "double")).astype(str).item()
        hidden = name.startswith("#") or "MATLAB_empty" in item.attrs
        if matlab_class in _MAT_CLASSES and not hidden:
            arrays[name] = item.shape[::-1] if reverse else item.shape

    with h5py.File(path, "r") as file:
        reverse = is_matlab(path, file)
        file.visititems(visit)
    return arrays, others


def _npy_shape(path: Path) -> Shape:
    shape, dtype = _npy_header(path.open("rb"))
    if dtype.hasobject:
        raise FileFormatError(
            f"{path} holds pickled Python objects, which could run code when they are read; "
            f"save an array of numbers with numpy.save(..., allow_pickle=False)"
        )
    if dtype.kind not in _REAL_KINDS:
        raise FileFormatError(_not_real(path, dtype))
    return shape


def _npy_header(file: IO[bytes]) -> tuple[Shape, np.dtype[Any]]:
    """Shape and kind of numbers of an array; the file is closed."""
    with file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return tuple(shape), dtype


def _not_real(path: Path, dtype: np.dtype[Any]) -> str:
    hint = "; store the magnitude, or the real part" if dtype.kind == "c" else ""
    return f"{path} must hold real numbers, got {dtype}{hint}"


def _left_aside(path: Path) -> str:
    """For a message: what a file holds besides arrays of real numbers."""
    others: list[str] = []
    match file_format(path):
        case "mat":
            found = scipy.io.whosmat(path)
            others = [f"{name} ({kind})" for name, _, kind in found if kind not in _MAT_CLASSES]
        case "hdf5":
            others = _hdf5_contents(path)[1]
    return f"; left aside: {', '.join(others)}" if others else ""


def _tiff_series(file: tifffile.TiffFile) -> list[tuple[str, Any]]:
    """Keys and images of a TIFF; numbered where there are several."""
    if not file.series:
        raise FileFormatError(f"{file.filename} holds no image; it may be damaged, get it again")
    if len(file.series) == 1:
        return [(UNNAMED, file.series[0])]
    return [(str(number), series) for number, series in enumerate(file.series)]


def _tiff_order(series: Any) -> tuple[Shape, tuple[int, ...]]:
    """Shape of a TIFF image as (height, width, ...), and the axes in that order."""
    axes = str(series.axes)
    order = sorted(range(len(axes)), key=lambda axis: (axes[axis] != "Y", axes[axis] != "X"))
    return tuple(int(series.shape[axis]) for axis in order), tuple(order)


def _read_tiff(path: Path, key: str) -> NDArray[Any]:
    with tifffile.TiffFile(path) as file:
        series = dict(_tiff_series(file))[key]
        check_claim(path, int(series.nbytes), compressed=series.keyframe.compression != 1)
        try:
            array: NDArray[Any] = series.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise MissingDependencyError(
                f"{path} is compressed ({error}); pip install imagecodecs"
            ) from error
        return array.transpose(_tiff_order(series)[1])


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what parsers raise on a broken file into an error that names the file."""
    try:
        yield
    except (HsiDiffusionError, MemoryError):
        raise
    except PermissionError as error:
        raise FileFormatError(f"can't read {path}: you have no permission to read it") from error
    # the parsers of four formats raise almost anything on damaged bytes
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise FileFormatError(
            f"can't read {path}: {reason}; the file may be damaged or cut short, get it again"
        ) from error
