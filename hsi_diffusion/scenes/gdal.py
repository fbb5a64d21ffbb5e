"""Images that rasterio reads: GeoTIFF, and whatever else GDAL knows."""

from __future__ import annotations

import importlib.util
import warnings
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hsi_diffusion.errors import FileFormatError, MissingDependencyError, SceneError
from hsi_diffusion.scenes.georeference import Georeference
from hsi_diffusion.scenes.raster import Raster
from hsi_diffusion.scenes.wavelengths import from_texts, in_nanometres, is_length

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import ArrayLike, NDArray

GEO: Final = "pip install hsi-diffusion[geo]"


def require_rasterio(why: str) -> ModuleType:
    """rasterio, or an error that says how to get it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import rasterio  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise MissingDependencyError(f"{why} needs rasterio; {GEO}") from error
    return rasterio  # type: ignore[no-any-return]


def in_other_system(
    x: ArrayLike, y: ArrayLike, system: str | None, other: str | None, source: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Coordinates in another coordinate system, shape (N,) each.

    Raises:
        SceneError: Places of the ``source`` don't exist there.
        MissingDependencyError: rasterio is not installed.
    """
    require_rasterio(f"{source} in another coordinate system")
    from rasterio.warp import transform  # noqa: PLC0415

    try:
        found = transform(system, other, np.ravel(x), np.ravel(y))
    except Exception as error:  # those of PROJ have no public class
        raise SceneError(
            f"{source} can't be told in the other coordinate system: {error}; check the "
            "coordinates (longitude and latitude may be swapped) and coordinate systems of both"
        ) from error
    return np.array(found[0]), np.array(found[1])


def opens_with_gdal(path: Path, found: str | None) -> bool:
    """Whether a file is one for rasterio: a TIFF of one image, or of a format only GDAL knows.

    False where rasterio is not installed; ``found`` is the format that the library knows itself.
    """
    if found not in (None, "tiff") or importlib.util.find_spec("rasterio") is None:
        return False
    rasterio = require_rasterio(str(path))
    try:
        with _Quiet(), rasterio.open(path) as file:
            # GDAL leaves aside what an ENVI header says of bad bands and scale, and takes any file
            # beside it for the numbers
            if file.driver == "ENVI":
                return False
            return file.count > 0 and (found is None or not file.subdatasets)
    except rasterio.errors.RasterioIOError:
        return False


def open_gdal(path: Path) -> Raster:
    """Open an image by rasterio, with what it says of itself.

    Raises:
        MissingDependencyError: rasterio is not installed.
    """
    rasterio = require_rasterio(str(path))
    from rasterio.enums import ColorInterp, MaskFlags  # noqa: PLC0415
    from rasterio.windows import Window  # noqa: PLC0415

    with _Quiet(), rasterio.open(path) as file:
        shape, dtypes = (file.height, file.width, file.count), set(file.dtypes)
        dtype = np.result_type(*dtypes)
        if dtype.kind not in "iuf":
            raise FileFormatError(
                f"{path} must hold real numbers, got {dtype}; store the magnitude, or the real part"
            )
        flags = file.mask_flag_enums[0]
        masked = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        tags = [file.tags(band) | file.tags(band, "IMAGERY") for band in file.indexes]
        kept = _kept(tags)
        texts = [text or "" for text in file.descriptions]
        scales, offsets = np.array(file.scales), np.array(file.offsets)
        facts: dict[str, Any] = _spectral(tags, texts, kept)
        if not file.transform.is_identity:
            crs = file.crs.to_wkt() if file.crs else None
            facts["georeference"] = Georeference(crs, tuple(file.transform)[:6])
        if ColorInterp.palette in file.colorinterp:
            facts["palette"] = {
                value: colour[:3] for value, colour in file.colormap(1).items() if any(colour[:3])
            }
        facts["class_names"] = _category_names(path) if file.count == 1 else None
        nodata = file.nodata

    def window(rows: slice, columns: slice) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        area = Window.from_slices(
            rows.indices(shape[0])[:2], columns.indices(shape[1])[:2], *shape[:2]
        )
        with _Quiet(), rasterio.open(path) as file:
            values = file.read(window=area, out_dtype=dtype)
            allowed = file.dataset_mask(window=area) > 0 if masked else None
        return values.transpose(1, 2, 0), allowed

    if (scales != 1).any() or (offsets != 0).any():
        chosen = slice(None) if kept is None else list(kept)
        facts |= {"scale": scales[chosen], "offset": offsets[chosen]}
    return Raster(path, *shape, dtype, window, nodata=nodata, good_bands=kept, **facts)


def _kept(tags: list[dict[str, str]]) -> tuple[int, ...] | None:
    """Bands that the bad-band lists of usual writers keep; None: all."""
    good = tuple(
        band
        for band, one in enumerate(tags)
        if one.get("bbl", one.get("BadBand", "1")).strip().lower() not in ("0", "false", "0.0")
    )
    return None if len(good) in (0, len(tags)) else good


def _spectral(
    tags: list[dict[str, str]], texts: list[str], kept: tuple[int, ...] | None
) -> dict[str, Any]:
    """Wavelengths, widths and names of the bands, from their tags or their names."""
    chosen = range(len(tags)) if kept is None else kept
    lower = [{key.lower(): text for key, text in tags[band].items()} for band in chosen]
    names = [texts[band] for band in chosen]

    def numbers(*keys: str) -> list[float] | None:
        for key in keys:
            if all(key in one for one in lower):
                try:
                    return [float(one[key].split()[0]) for one in lower]
                except (ValueError, IndexError):
                    continue
        return None

    micrometres = numbers("central_wavelength_um")
    waves = micrometres or numbers("wavelength", "wavelengths", "center_wavelength", "centre")
    values = lower[0].get("units", "")  # may be that of the band's values
    unit = lower[0].get("wavelength_units", values if is_length(values) else "")
    unit = "um" if micrometres else unit
    widths = numbers("fwhm_um") if micrometres else numbers("fwhm")
    return {
        "wavelengths": from_texts(names) if waves is None else in_nanometres(waves, unit),
        "fwhm": in_nanometres(widths, unit, like=waves or widths),
        "band_names": tuple(names) if all(names) else (),
    }


def _category_names(path: Path) -> dict[int, str] | None:
    """Names of the classes of a label raster, from the .aux.xml beside it or its own tags."""
    beside = path.with_name(f"{path.name}.aux.xml")
    if not beside.is_file():
        return None
    found = ET.parse(beside).iterfind(".//CategoryNames/Category")  # noqa: S314  (no entities)
    names = {value: item.text for value, item in enumerate(found) if item.text}
    return names or None


class _Quiet(warnings.catch_warnings):
    """Without rasterio's warning that an image has no coordinates."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", message=".*not been georeferenced.*|.*no geotransform.*")
