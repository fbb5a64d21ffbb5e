"""Label rasters of another grid than the image's, and label images that are no label maps."""

from __future__ import annotations

import math
import re
import warnings
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hsi_diffusion.errors import FileFormatError, SceneError
from hsi_diffusion.scenes.gdal import in_other_system, require_rasterio
from hsi_diffusion.scenes.labels import as_label_map
from hsi_diffusion.scenes.opening import open_raster
from hsi_diffusion.scenes.raster import Raster
from hsi_diffusion.scenes.readers import file_format, list_arrays, parse_location
from hsi_diffusion.scenes.scene import check_same_size
from hsi_diffusion.scenes.vector import Labels, is_vector, read_vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.scenes.georeference import Georeference

IGNORED: Final = 255
"""What 8-bit label rasters hold where nothing is known, if they hold a class too."""

UNLABELLED: Final = re.compile(
    "unclass|unlabel|unknown|undefined|background|empty|mask|ignore|none|void|no.?data",
    re.IGNORECASE,
)
"""What label rasters call the value 0, unless they call a class so."""

MOST_COLOURS: Final = 64
"""A picture of more colours is a photograph."""

STEPS: Final = 64
"""Into so many parts an image is cut each way, to find where it lies in another system."""

ALIGNED: Final = 0.05
"""Parts of a pixel by which two grids may be apart and still be one."""

OFF: Final = (
    "labels don't lie on the image: none of their labelled pixels meets one of its pixels; check "
    "the coordinates and coordinate systems of both"
)


def read_labels(
    source: Any, image: Raster, attribute: str | None = None, axes: str | None = None
) -> Labels:
    """Labels of an image, from whatever holds them.

    Args:
        source: A label map (a file or an array), a label raster with coordinates on another grid, a
            one-hot or colour-coded image, or polygons and points, see :func:`read_vector`.
        image: The image.
        attribute: For polygons and points: the column that holds the class.
        axes: The order of axes in which the image was read, for messages; None: HWC.

    Returns:
        Class values on the image's pixels, 0 where unlabelled, and what the file says of them.

    Raises:
        SceneError: They don't lie on the image, or are no label map.
        FileFormatError: The file can't be read.
    """
    if is_vector(source):
        return read_vector(source, image, attribute)
    if attribute is not None:
        raise SceneError(
            f"label_attribute names a column of polygons or points; {source} is a label map: leave "
            "it out"
        )
    try:
        raster = open_raster(source, ndim=2)
    except (FileFormatError, SceneError) as error:
        found = _of_size(source, image, error) or _flat(source, image)
        raster = found or _of_picture(source, error)
    part = _covering(raster, image)
    values, valid = raster.read(*part)
    labels = as_label_map(np.where(valid, values[:, :, 0], 0))
    _heed_unlabelled(labels, valid, raster)
    labels = _onto(labels, part, raster, image)
    check_same_size(image.shape, labels, "labels", axes)
    names = {value: name for value, name in (raster.class_names or {}).items() if value > 0}
    return Labels(labels, names, raster.palette or {})


def _of_size(source: Any, image: Raster, refused: Exception) -> Raster | None:
    """The only label map of an image's size in a file of several; None where there are no several.

    Raises:
        Exception: ``refused``, if it is not clear which one is meant.
    """
    if not isinstance(source, str | Path):
        return None
    path, key = parse_location(source)
    if key is not None or not path.is_file() or file_format(path) not in ("mat", "npz", "hdf5"):
        return None
    flat = {name: shape for name, shape in list_arrays(path).items() if len(shape) == 2}
    if len(flat) < 2:
        return None
    fitting = [name for name, shape in flat.items() if shape == image.shape[:2]]
    if len(fitting) != 1:
        raise refused
    return open_raster(f"{path}:{fitting[0]}", ndim=2)


def _flat(source: Any, image: Raster) -> Raster | None:
    """A label map that is stored with a further axis of length 1; None for others."""
    for axes in (None, "CHW"):
        with suppress(FileFormatError, SceneError):
            raster = open_raster(source, axes=axes)
            if raster.shape == (*image.shape[:2], 1):
                return raster
    return None


