"""Open whatever holds an image: a file of any format, a product of a sensor, an array."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import h5py
import numpy as np

from hsi_diffusion.errors import FileFormatError, SceneError
from hsi_diffusion.scenes.arrays import raster_of
from hsi_diffusion.scenes.envi import open_envi
from hsi_diffusion.scenes.gdal import open_gdal, opens_with_gdal
from hsi_diffusion.scenes.georeference import Georeference
from hsi_diffusion.scenes.isolated import allow_memory, check_claim, isolated
from hsi_diffusion.scenes.nodata import declared
from hsi_diffusion.scenes.products import open_product
from hsi_diffusion.scenes.raster import Raster
from hsi_diffusion.scenes.readers import (
    check_dataset,
    choose_array,
    envi_header,
    file_format,
    is_matlab,
    parse_location,
    read_array,
    reading,
)
from hsi_diffusion.scenes.roi import read_roi_classes
from hsi_diffusion.scenes.wavelengths import read_wavelengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


Source = str | Path
"""A file, or ``FILE:key`` where the file holds several arrays."""


def open_raster(
    source: Any,
    *,
    nodata: float | None = None,
    axes: str | None = None,
    ndim: int = 3,
    wavelengths: Sequence[float] | str | Path | None = None,
) -> Raster:
    """Open an image for windows; nothing but its header is read where the format allows it.

    GeoTIFF, and whatever else GDAL knows, need rasterio (``pip install hsi-diffusion[geo]``). ENVI
    (by its header or its numbers), .npy, HDF5 and MATLAB v7.3 don't; MATLAB v5, .npz and TIFF
    without rasterio are read whole. Of the products of sensors, EnMAP L2A is opened by its
    METADATA.XML, PRISMA L2D by its .he5, EMIT L2A by its .nc. Attributes of an array in HDF5 or
    netCDF, and of a ``DataArray``, are heeded: ``_FillValue``, ``missing_value`` or
    ``Data_Ignore_Value``; ``scale_factor``, by which values are multiplied, and ``add_offset``. A
    ``Scale_Factor``, spelt so, above 1 divides, as in NEON's files.

    Args:
        source: A file, ``FILE:key`` where it holds several arrays, or an array: NumPy (also
            masked), a tensor, a list, an xarray ``DataArray``, a torchgeo sample; or a raster.
        nodata: The value that means "no data here" as it is stored, if the file doesn't say it, or
            says another.
        axes: Order of the stored axes of an image, such as "CHW" where its bands come first: H for
            rows, W for columns, C for bands; None: HWC. ENVI images, what GDAL reads and products
            say themselves where their bands lie: for these HWC is all that may be given.
        ndim: 2 for a label raster, or 3; of several arrays, those with so many axes are meant.
        wavelengths: Band centres in nm or micrometres, or a text file of them; None: those of the
            image file.

    Raises:
        FileFormatError: A file is missing, damaged or of an unknown format, or it is not clear
            which array is meant.
        SceneError: The array is no image, ``axes`` is no order of its axes, or there is not one
            wavelength per band.
        MissingDependencyError: The format needs another package.
    """
    if axes is not None and sorted(axes) != sorted("CHW"):
        raise SceneError(
            f"axes must hold H (rows), W (columns) and C (bands) once each, such as CHW, got "
            f"{axes!r}"
        )
    if isinstance(source, Raster):
        raster = source
    elif isinstance(source, str | Path):
        raster = _open_file(source, axes, ndim)
    else:
        raster = raster_of(source, axes, ndim)
    if wavelengths is not None:
        given = read_wavelengths(wavelengths)
        if given is not None and len(given) != raster.bands:
            raise SceneError(
                f"wavelengths must have {raster.bands} entries (one per band), got {len(given)}"
            )
        raster = replace(raster, wavelengths=given)
    return raster if nodata is None else raster.with_nodata(nodata)


def _open_file(source: Source, axes: str | None, ndim: int) -> Raster:
    path, key = parse_location(source)
    if axes == "HWC" or ndim == 2:
        axes = None
    with reading(path):
        found = file_format(path)
        if found is None and (header := envi_header(path)) is not None:
            path, found = header, "envi"
        if found == "envi" and key is None:
            _refuse_axes(path, axes)
            return _checked(open_envi(path), ndim)
    if found not in ("npy", "mat"):
        place = (path, key, axes, ndim, path.stat().st_mtime_ns)
        if (facts := _header(*place)) is not None:
            where = facts.pop("georeference")
            reference = None if where is None else Georeference(*where)
            return Raster(**facts, georeference=reference, window=partial(_window, *place))
    key = choose_array(path, key, ndim)
    with reading(path):
        if found == "npy":
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            values = read_array(path, key)
    facts = read_roi_classes(path) if found == "roi" else {}
    return replace(raster_of(values, axes, ndim), path=path, **facts)


@isolated
def _header(path: Path, *place: Any) -> dict[str, Any] | None:
    """The raster of a file that can be read in windows, as plain data; None for other files."""
    raster = _windowed(path, *place)
    if raster is None:
        return None
    facts, where = dict(vars(raster)), raster.georeference
    del facts["window"]
    return facts | {"georeference": None if where is None else (where.crs, where.transform)}


@isolated
def _window(path: Path, *place: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    *where, rows, columns = place
    raster = cast("Raster", _windowed(path, *where))
    pixels = np.arange(raster.height)[rows].size * np.arange(raster.width)[columns].size
    allow_memory(pixels * raster.stored_bands * raster.stored_dtype.itemsize)
    return raster.window(rows, columns)


@lru_cache(maxsize=8)
def _windowed(
    path: Path, key: str | None, axes: str | None, ndim: int, _changed: int
) -> Raster | None:
    with reading(path):
        found = file_format(path)
        if key is None:
            if (product := open_product(path)) is not None:
                _refuse_axes(path, axes)
                return product
            if opens_with_gdal(path, found):
                _refuse_axes(path, axes)
                raster = _checked(open_gdal(path), ndim)
                if found == "tiff":  # others may be tables of further files
                    nbytes = math.prod(raster.shape) * raster.stored_dtype.itemsize
                    check_claim(path, nbytes, compressed=True)
                return raster
        if found != "hdf5":
            return None
        return _open_hdf5(path, choose_array(path, key, ndim), axes, ndim)


def _refuse_axes(path: Path, axes: str | None) -> None:
    if axes is not None:
        raise SceneError(
            f"axes must be HWC for {path}, got {axes!r}: the file says itself where its rows, "
            "columns and bands lie; leave axes (--axes) out"
        )


def _checked(raster: Raster, ndim: int) -> Raster:
    """Refuse a label map in place of an image, and the other way round."""
    if (raster.stored_bands == 1) == (ndim == 2):
        return raster
    raise FileFormatError(
        f"{raster.path} holds no {ndim}-D array of real numbers; there is: "
        f"{raster.path} {raster.shape if raster.stored_bands > 1 else raster.shape[:2]}"
    )


def _open_hdf5(path: Path, key: str, axes: str | None, ndim: int) -> Raster:
    with h5py.File(path, "r") as file:
        data = file[key]
        check_dataset(path, data)
        shape, dtype, facts = data.shape, data.dtype, declared(data.attrs)
        backwards = is_matlab(path, file)
    names = ("HWC" if axes is None else axes)[:ndim]
    stored = names[::-1] if backwards else names

    def window(rows: slice, columns: slice) -> tuple[NDArray[Any], None]:
        wanted = {"H": rows, "W": columns, "C": slice(None)}
        with reading(path), h5py.File(path, "r") as file:
            values = file[key][tuple(wanted[name] for name in stored)]
        values = values.transpose([stored.index(name) for name in "HWC"[:ndim]])
        return (values[:, :, None] if ndim == 2 else values), None

    size = dict(zip(stored, shape, strict=True))
    return Raster(path, size["H"], size["W"], size.get("C", 1), dtype, window, **facts)
