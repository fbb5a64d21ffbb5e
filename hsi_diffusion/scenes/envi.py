"""ENVI images: a header in text and the raw numbers in a file beside it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from spectral.io import envi

from hsi_diffusion.errors import FileFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def envi_shape(path: Path) -> tuple[int, ...]:
    """Shape of the image that a header describes, as :func:`read_envi` gives it."""
    return _shape(_open(path))


def read_envi(path: Path) -> NDArray[Any]:
    """Read the image of an ENVI header, whatever the order of its numbers (BSQ, BIL, BIP).

    Args:
        path: The header; the numbers lie beside it under the same name without ``.hdr``, or with
            ``.img``, ``.dat``, ``.raw``, ``.bsq``, ``.bil`` or ``.bip`` in its place.

    Returns:
        The numbers as they are stored, without the header's scale factor: shape (lines, samples,
        bands), or (lines, samples) where there is one band, such as a classification's.

    Raises:
        FileFormatError: The numbers are missing or too few, or it is not an image.
    """
    image = _open(path)
    stored = image.open_memmap()
    return np.array(stored).reshape(_shape(image))


def _open(path: Path) -> Any:
    with warnings.catch_warnings():
        # capital letters in the names of a header are common, and of no importance
        warnings.filterwarnings("ignore", "Parameters with non-lowercase names")
        header = envi.read_envi_header(str(path))
        if "library" in header.get("file type", "").lower():
            raise FileFormatError(
                f"{path} describes a spectral library; give the header of an image"
            )
        numbers = _numbers_of(path, header["interleave"])
        image = envi.open(str(path), str(numbers))
    lines, samples, bands = image.shape
    needed = image.offset + lines * samples * bands * np.dtype(image.dtype).itemsize
    if numbers.stat().st_size < needed:
        raise FileFormatError(
            f"{numbers} must hold {needed} bytes by its header {path.name}, got "
            f"{numbers.stat().st_size}; it is cut short, or the header is another image's"
        )
    return image


def _numbers_of(path: Path, interleave: str) -> Path:
    """The file beside a header that holds the image's numbers."""
    stem = path.with_suffix("")
    endings = ("", ".img", ".dat", ".raw", ".bin", f".{interleave.lower()}")
    names = {f"{stem.name}{ending}".lower() for ending in endings}
    found = [file for file in path.parent.iterdir() if file.name.lower() in names]
    if path in found:
        found.remove(path)
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


def _shape(image: Any) -> tuple[int, ...]:
    lines, samples, bands = image.shape
    return (lines, samples) if bands == 1 else (lines, samples, bands)