def _heed_unlabelled(labels: NDArray[np.int64], valid: NDArray[np.bool_], raster: Raster) -> None:
    """Set 255 of 8-bit maps to 0, unlabelled, and tell of pixels of 0 that may be of a class."""
    name = (raster.class_names or {}).get(0, "")
    zeros = 0 if UNLABELLED.search(name) else int(np.count_nonzero((labels == 0) & valid))
    small = raster.stored_dtype == np.uint8
    ignored = (labels == IGNORED) & small
    ignored &= bool((labels[~ignored] > 0).any())
    declared = small and raster.nodata == IGNORED and not valid.all()
    if name and zeros:
        warnings.warn(
            f"labels: 0 is taken for unlabelled, so that {zeros} pixels of 0, which the file calls "
            f"{name!r}, are left out; if that is a class, number the classes from 1",
            stacklevel=5,
        )
    elif ignored.any() or (declared and zeros):
        told = f"labels: {IGNORED} is taken for unlabelled, not for a class"
        if zeros:
            told += (
                f", and so is 0, which {zeros} pixels hold; if 0 is a class, number the classes "
                f"from 1: np.where(labels == {IGNORED}, 0, labels + 1)"
            )
        warnings.warn(told, stacklevel=5)
    labels[ignored] = 0


def has_coordinates(source: Any) -> bool:
    """Whether labels say where they lie, so that one file of them can be that of several images.

    What :func:`read_labels` refuses counts as if it did.
    """
    if is_vector(source):
        path = Path(source)
        if path.suffix.lower() != ".csv" or not path.is_file():
            return True
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            names = {name.strip(' "\n').lower() for name in re.split("[,;\t]", file.readline())}
        return names.isdisjoint({"row", "line"}) or names.isdisjoint({"column", "col", "sample"})
    for ndim in (2, 3):
        try:
            return open_raster(source, ndim=ndim).georeference is not None
        except (FileFormatError, SceneError):
            continue
    return True


def _of_picture(source: Any, refused: Exception) -> Raster:
    """A one-hot or colour-coded image as a label map.

    It is read whole, so that a colour is the same class on every image that it covers.

    Raises:
        Exception: ``refused``, if it is neither; with what it looks like, if that can be said.
    """
    try:
        raster = open_raster(source)
        values, valid = raster.read()
    except (FileFormatError, SceneError):
        raise refused from None
    place = raster.georeference
    if set(np.unique(values).tolist()) <= {0, 1} and values.sum(axis=2).max() == 1:
        labels = np.where(values.any(axis=2), values.argmax(axis=2) + 1, 0)
        if labels.all():
            warnings.warn(
                "labels: every pixel of the one-hot image has a class; if one of its bands stands "
                "for unlabelled pixels, leave that band out",
                stacklevel=4,
            )
        return Raster.of(labels[:, :, None], valid, georeference=place)
    if values.dtype == np.uint8 and values.shape[2] in (3, 4):
        colours, number = np.unique(values[:, :, :3].reshape(-1, 3), axis=0, return_inverse=True)
        if len(colours) <= MOST_COLOURS:
            black = int(not colours[0].any())  # they are sorted, so black comes first
            labels = number.reshape(values.shape[:2]) + 1 - black
            shown = dict(enumerate(map(tuple, colours[black:].tolist()), 1))
            name = source if isinstance(source, str | Path) else "the array"
            warnings.warn(
                f"labels: {name} is a picture of {len(shown)} colours, each of which is taken for "
                "a class, black for unlabelled",
                stacklevel=4,
            )
            return Raster.of(labels[:, :, None], valid, georeference=place, palette=shown)
    kind = "probabilities: give their argmax + 1" if values.dtype.kind == "f" else "an image"
    raise SceneError(
        f"labels must have shape (height, width), got {values.shape}; it looks like {kind}"
    ) from refused


def _covering(raster: Raster, image: Raster) -> tuple[slice, slice]:
    """Rows and columns of a label raster that cover an image, with a pixel of both around them.

    Raises:
        SceneError: It doesn't lie on the image.
    """
    own, target = raster.georeference, image.georeference
    whole = slice(0, raster.height), slice(0, raster.width)
    # one of the image's size takes no more memory than the image
    if own is None or target is None or raster.shape[:2] == image.shape[:2]:
        return whole
    down, across = (np.linspace(-1, size + 1, STEPS + 1) for size in (image.height, image.width))
    found = own.places(*_in_system(target, own, *np.meshgrid(down, across)))
    sides = []
    for place, size in zip(found, raster.shape[:2], strict=True):
        if not np.isfinite(place).all():  # no such place in the system of the labels
            return whole
        first, last = max(0, math.floor(place.min()) - 1), min(size, math.ceil(place.max()) + 1)
        if first >= last:
            raise SceneError(OFF)
        sides.append(slice(first, last))
    return sides[0], sides[1]


