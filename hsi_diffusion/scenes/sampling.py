"""A scene of windows of an image that is too large for memory."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.load import load_custom_scene
from hsi_diffusion.scenes.nodata import fill_nodata
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.scenes.raster import Raster
    from hsi_diffusion.scenes.scene import Scene


def sample_scene(
    image: Raster,
    labels: NDArray[np.integer[Any]],
    *,
    pixels: int = 2**19,
    side: int = 64,
    margin: int = 12,
    seed: int = 0,
    **facts: Any,
) -> Scene:
    """Put windows of a large image together to a scene that fits into memory.

    A model is fitted on it like on any other scene, and then maps the whole image: what it learns
    without labels comes from random windows, and its labelled pixels keep their neighbourhoods. The
    windows lie on a grid, are read with a margin, and are kept apart by pixels without data, so
    that no patch sees two of them. Three quarters of them are windows with labels, as far as there
    are so many, each class in turn; the others are drawn from the rest.

    A split into blocks keeps its distance inside of the sampled scene, where neighbours need not be
    neighbours on the ground.

    Args:
        image: The image.
        labels: Its label map, shape (H, W); 0 is unlabelled.
        pixels: Pixels of the scene, about.
        side: Side of a window without its margin.
        margin: Pixels around it that are read with it: half of the largest patch.
        seed: Names the draw of the windows.
        **facts: Further arguments of :func:`~hsi_diffusion.scenes.load_custom_scene`.

    Returns:
        The scene. Its pixels outside of the windows are not valid.

    Raises:
        SceneError: The label map has another size than the image.
    """
    if labels.shape != image.shape[:2]:
        raise SceneError(
            f"labels must have the height and width of the image, {image.shape[:2]}, got "
            f"{labels.shape}"
        )
    bands = image.bands
    step = side + 3 * margin  # two margins, and a gap
    number = max(1, pixels // step**2)
    chosen = _chosen(labels, side, number, np.random.default_rng(stable_seed("windows", seed)))
    across = math.ceil(math.sqrt(len(chosen)))
    shape = (math.ceil(len(chosen) / across) * step, across * step)
    cube = np.zeros((*shape, bands), dtype=image.dtype)
    there, known = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.int64)
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
        found = labels[inner[0], inner[1]]
        known[row : row + found.shape[0], column : column + found.shape[1]] = found
    if not there.any():
        raise SceneError(f"no pixel of {len(chosen)} windows of the image holds data")
    known[~there] = 0
    facts = {"wavelengths": image.wavelengths, **facts}
    scene = load_custom_scene(fill_nodata(cube, there), known, **facts)
    return replace(scene, valid=there)


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
    held = {
        (row, column): np.unique(labels[row : row + side, column : column + side])
        for row, column in order
    }
    seen: dict[int, int] = {}
    ranked: list[tuple[int, tuple[int, int]]] = []
    for corner in order:  # the nth window of its rarest class so far
        classes = [int(label) for label in held[corner] if label > 0]
        if classes:
            ranked.append((min(seen.get(label, 0) for label in classes), corner))
            for label in classes:
                seen[label] = seen.get(label, 0) + 1
    labelled = [corner for _, corner in sorted(ranked, key=lambda pair: pair[0])]
    first = labelled[: max(1, 3 * number // 4)]
    others = [corner for corner in order if corner not in set(first)]
    return [*first, *others[: number - len(first)]]
