"""ENVI images: a header in text and the raw numbers in a file beside it."""

from __future__ import annotations

import codecs
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hsi_diffusion.errors import FileFormatError, MissingDependencyError
from hsi_diffusion.scenes.gdal import require_rasterio
from hsi_diffusion.scenes.georeference import Georeference
from hsi_diffusion.scenes.raster import Raster
from hsi_diffusion.scenes.wavelengths import from_texts, in_nanometres

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TYPES: Final = {
    1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
"""NumPy's names of the types of numbers that a header names by a number."""
_COMPLEX: Final = (6, 9)
SOUTH_UP: Final = 180.0
"""The rotation by which GDAL marks images whose first row is the southernmost."""
ENDINGS: Final = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip")
"""What the name of a file of numbers has in place of its header's ``.hdr``."""
_FIELD: Final = re.compile(
    r"^\s*([^=;{}\n]+?)[ \t]*=[ \t]*((?:\n\s*)?\{[^}]*\}|[^\n]*)", re.MULTILINE
)


def map_envi(path: Path) -> NDArray[Any]:
    """Map the image of an ENVI header, whatever the order of its numbers (BSQ, BIL, BIP).

    Args:
        path: The header; the numbers lie beside it under the same name without ``.hdr``, or with
            ``.img``, ``.dat``, ``.raw``, ``.bsq``, ``.bil`` or ``.bip`` in its place.

    Returns:
        The numbers as they are stored, without the header's scale factor: shape (lines, samples,
        bands), or (lines, samples) where there is one band, such as a classification's.

    Raises:
        FileFormatError: The numbers are missing or too few, or it is not an image.
    """
    stored = _checked(path).memmap()
    return stored[:, :, 0] if stored.shape[2] == 1 else stored


def open_envi(path: Path) -> Raster:
    """Open the image of an ENVI header for windows, with what the header says of it.

    Raises:
        FileFormatError: As :func:`map_envi`, or a field of the header can't be understood.
    """
    header = _checked(path)
    bands, kept = header.shape[2], header.good_bands

    def of_bands(name: str) -> NDArray[np.float64] | None:
        values = header.numbers(name)
        if values is not None and len(values) != bands:
            raise FileFormatError(
                f"{path}: {name!r} must have {bands} entries, one per band, got {len(values)}; "
                "correct the header"
            )
        return values if values is None or kept is None else values[list(kept)]

    centres, units = of_bands("wavelength"), header.text("wavelength units")
    wavelengths = in_nanometres(centres, units)
    fwhm = in_nanometres(of_bands("fwhm"), units, like=centres)
    names = header.items("band names")
    names = [names[band] for band in kept or range(bands)] if len(names) == bands else []
    if wavelengths is None:  # GDAL writes them there
        wavelengths = from_texts(names)
    gains, offsets = of_bands("data gain values"), of_bands("data offset values")
    factor = header.number("reflectance scale factor")
    if gains is None and offsets is None and factor not in (None, 0, 1):
        gains = np.full(bands if kept is None else len(kept), 1 / float(factor or 1))
    if gains is not None and (gains == 1).all() and offsets is None:
        gains = None
    return Raster.of(
        header.memmap(),
        path=path,
        nodata=header.number("data ignore value"),
        good_bands=kept,
        scale=gains if offsets is None or gains is not None else 1.0,
        offset=0.0 if offsets is None else offsets,
        wavelengths=wavelengths,
        fwhm=fwhm,
        band_names=tuple(names),
        georeference=header.georeference,
        class_names=dict(enumerate(header.items("class names"))) or None,
        palette=header.palette,
        sensor=header.text("sensor type"),
    )


@dataclass(frozen=True)
class Header:
    """The text of an ENVI header.

    Attributes:
        path: The header.
        fields: Names in lower case, and what stands behind them.
    """

    path: Path
    fields: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Header:
        """Read it, in UTF-8, UTF-16 (with a byte-order mark) or Latin-1.

        Raises:
            FileFormatError: It is no header of an ENVI image, or lacks a field.
        """
        raw = path.read_bytes()
        marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        try:
            text = raw.decode("utf-16" if marked else "utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not text.startswith("ENVI"):
            raise FileFormatError(f"{path} is not an ENVI header: its first line must be ENVI")
        fields = {match[1].lower(): match[2].strip() for match in _FIELD.finditer(text)}
        header = cls(path, fields)
        if "library" in fields.get("file type", "").lower():
            raise FileFormatError(
                f"{path} describes a spectral library; give the header of an image"
            )
        if header.number("file compression"):
            raise FileFormatError(
                f"{path}: 'file compression' must be 0, got {fields['file compression']}; "
                "uncompress the file of numbers (gunzip), and write 0 there"
            )
        needed = ("samples", "lines", "bands", "data type", "interleave")
        if missing := [name for name in needed if name not in fields]:
            raise FileFormatError(
                f"{path} lacks {', '.join(map(repr, missing))}; an ENVI header must hold "
                f"{', '.join(needed)}: add them, or get the header again"
            )
        return header

    @property
    def shape(self) -> tuple[int, int, int]:
        """(lines, samples, bands)."""
        return self._whole("lines"), self._whole("samples"), self._whole("bands")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored numbers."""
        kind = self._whole("data type")
        if kind in _COMPLEX:
            raise FileFormatError(
                f"{self.path} must hold real numbers, got complex ones (data type {kind}); store "
                "the magnitude, or the real part"
            )
        if kind not in TYPES:
            raise FileFormatError(
                f"{self.path}: data type must be one of {', '.join(map(str, TYPES))}, got {kind}"
            )
        swapped = self.number("byte order") == 1
        return np.dtype(f"{'>' if swapped else '<'}{TYPES[kind]}")

    @property
    def interleave(self) -> str:
        """bsq, bil or bip."""
        found = self.fields["interleave"].lower()
        if found not in ("bsq", "bil", "bip"):
            raise FileFormatError(f"{self.path}: interleave must be bsq, bil or bip, got {found!r}")
        return found

    @property
    def good_bands(self) -> tuple[int, ...] | None:
        """Bands that the bad-band list keeps; None: all."""
        good = self.numbers("bbl")
        if good is None:
            return None
        if len(good) != self.shape[2] or not (good != 0).any():
            raise FileFormatError(
                f"{self.path}: 'bbl' must hold {self.shape[2]} entries, one per band, 1 for at "
                f"least one good one, got {len(good)}, {int((good != 0).sum())} of them good"
            )
        return None if good.all() else tuple(np.flatnonzero(good).tolist())

    @cached_property
    def georeference(self) -> Georeference | None:
        """Where the pixels lie, by ``map info`` and ``coordinate system string``."""
        info = self.items("map info")
        if len(info) < 7:
            if info:
                warnings.warn(
                    f"{self.path}: 'map info' must hold a projection and six numbers, got "
                    f"{', '.join(info)}, so that the image has no coordinates; correct the header",
                    stacklevel=4,
                )
            return None
        turned = next((item for item in info if item.lower().startswith("rotation")), "")
        try:
            numbers = [float(item) for item in (*info[1:7], turned.partition("=")[2] or 0)]
        except ValueError:
            numbers = []
        column, row, x, y, width, height, degrees = numbers or [0.0] * 7
        if not np.isfinite(numbers).all() or width == 0 or height == 0:
            raise FileFormatError(
                f"{self.path}: 'map info' must hold a projection and six numbers, of which the "
                f"pixel sizes (the last two) are not 0, got {info}; correct the header"
            )
        # as GDAL reads and writes it: for pixels that are not square the sizes are those along x
        # and y, and 180 degrees stand for rows that go north, not for an image that is turned
        angle = np.deg2rad(degrees)
        a, b = width * np.cos(angle), width * np.sin(angle)
        d, e = height * np.sin(angle), -height * np.cos(angle)
        if abs(degrees) == SOUTH_UP:
            a, b, d, e = width, 0.0, 0.0, height
        # the tie point counts pixels from 1, at their corners
        x0, y0 = x - a * (column - 1) - b * (row - 1), y - d * (column - 1) - e * (row - 1)
        return Georeference(self._crs(info), tuple(map(float, (a, b, x0, d, e, y0))))  # type: ignore[arg-type]

    def _crs(self, info: list[str]) -> str | None:
        text = self.text("coordinate system string")
        if len(text) > 2 and self._is_wkt(text):
            return text
        name, north = info[0].lower(), [item.lower() for item in info]
        datum = any(item.replace("-", "").replace(" ", "") == "wgs84" for item in north)
        if name == "utm" and datum and len(info) > 8 and info[7] in map(str, range(1, 61)):
            return f"EPSG:{(32700 if 'south' in north else 32600) + int(info[7])}"
        return "EPSG:4326" if name.startswith("geographic") and datum else None

    def _is_wkt(self, text: str) -> bool:
        """Whether a text is a coordinate system, as far as that can be told."""
        try:
            rasterio = require_rasterio(f"the coordinate system of {self.path}")
            with rasterio.Env():  # which keeps GDAL from printing
                rasterio.crs.CRS.from_wkt(text)  # a text of another kind might be a web address
        except MissingDependencyError:
            return True
        except ValueError:  # rasterio's CRSError is one
            warnings.warn(
                f"{self.path}: 'coordinate system string' must hold a coordinate system as WKT, "
                f"got {text[:60]!r}, so that 'map info' alone counts; correct the header",
                stacklevel=5,
            )
            return False
        return True

    @property
    def palette(self) -> dict[int, tuple[int, int, int]] | None:
        """Colours of the values of a classification."""
        values = self.numbers("class lookup")
        if values is None or len(values) % 3:
            return None
        rows = values.astype(int).reshape(-1, 3).tolist()
        return {value: (red, green, blue) for value, (red, green, blue) in enumerate(rows)}

    def text(self, name: str) -> str:
        """A field, empty where it is missing."""
        return self.fields.get(name, "").strip("{} \n")

    def items(self, name: str) -> list[str]:
        """The entries of a list."""
        text = self.text(name)
        return [" ".join(item.split()) for item in text.split(",")] if text else []

    def number(self, name: str) -> float | None:
        """A field as a number; None where it is missing."""
        found = self.numbers(name)
        return None if found is None else float(found[0])

    def numbers(self, name: str) -> NDArray[np.float64] | None:
        """A list of numbers; None where it is missing."""
        items = [item for item in self.items(name) if item]
        if not items:
            return None
        try:
            return np.array(items, dtype=np.float64)
        except ValueError as error:
            raise FileFormatError(
                f"{self.path}: {name!r} must hold numbers, got {self.text(name)[:60]!r}"
            ) from error

    def _whole(self, name: str) -> int:
        text = self.fields[name]
        if not text.isdigit() or int(text) < 1:
            raise FileFormatError(f"{self.path}: {name!r} must be a whole number, got {text!r}")
        return int(text)

    @property
    def offset(self) -> int:
        """Bytes before the first number."""
        return int(self.number("header offset") or 0)

    @cached_property
    def data(self) -> Path:
        """The file beside the header that holds the image's numbers."""
        path, stem = self.path, self.path.with_suffix("")
        names = {f"{stem.name}{ending}".lower() for ending in ENDINGS}
        found = [
            file
            for file in path.parent.iterdir()
            if file.name.lower() in names and file != path and file.is_file()
        ]
        if len(found) > 1:  # the ending that says what the header says
            found = [
                file for file in found if file.suffix.lower() == f".{self.interleave}"
            ] or found
        if not found:
            raise FileFormatError(
                f"{path} is the header of an ENVI image whose numbers are not beside it: put "
                f"{stem.name} or {stem.name}.img there"
            )
        if len(found) > 1:
            raise FileFormatError(
                f"it is not clear which file holds the numbers of {path}: "
                f"{', '.join(sorted(file.name for file in found))}; move the others away"
            )
        return found[0]

    def memmap(self) -> NDArray[Any]:
        """The numbers where they lie, shape (lines, samples, bands)."""
        lines, samples, bands = self.shape
        shape, order = {
            "bsq": ((bands, lines, samples), (1, 2, 0)),
            "bil": ((lines, bands, samples), (0, 2, 1)),
            "bip": ((lines, samples, bands), (0, 1, 2)),
        }[self.interleave]
        stored: NDArray[Any] = np.memmap(self.data, self.dtype, "r", self.offset, shape)
        return stored.transpose(order)


def _checked(path: Path) -> Header:
    """A header whose file of numbers has the size that it says."""
    header = Header.read(path)
    lines, samples, bands = header.shape
    size, line = header.data.stat().st_size, samples * bands * header.dtype.itemsize
    needed = header.offset + lines * line
    if size < needed:
        raise FileFormatError(
            f"{header.data} must hold {needed} bytes by its header {path.name}, got {size}; it is "
            "cut short, or the header is another image's"
        )
    if size > needed:
        fitting, rest = divmod(size - header.offset, line)
        hint = "" if rest else f"; {fitting} lines would fit"
        text = (
            f"{header.data} must hold {needed} bytes by its header {path.name}, got "
            f"{size - needed} more{hint}: check lines, samples, bands, data type and header offset"
        )
        if header.interleave == "bsq" and bands > 1:  # all bands but the first would be shifted
            raise FileFormatError(text)
        warnings.warn(text, stacklevel=4)
    return header