def _in_system(
    target: Georeference, own: Georeference, rows: NDArray[Any], columns: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """X and y of places in an image in the coordinate system of its labels."""
    x, y = target.coordinates(rows, columns)
    if _same_system(own, target):
        return x, y
    return in_other_system(x, y, target.crs, own.crs, "the image of the labels")


def _onto(
    labels: NDArray[np.int64], part: tuple[slice, slice], raster: Raster, image: Raster
) -> NDArray[np.int64]:
    """A part of a label raster on the grid of an image; as it is where one has no coordinates.

    Raises:
        SceneError: It doesn't lie on the image.
    """
    own, target = raster.georeference, image.georeference
    if own is None or target is None:
        return labels
    height, width = image.height, image.width
    size = raster.shape[:2]
    if _same_system(own, target):
        # the label grid's corners, counted in pixels of the image
        row, column = target.places(*own.coordinates([0, size[0]], [0, size[1]]))
        step = (row[1] - row[0]) / size[0], (column[1] - column[0]) / size[1]
        aligned = np.abs([row[0], column[0], row[1] - height, column[1] - width]).max() < ALIGNED
        if aligned and size == (height, width):
            return labels
        ratio = round(1 / step[0]) if step[0] > 0 else 0
        whole = size == (height * ratio, width * ratio)
        if aligned and ratio > 1 and whole:
            warnings.warn(
                f"labels: {ratio} x {ratio} pixels of the label raster make one of the image; it "
                "gets the class that most of them have",
                stacklevel=5,
            )
            return _majority(labels, ratio)
        if size == (height, width) and np.allclose(step, 1, atol=1e-6):
            down, right = (round(float(place[0]), 2) + 0.0 for place in (row, column))
            raise SceneError(
                f"labels don't lie on the image: they have its size, but their coordinates are "
                f"{down:+} rows and {right:+} columns off; correct them, or give a "
                "label map without coordinates if pixel matches pixel"
            )
    found = np.zeros((height, width), dtype=np.int64)
    for line in range(height):
        x, y = _in_system(target, own, np.full(width, line + 0.5), np.arange(width) + 0.5)
        rows, columns = (
            np.floor(place).astype(np.int64) - side.start
            for place, side in zip(own.places(x, y), part, strict=True)
        )
        inside = (rows >= 0) & (rows < labels.shape[0]) & (columns >= 0)
        inside &= columns < labels.shape[1]
        found[line, inside] = labels[rows[inside], columns[inside]]
    # of a raster that is read in part, the labels lie elsewhere
    if not found.any() and (labels.any() or labels.shape != size):
        raise SceneError(OFF)
    warnings.warn(
        "labels lie on another grid; each pixel of the image gets the nearest", stacklevel=5
    )
    return found


@lru_cache(maxsize=8)
def _same_system(own: Georeference, other: Georeference) -> bool:
    if own.crs is None or other.crs is None or own.crs == other.crs:
        return True
    parsed = require_rasterio("comparing two coordinate systems").crs.CRS.from_user_input
    return bool(parsed(own.crs) == parsed(other.crs))


def _majority(labels: NDArray[np.int64], ratio: int) -> NDArray[np.int64]:
    """The most frequent class of each block, 0 where half or more of it is unlabelled."""
    height, width = labels.shape[0] // ratio, labels.shape[1] // ratio
    blocks = labels.reshape(height, ratio, width, ratio).swapaxes(1, 2).reshape(height, width, -1)
    best: NDArray[np.int64] = np.zeros((height, width), dtype=np.int64)
    most = np.zeros_like(best)
    for value in np.unique(labels).tolist():
        count = (blocks == value).sum(axis=2)
        better = count > most
        best[better], most[better] = value, count[better]
    return best
