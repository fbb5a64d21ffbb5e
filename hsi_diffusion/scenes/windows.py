"""Windows of an image that is too large for memory, side by side."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.labels import field_map
from hsi_diffusion.scenes.nodata import fill_nodata
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.scenes.raster import Raster


def draw_windows(
    image: Raster,
    maps: Sequence[NDArray[np.integer[Any]]],
    *,
    pixels: int,
    side: int = 64,
    margin: int = 12,
) -> tuple[NDArray[Any], NDArray[np.bool_], list[NDArray[np.int64]], NDArray[np.int64]]:
    """Put windows of a large image together, see :func:`~hsi_diffusion.scenes.load_custom_scene`.

    Args:
        image: The image.
        maps: Its label map, and further ones that go with it, shape (H, W) each, 0 = unlabelled.
        pixels: Pixels of the result, about.
        side: Side of a window without its margin.
        margin: Pixels around it that are read with it.

    Returns:
        Values of shape (h, w, bands), filled where there is no data; which pixels hold data, shape
        (h, w); the maps, shape (h, w), 0 in the margins; and likewise the fields of the whole label
        map, which windows cut into pieces.

    Raises:
        SceneError: No window holds data.
    """
    labels = maps[0]
    if pixels < 1:
        raise SceneError(f"the pixels to sample must be at least 1, got {pixels}")
    bands = image.bands
    step = side + 3 * margin  # two margins, and a gap
    number = max(1, pixels // step**2)
    chosen = _chosen(labels, side, number, np.random.default_rng(stable_seed("windows", 0)))
    across = math.ceil(math.sqrt(len(chosen)))
    shape = (math.ceil(len(chosen) / across) * step, across * step)
    cube, there = np.zeros((*shape, bands), dtype=image.dtype), np.zeros(shape, dtype=bool)
    wholes = [*maps, field_map(labels)]
    found = [np.zeros(shape, dtype=np.int64) for _ in wholes]
    for place, corner in enumerate(chosen):
        row, column = (step * part + margin for part in divmod(place, across))
        inner = [
            slice(at, min(at + side, end)) for at, end in zip(corner, labels.shape, strict=True)
        ]
        read = [
            slice(max(part.start - margin, 0), min(part.stop + margin, end))
            for part, end in zip(inner, labels.shape, strict=True)
        ]
        values, valid = image.read(*read)
        top, left = row - inner[0].start + read[0].start, column - inner[1].start + read[1].start
        into = slice(top, top + len(values)), slice(left, left + values.shape[1])
        cube[into], there[into] = values, valid
        for one, whole in zip(found, wholes, strict=True):
            part = whole[inner[0], inner[1]]
            one[row : row + part.shape[0], column : column + part.shape[1]] = part
    if not there.any():
        raise SceneError(f"no pixel of {len(chosen)} windows of the image holds data")
    for one in found:
        one[~there] = 0
    *drawn, fields = found
    return fill_nodata(cube, there, copy=False), there, drawn, fields


def _chosen(
    labels: NDArray[np.integer[Any]], side: int, number: int, random: np.random.Generator
) -> list[tuple[int, int]]:
    """Corners of so many windows, first such as hold labels."""
    corners = [
        (row, column)
        for row in range(0, labels.shape[0], side)
        for column in range(0, labels.shape[1], side)
    ]
    order = [corners[place] for place in random.permutation(len(corners))]
    seen = Counter[int]()
    turns = {}  # when a window comes: as the nth one of its rarest class so far
    for row, column in order:
        window = labels[row : row + side, column : column + side]
        classes = np.unique(window[window > 0]).tolist()
        if classes:
            turns[row, column] = min(seen[label] for label in classes)
            seen.update(classes)
    labelled = sorted(turns, key=lambda corner: turns[corner])
    first = labelled[: max(1, 3 * number // 4)]
    taken = set(first)
    others = [corner for corner in order if corner not in taken]
    return [*first, *others[: number - len(first)]]
