"""Images written window by window: GeoTIFF, ENVI, .npy."""

from __future__ import annotations

import importlib.util
import math
import re
import tempfile
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
import tifffile

from hsi_diffusion.errors import ConfigurationError, MissingDependencyError
from hsi_diffusion.files import atomic_path, write_text
from hsi_diffusion.scenes.envi import SOUTH_UP, TYPES
from hsi_diffusion.scenes.gdal import require_rasterio

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from hsi_diffusion.scenes.georeference import Georeference

    Blocks = Iterable[tuple[slice, slice, NDArray[Any]]]

SUFFIXES = (".tif", ".tiff", ".hdr", ".npy")

TILE = 256
"""Side of the tiles of a GeoTIFF in pixels."""

LISTED = 2**16 - 1
"""Largest class value of a map with names and colours: its file lists those of all values below."""

CACHE = 2**26
"""Bytes of tiles that GDAL holds."""

ENVI_TYPES = {kind: number for number, kind in TYPES.items()}


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What a file says of an image beside its values.

    Attributes:
        shape: (height, width, bands).
        dtype: Type of the values.
        georeference: Where the pixels lie; None where unknown.
        nodata: The value that means "no data here".
        band_names: One name per band; empty: none.
        class_names: For a map of classes, name of each value but 0.
        palette: Likewise the colours, (red, green, blue) in 0..255.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    georeference: Georeference | None = None
    nodata: float = 0
    band_names: tuple[str, ...] = ()
    class_names: Mapping[int, str] = field(default_factory=dict)
    palette: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)


def check_image_path(path: str | Path, name: str, *others: str) -> None:
    """Raise a ConfigurationError unless an image can be written in the format of ``path``.

    Messages call the file ``name``; ``others`` are further endings that the caller can write.
    """
    if Path(path).suffix.lower() not in (*SUFFIXES, *others):
        raise ConfigurationError(
            f"{name} must be written to a file that ends with {', '.join((*SUFFIXES, *others))}, "
            f"got {path}"
        )


def written_files(path: Path) -> tuple[Path, ...]:
    """The files of the values that :func:`write_image` writes for a path."""
    return (path, path.with_suffix(".img")) if path.suffix.lower() == ".hdr" else (path,)


def write_image(path: str | Path, facts: ImageFacts, blocks: Blocks) -> None:
    """Write an image whose windows come one by one; the file appears whole or not at all.

    Args:
        path: ``.tif``: a cloud-optimised GeoTIFF, tiled and compressed (without rasterio a plain
            TIFF); ``.hdr``: ENVI, with the values beside it as ``.img``; ``.npy``.
        facts: What the file says of the image. Names and colours of classes are left out, with a
            warning, where the largest class value is above 65,535.
        blocks: Rows, columns and values (h, w, bands) of windows that cover the image.

    Raises:
        ConfigurationError: The file ends with something else.
        MissingDependencyError: The image has coordinates, and rasterio is not there to write them.
    """
    check_image_path(path, "an image")
    path = Path(path)
    largest = max(facts.class_names, default=0)
    if largest > LISTED and path.suffix.lower() != ".npy":
        warnings.warn(
            f"{path} holds no names and colours of its classes, because its largest class value, "
            f"{largest}, is above {LISTED}: the format would list all values up to it",
            stacklevel=2,
        )
        facts = replace(facts, class_names={}, palette={})
    write = {".hdr": _write_envi, ".npy": _write_npy}.get(path.suffix.lower(), _write_tiff)
    write(path, facts, blocks)


def _write_npy(path: Path, facts: ImageFacts, blocks: Blocks) -> None:
    shape = facts.shape if facts.shape[2] > 1 else facts.shape[:2]
    with atomic_path(path) as temporary:
        _fill(np.lib.format.open_memmap(temporary, "w+", facts.dtype, shape), blocks)


