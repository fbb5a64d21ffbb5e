"""Band centres in nanometres, whatever the unit of a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hsi_diffusion.errors import FileFormatError, SceneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

MICROMETRES_BELOW: Final = 100.0
"""A spectrum whose longest wavelength lies below this is one in micrometres."""

TOLERANCE: Final = 1.0
"""Nanometres by which the band centres of two images of one sensor may differ."""

_NANOMETRES: Final = ("nano", "nm")
_MICROMETRES: Final = ("micro", "um", "µm", "μm")
_WAVELENGTH: Final = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nm|nanomet\w+|um|µm|μm|micromet\w+)\b", re.IGNORECASE
)


def in_nanometres(
    values: ArrayLike | None, units: str = "", *, like: ArrayLike | None = None
) -> tuple[float, ...] | None:
    """Wavelengths in nm.

    Args:
        values: As the file holds them; None: unknown.
        units: Their unit in any usual spelling; where it is none, the size of the numbers tells.
        like: Judge by the size of these instead, such as the band centres for their widths.

    Returns:
        None where they are unknown, or all 0.
    """
    if values is None:
        return None
    found = np.asarray(values, dtype=np.float64).ravel()
    judged = found if like is None else np.asarray(like, dtype=np.float64)
    if not len(found) or not np.isfinite(found).all() or found.max() <= 0:
        return None
    unit = units.strip().lower()
    if is_length(unit):
        factor = 1.0 if unit.startswith(_NANOMETRES) else 1000.0
    elif unit and not unit.startswith(("unknown", "wavelength")):
        return None  # indices, wave numbers, GHz
    else:
        factor = 1000.0 if judged.max() < MICROMETRES_BELOW else 1.0
    # 0.45 micrometres are 450 nm, not 449.99999999999994
    return tuple(np.round(found * factor, 6).tolist())


def is_length(units: str) -> bool:
    """Whether a text is a unit of wavelengths that is read."""
    return units.strip().lower().startswith(_NANOMETRES + _MICROMETRES)


def check_wavelengths(
    given: Sequence[float] | None, learned: Sequence[float] | None, *, source: str, what: str = ""
) -> None:
    """Refuse an image of another sensor with as many bands.

    Args:
        given: Its band centres in nm; None where unknown: anything goes.
        learned: Those that were learned, as many; likewise.
        source: The image that has these.
        what: What has learned them there, such as "this model".

    Raises:
        SceneError: They differ by more than :data:`TOLERANCE`.
    """
    if given is None or learned is None:
        return
    apart = np.abs(np.subtract(given, learned))
    if apart.max() > TOLERANCE:
        band = int(apart.argmax())
        raise SceneError(
            f"image must have the wavelengths of {source}, "
            + (f"on which {what} was fitted, " if what else "")
            + f"but {int((apart > TOLERANCE).sum())} bands differ: band {band} lies at "
            f"{given[band]:g} nm, and at {learned[band]:g} nm there; give an image of the same "
            "sensor, or resample its bands (--resample)"
        )


def from_texts(names: Sequence[str]) -> tuple[float, ...] | None:
    """Wavelengths in nm out of names of bands such as "Band 3 (482.1 nm)"; None without any."""
    found = [_WAVELENGTH.search(name) for name in names]
    if not names or not all(found):
        return None
    matches = [match for match in found if match is not None]
    return in_nanometres([float(match[1]) for match in matches], matches[0][2])


def read_wavelengths(source: Sequence[float] | str | Path) -> tuple[float, ...] | None:
    """Wavelengths in nm, of numbers in nm or micrometres, or of a text file of them.

    A first line of the file that begins with a letter is taken for its heading.

    Raises:
        FileFormatError: The file can't be read as numbers.
    """
    if not isinstance(source, str | Path):
        return in_nanometres(source) or tuple(source)
    try:
        text = Path(source).read_text(encoding="utf-8-sig")
        text = re.sub(r"^\W*[^\W\d][^\n]*\n", "", text)
        return in_nanometres([float(word) for word in re.split(r"[\s,;]+", text.strip())])
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"wavelengths must be a text file of numbers, one per band, got {source}: {error}"
        ) from error
