"""ENVI's "Output of ROIs" text, in which the Houston 2013 contest lists its labelled pixels."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hsi_diffusion.errors import FileFormatError
from hsi_diffusion.scenes.isolated import check_claim

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROI_MAGIC: Final = b"; ENVI Output of ROIs"

_SIZE: Final = re.compile(r"^;\s*File Dimension:\s*(\d+)\s*x\s*(\d+)", re.MULTILINE)
_NAME: Final = re.compile(r"^;\s*ROI name:[ \t]*(.*)", re.MULTILINE)
_COLOUR: Final = re.compile(
    r"^;\s*ROI rgb value:\s*\{\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\}", re.MULTILINE
)
_POINTS: Final = re.compile(r"^;\s*ROI npts:\s*(\d+)", re.MULTILINE)


def read_roi(path: str | Path) -> NDArray[np.int64]:
    """Read an ENVI "Output of ROIs" text as a label map.

    The header names the regions and how many points each has; the points of all regions follow
    one another as lines of number, column and row (both from 1). Further columns, such as map
    coordinates, are left aside.

    Args:
        path: The text file.

    Returns:
        Shape (H, W); 0 outside all regions, the n-th region of the file is n.

    Raises:
        FileFormatError: If it is not such a text, is cut short, or contradicts itself: points
            outside the image, or one pixel in two regions.
    """
    path = Path(path)
    check_is_file(path)
    lines, header = _text(path)
    size, names = _SIZE.search(header), _NAME.findall(header)
    counts = [int(count) for count in _POINTS.findall(header)]
    if not header.encode().startswith(ROI_MAGIC) or size is None or len(names) != len(counts):
        raise FileFormatError(
            f"{path} is not an ENVI 'Output of ROIs' text: its header must give the file "
            f"dimension and a name and a number of points for each region"
        )
    width, height = int(size[1]), int(size[2])
    points = _read_points(path, lines)
    if len(points) != sum(counts):
        raise FileFormatError(
            f"{path}: the header promises {sum(counts)} points in {len(counts)} regions, "
            f"got {len(points)}; the file may be cut short, get it again"
        )
    column, row = points.T - 1
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    if outside.any():
        x, y = points[outside][0]
        raise FileFormatError(
            f"{path}: points must lie in 1..{width} x 1..{height}, got {int(outside.sum())} "
            f"outside, the first at column {x}, row {y}"
        )
    check_claim(path, 8 * width * height, compressed=True)
    region = np.repeat(np.arange(1, len(counts) + 1), counts)
    labels = np.zeros((height, width), dtype=np.int64)
    labels[row, column] = region
    lost = labels[row, column] != region
    if lost.any():
        x, y = points[lost][0]
        raise FileFormatError(
            f"{path}: a pixel must belong to one region, got {int(lost.sum())} in two, "
            f"the first at column {x}, row {y}"
        )
    return labels


def read_roi_classes(path: str | Path) -> dict[str, Any]:
    """Names and colours of the regions of an ENVI "Output of ROIs" text.

    Returns:
        ``class_names`` and ``palette`` of :class:`~hsi_diffusion.scenes.Raster` for the values of
        :func:`read_roi`; without names that two regions share, and colours that one lacks.
    """
    _, header = _text(Path(path))
    names = [name.strip() for name in _NAME.findall(header)]
    colours = [(int(red), int(green), int(blue)) for red, green, blue in _COLOUR.findall(header)]
    found: dict[str, Any] = {}
    if all(names) and len(set(names)) == len(names):
        found["class_names"] = dict(enumerate(names, 1))
    if len(colours) == len(names) and max(map(max, colours), default=0) < 256:
        found["palette"] = dict(enumerate(colours, 1))
    return found


def _text(path: Path) -> tuple[list[str], str]:
    """All lines of a file, and the header at their beginning."""
    # editors on Windows put a byte order mark in front
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return lines, "\n".join(takewhile(lambda line: line.startswith(";"), lines))


def check_is_file(path: Path) -> None:
    """Raise a FileFormatError unless there is a file ``path``."""
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder; name a file in it")
    if not path.is_file():
        relative = "" if path.is_absolute() else f", looked for in {Path.cwd()}"
        raise FileFormatError(f"no file {path}{relative}; check its name")


def _read_points(path: Path, lines: list[str]) -> NDArray[np.int64]:
    """Columns X and Y of all points, shape (N, 2)."""
    table = [line for line in lines if line and not line.isspace() and line[0] != ";"]
    if not table:
        return np.zeros((0, 2), dtype=np.int64)
    try:
        return np.loadtxt(table, dtype=np.int64, usecols=(1, 2), ndmin=2)
    except ValueError as error:
        raise FileFormatError(
            f"{path}: each point must be a line of number, column and row: {error}; the file may "
            f"be cut short, get it again"
        ) from error