def _fill(image: np.memmap[Any, Any], blocks: Blocks) -> None:
    """Write windows into an array in a file, (H, W, bands) or (H, W)."""
    for rows, columns, values in blocks:
        image[rows, columns] = values if image.ndim == 3 else values[:, :, 0]
    image.flush()


def _write_tiff(path: Path, facts: ImageFacts, blocks: Blocks) -> None:
    if importlib.util.find_spec("rasterio") is None and facts.georeference is None:
        _write_plain_tiff(path, facts, blocks)
        return
    rasterio = require_rasterio("writing a GeoTIFF")
    from rasterio.shutil import copy  # noqa: PLC0415
    from rasterio.windows import Window  # noqa: PLC0415

    height, width, bands = facts.shape
    place = facts.georeference
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": bands,
        "dtype": facts.dtype,
        "nodata": facts.nodata,
        "tiled": True,
        "blockxsize": TILE,
        "blockysize": TILE,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }
    if place is not None:
        profile |= {"crs": place.crs, "transform": rasterio.Affine(*place.transform)}
    options = {"compress": "deflate", "bigtiff": "if_safer", "blocksize": TILE}
    options["overview_resampling"] = "average" if facts.dtype.kind == "f" else "nearest"
    with (
        atomic_path(path) as temporary,
        tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder,
        # no files beside: the temporary ones' names would be in their names
        rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_PAM_ENABLED=False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        first = Path(folder) / "map.tif"  # a COG's overviews lie before its values
        with rasterio.open(first, "w", **profile) as file:
            if facts.palette:
                file.write_colormap(1, {0: (0, 0, 0, 0), **facts.palette})
            for number, name in enumerate(facts.band_names, 1):
                file.set_band_description(number, name)
            for rows, columns, values in blocks:
                file.write(values.transpose(2, 0, 1), window=Window.from_slices(rows, columns))
        copy(first, temporary, driver="COG", **options)
        if facts.class_names:
            write_text(f"{path}.aux.xml", _category_names(facts.class_names))
        else:  # that of an earlier map
            Path(f"{path}.aux.xml").unlink(missing_ok=True)


def _category_names(names: Mapping[int, str]) -> str:
    """Names of the values of a band in the file that GDAL reads beside an image."""
    texts = [escape(names.get(value, "")) for value in range(max(names) + 1)]
    categories = "".join(f"<Category>{text}</Category>" for text in texts)
    return (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{categories}</CategoryNames>'
        "</PAMRasterBand></PAMDataset>\n"
    )


def _write_plain_tiff(path: Path, facts: ImageFacts, blocks: Blocks) -> None:
    """A TIFF without coordinates and compression."""
    height, width, bands = facts.shape
    shape = (height, width) if bands == 1 else facts.shape
    with atomic_path(path) as temporary:
        image = tifffile.memmap(temporary, shape=shape, dtype=facts.dtype, metadata=None)
        _fill(image, blocks)


def _write_envi(path: Path, facts: ImageFacts, blocks: Blocks) -> None:
    height, width, bands = facts.shape
    header: dict[str, Any] = {
        "samples": width,
        "lines": height,
        "bands": bands,
        "header offset": 0,
        "data type": ENVI_TYPES[facts.dtype.str[1:]],
        "interleave": "bip",
        "byte order": 0,
        "data ignore value": facts.nodata,
    }
    names = facts.class_names
    if names:
        # a classification's classes are numbered without gaps
        listed = range(max(names) + 1)
        palette = {0: (0, 0, 0), **facts.palette}
        header |= {
            "file type": "ENVI Classification",
            "classes": len(listed),
            "class names": _listed(["Unclassified", *(names.get(n, f"({n})") for n in listed[1:])]),
            "class lookup": _listed(value for n in listed for value in palette.get(n, (0, 0, 0))),
            "band names": "{Classification}",
        }
    elif facts.band_names:
        header["band names"] = _listed(facts.band_names)
    if facts.georeference is not None:
        header |= _map_info(facts.georeference)
    with atomic_path(path.with_suffix(".img")) as temporary:
        dtype = facts.dtype.newbyteorder("<")
        _fill(np.memmap(temporary, dtype, "w+", shape=facts.shape), blocks)
    lines = [f"{name} = {value}" for name, value in header.items()]
    write_text(path, "\n".join(["ENVI", *lines, ""]))


def _listed(values: Iterable[object]) -> str:
    """Values as a header lists them, which knows no way to write a comma or a brace in a name."""
    texts = (re.sub(r"[{},]", " ", str(value)) for value in values)
    return f"{{{', '.join(texts)}}}"


def check_place(path: Path, place: Georeference | None) -> None:
    """Raise a ConfigurationError unless a file can hold the coordinates of an image."""
    if place is not None and path.suffix.lower() == ".hdr":
        _rotation(place)


def _rotation(place: Georeference) -> float:
    """The angle in degrees by which a header says that an image is turned."""
    a, b, _, d, e, _ = place.transform
    sizes = math.hypot(a, b), math.hypot(d, e)
    south_up = a > 0 and e > 0 and b == d == 0
    rotation = SOUTH_UP if south_up else math.degrees(math.atan2(b, a))
    turned = math.isclose(a * d + b * e, 0, abs_tol=1e-9 * sizes[0] * sizes[1])
    if not south_up and (not turned or a * e - b * d > 0 or abs(rotation) == SOUTH_UP):
        raise ConfigurationError(
            "an ENVI header can't hold the coordinates of an image that is sheared, mirrored from "
            "left to right, turned by 180 degrees, or turned with pixels that are not square; "
            "write .tif"
        )
    return rotation


def _map_info(place: Georeference) -> dict[str, str]:
    """The entries of a header that say where the pixels lie.

    A zone of UTM, and longitude and latitude in WGS 84, are named, so that programs without WKT
    know them too.
    """
    a, b, c, d, e, f = place.transform
    sizes, rotation = (math.hypot(a, b), math.hypot(d, e)), _rotation(place)
    crs = place.crs or ""
    zone = UTM.search(crs)
    world = crs == "EPSG:4326"
    wkt = crs if "[" in crs else "" if zone or world or not crs else _wkt(crs)
    degrees = world or wkt.startswith(("GEOG", "GEOD"))
    name = "UTM" if zone else "Geographic Lat/Lon" if degrees else "Projected"
    parts: list[object] = [name if crs else "Arbitrary", 1, 1, repr(c), repr(f), *map(repr, sizes)]
    if degrees:
        parts += ["WGS-84"] if world or WGS84.match(wkt) else []
        parts.append("units=Degrees")
    if zone:
        code, code_zone, named_zone, letter = zone.groups()
        south = code == "7" or letter == "S"
        parts += [int(code_zone or named_zone), "South" if south else "North", "WGS-84"]
        parts.append("units=Meters")
    if rotation:
        parts.append(f"rotation={rotation!r}")
    found = {"map info": _listed(parts)}
    return {**found, WKT: f"{{{wkt}}}"} if wkt else found


def _wkt(code: str) -> str:
    """A coordinate system such as EPSG:3035 as WKT; empty, with a warning, where unknown."""
    try:
        known = require_rasterio(f"the WKT of {code}").crs.CRS.from_user_input
        return str(known(code).to_wkt())
    except (MissingDependencyError, ValueError) as error:  # rasterio's CRSError is a ValueError
        warnings.warn(
            f"the ENVI header can't say that its coordinates are those of {code}: {error}",
            stacklevel=5,
        )
        return ""


WKT = "coordinate system string"
WGS84 = re.compile(r'GEO[GD]\w*\["(WGS 84|GCS_WGS_1984)"')
UTM = re.compile(r"EPSG:32([67])(\d\d)$|WGS 84 / UTM zone (\d+)([NS])\"")
