"""Products of imaging spectrometers as their providers pack them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from hsi_diffusion.errors import FileFormatError
from hsi_diffusion.scenes.gdal import open_gdal
from hsi_diffusion.scenes.georeference import Georeference
from hsi_diffusion.scenes.isolated import check_claim
from hsi_diffusion.scenes.raster import Raster

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SWATH_LINES = 32
"""Lines of a swath that are read in one go, as far as they are wanted."""

_PRISMA = "HDFEOS/SWATHS/PRS_L2D_HCO"


def open_product(path: Path) -> Raster | None:
    """Open a sensor's product by one of its files; None for any other file.

    EnMAP L2A by its METADATA.XML, PRISMA L2D by its .he5, EMIT L2A by its .nc. AVIRIS-NG comes as
    ENVI, and needs nothing of its own.

    Raises:
        FileFormatError: It is such a product, but a part is missing.
    """
    if path.name.upper().endswith("METADATA.XML"):
        return _open_enmap(path)
    if path.suffix.lower() in (".he5", ".nc", ".nc4", ".h5") and h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            if _PRISMA in file:
                return _open_prisma(path, file)
            if "reflectance" in file and "sensor_band_parameters" in file:
                return _open_emit(path, file)
    return None


def _open_enmap(path: Path) -> Raster:
    """GeoTIFF with the band facts of its metadata: gain and offset to reflectance.

    Bands that hold nothing but background, as those in which water vapour absorbs, are left out.
    The metadata doesn't say which they are.
    """
    stem = path.name[: -len("METADATA.XML")]
    images = [
        file
        for part in ("SPECTRAL_IMAGE", "SPECTRAL_IMAGE_COG")
        for ending in ("TIF", "TIFF", "GEOTIFF")
        for file in path.parent.iterdir()
        if file.name.upper() == f"{stem}{part}.{ending}".upper()
    ]
    if not images:
        raise FileFormatError(f"{path} describes {stem}SPECTRAL_IMAGE.TIF; put it beside")
    raster = open_gdal(images[0])
    root = ET.parse(path).getroot()  # noqa: S314
    bands = root.findall(".//bandCharacterisation/bandID")
    if len(bands) != raster.stored_bands:
        raise FileFormatError(
            f"{path} describes {len(bands)} bands, but {images[0].name} has {raster.stored_bands}"
        )
    if (background := root.findtext(".//backgroundValue")) is not None:
        raster = raster.with_nodata(float(background))
    size = prod((raster.height, raster.width, raster.stored_bands, raster.stored_dtype.itemsize))
    check_claim(images[0], size, compressed=True)
    given, empty = raster.good_bands or range(raster.stored_bands), set(raster.empty_bands())
    kept = [band for band in given if band not in empty] or list(given)

    def numbers(name: str) -> NDArray[np.float64] | None:
        texts = [bands[band].findtext(name) for band in kept]
        return None if None in texts else np.array(texts, dtype=np.float64)

    waves, widths = numbers("wavelengthCenterOfBand"), numbers("FWHMOfBand")
    gains, offsets = numbers("GainOfBand"), numbers("OffsetOfBand")
    names = dict(zip(given, raster.band_names, strict=False))  # there may be none
    return replace(
        raster,
        good_bands=None if len(kept) == raster.stored_bands else tuple(kept),
        band_names=tuple(names[band] for band in kept) if names else (),
        wavelengths=None if waves is None else tuple(waves.tolist()),
        fwhm=None if widths is None else tuple(widths.tolist()),
        scale=gains,
        offset=0.0 if offsets is None or gains is None else offsets,
        sensor="EnMAP",
    )


def _open_prisma(path: Path, file: h5py.File) -> Raster:
    """VNIR and SWIR joined by ascending wavelength; its cubes are (rows, bands, columns)."""
    fields = f"{_PRISMA}/Data Fields"
    facts, cubes = [], {}
    for name in ("Vnir", "Swir"):
        waves = np.asarray(file.attrs[f"List_Cw_{name}"])
        widths = file.attrs.get(f"List_Fwhm_{name}", 0.0)
        low = file.attrs.get(f"L2Scale{name}Min", 0.0)
        high = file.attrs.get(f"L2Scale{name}Max", 1.0)
        # bands that were not recorded have the wavelength 0, or a flag of 0
        recorded = (waves > 0) & (file.attrs.get(f"List_Cw_{name}_Flags", 1) != 0)
        columns = np.broadcast_arrays(waves, widths, (high - low) / 65535, low)
        facts.append(np.stack(columns)[:, recorded])
        cubes[f"{fields}/{name.upper()}_Cube"] = np.flatnonzero(recorded)
    joined = np.concatenate(facts, axis=1)
    order = np.argsort(joined[0], kind="stable")
    waves, widths, scale, offset = joined[:, order]
    first = file[f"{fields}/VNIR_Cube"]
    height, _, width = first.shape

    def window(rows: slice, columns: slice) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        with h5py.File(path, "r") as opened:
            parts = [opened[name][rows, :, columns][:, bands] for name, bands in cubes.items()]
        values = np.concatenate(parts, axis=1).transpose(0, 2, 1)[:, :, order]
        return values, np.asarray(values.any(axis=2))

    return Raster(
        path, height, width, len(order), first.dtype, window, scale=scale, offset=offset,
        wavelengths=tuple(waves.tolist()), fwhm=tuple(widths.tolist()) if widths.any() else None,
        georeference=_prisma_place(file, height, width), sensor="PRISMA",
    )  # fmt: skip


def _prisma_place(file: h5py.File, height: int, width: int) -> Georeference | None:
    names = ("Product_ULcorner_easting", "Product_ULcorner_northing",
             "Product_LRcorner_easting", "Product_LRcorner_northing", "Epsg_Code")  # fmt: skip
    if not all(name in file.attrs for name in names):
        return None
    left, top, right, bottom = (float(file.attrs[name]) for name in names[:4])
    # the corners are centres of pixels
    a, e = (right - left) / max(1, width - 1), (bottom - top) / max(1, height - 1)
    crs = f"EPSG:{int(file.attrs['Epsg_Code'])}"
    return Georeference(crs, (a, 0.0, left - a / 2, 0.0, e, top - e / 2))


def _open_emit(path: Path, file: h5py.File) -> Raster:
    """Laid out on its map by the geometry lookup table (GLT), bands that are bad left out."""
    facts = file["sensor_band_parameters"]
    cube = file["reflectance"]
    columns, rows = (
        np.asarray(file[f"location/glt_{axis}"]).astype(np.int64) for axis in ("x", "y")
    )
    valid = (columns > 0) & (rows > 0)
    good = np.asarray(facts["good_wavelengths"]) if "good_wavelengths" in facts else None
    kept = None if good is None or good.all() else tuple(np.flatnonzero(good).tolist())
    chosen = slice(None) if kept is None else list(kept)
    nodata = float(np.ravel(cube.attrs.get("_FillValue", -9999.0))[0])

    def window(down: slice, across: slice) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        seen = valid[down, across]
        line, sample = rows[down, across][seen] - 1, columns[down, across][seen] - 1
        values = np.full((*seen.shape, cube_shape[2]), nodata, dtype=dtype)
        found = np.empty((len(line), cube_shape[2]), dtype=dtype)
        # a row of the map crosses the swath, so that a box around it would hold most of the image
        order = np.argsort(line, kind="stable")
        with h5py.File(path, "r") as opened:
            for some in np.split(order, np.flatnonzero(np.diff(line[order] // SWATH_LINES)) + 1):
                if len(some):
                    y, x = line[some], sample[some]
                    box = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
                    found[some] = opened["reflectance"][box][y - y.min(), x - x.min()]
        values[seen] = found
        return values, seen

    cube_shape, dtype = cube.shape, cube.dtype
    place = file.attrs.get("geotransform")
    crs = file.attrs.get("spatial_ref")
    crs = crs.decode() if isinstance(crs, bytes) else crs
    reference = None
    if place is not None:
        c, a, b, f, d, e = map(float, place)
        reference = Georeference(None if crs is None else str(crs), (a, b, c, d, e, f))
    return Raster(
        path, valid.shape[0], valid.shape[1], cube.shape[2], dtype, window,
        nodata=nodata, good_bands=kept,
        wavelengths=tuple(np.asarray(facts["wavelengths"], dtype=np.float64)[chosen].tolist()),
        fwhm=tuple(np.asarray(facts["fwhm"], dtype=np.float64)[chosen].tolist()),
        georeference=reference, sensor="EMIT",
    )  # fmt: skip
