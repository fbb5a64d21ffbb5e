"""Several images of one sensor as one scene, with room between them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.defaults import default_palette
from hsi_diffusion.scenes.labels import field_map, warn_of_case
from hsi_diffusion.scenes.nodata import fill_nodata
from hsi_diffusion.scenes.scene import Scene
from hsi_diffusion.scenes.wavelengths import check_wavelengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.scenes.info import SceneInfo

GAP = 64
"""Pixels without data between two images, at least: more than a patch is wide."""


def join_scenes(scenes: Sequence[Scene], *, gap: int = GAP) -> Scene:
    """Put several images of one sensor side by side into one scene.

    Whatever learns it learns all of them: one transform, patches from all, one graph. Between the
    images lie pixels without data, in which each image is mirrored at its border, so that no patch
    sees two of them. Classes of the same name are one class. Memory holds the images twice; where
    :func:`~hsi_diffusion.scenes.load_custom_scene` joins files, it holds one of them twice.

    Args:
        scenes: The images; further ones have the bands of the first.
        gap: Pixels between two images; as many as the largest patch has, or more.

    Returns:
        A scene whose ``images`` say where each image lies in it, without coordinates. Of a single
        image, that image.

    Raises:
        SceneError: There is none, or their bands differ.

    Example:
        >>> from hsi_diffusion import simulate_scene
        >>> lines = [simulate_scene(20, 30, 8, 3, image=number) for number in range(2)]
        >>> scene = join_scenes(lines, gap=10)
        >>> scene.cube.shape, scene.labels[scene.images["simulated-2"]].shape
        ((50, 30, 8), (20, 30))
    """
    return join_and_drop(list(scenes), gap)


def join_and_drop(
    scenes: list[Scene], gap: int = GAP, sources: Sequence[int] | None = None
) -> Scene:
    """As :func:`join_scenes`, but takes each image out of the list once it is copied.

    ``sources`` numbers the label file of each image; polygons of the same number in the same file
    are one. None: each image has a file of its own.
    """
    if not scenes:
        raise SceneError("there must be at least one scene, got none")
    first = scenes[0]
    if len(scenes) == 1:
        return first
    for other in scenes[1:]:
        if other.bands != first.bands:
            raise SceneError(
                f"scenes that are joined must have the same bands, but {first.name!r} has "
                f"{first.bands} and {other.name!r} {other.bands}; give images of the same sensor, "
                "or resample their bands (--resample)"
            )
        check_wavelengths(other.info.wavelengths, first.info.wavelengths, source=first.name)
    sizes = np.array([one.labels.shape for one in scenes])
    # one below the other, or side by side, whichever leaves less of the array empty
    along = int(sizes[:, 0].sum() * sizes[:, 1].max() > sizes[:, 1].sum() * sizes[:, 0].max())
    shape = sizes.max(axis=0)
    shape[along] = sizes[:, along].sum() + gap * (len(scenes) - 1)
    classes, lookups = _classes([one.info for one in scenes])
    cube = np.empty((*shape, first.bands), np.result_type(*(one.cube.dtype for one in scenes)))
    valid = np.zeros(shape, dtype=np.bool_)
    labels, polygons, fields = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    masks = {"fixed_train": valid.copy(), "fixed_test": valid.copy()}
    places: dict[str, tuple[slice, slice]] = {}
    start = 0
    known, polygonal = first.info, all(one.polygons is not None for one in scenes)
    cut = any(one.fields is not None for one in scenes)
    most = max(0 if one.polygons is None else int(one.polygons.max()) for one in scenes)
    sources = range(len(scenes)) if sources is None else sources
    del first
    for name, lookup, source in zip(_names(scenes), lookups, sources, strict=True):
        one = scenes.pop(0)
        stop = start + one.labels.shape[along]
        down, across = slice(0, one.height), slice(0, one.width)
        where = (down, slice(start, stop)) if along else (slice(start, stop), across)
        places[name] = where
        cube[where] = one.cube
        valid[where] = True if one.valid is None else one.valid
        labels[where] = lookup[one.labels]
        if one.polygons is not None:
            polygons[where] = np.where(one.polygons > 0, one.polygons + source * most, 0)
        if cut:
            own = field_map(one.labels) if one.fields is None else one.fields
            fields[where] = np.where(own > 0, own + fields.max(), 0)
        for kind, mask in masks.items():
            mask[where] = False if (found := getattr(one, kind)) is None else found
        # what stands for padding in its half of the gaps around it
        cell = slice(max(0, start - gap // 2), stop + gap - gap // 2)
        inside = np.zeros(shape, dtype=np.bool_)
        inside[where] = True
        around = (slice(None), cell) if along else (cell, slice(None))
        fill_nodata(cube[around], inside[around], copy=False)
        start = stop + gap
    both = all(mask.any() for mask in masks.values())
    height, width = map(int, shape)
    info = replace(
        known, name="+".join(places), title=" + ".join(places), height=height, width=width,
        default_split="0.1", split_class_order=None, files=(), **classes,
    )  # fmt: skip
    return Scene(
        cube,
        labels,
        info,
        valid=valid,
        polygons=polygons if polygonal else None,
        fields=fields if cut else None,
        images=places,
        fixed_train=masks["fixed_train"] if both else None,
        fixed_test=masks["fixed_test"] if both else None,
    )


def _names(scenes: Sequence[Scene]) -> list[str]:
    """A name of its own for every image."""
    counts, seen = Counter(one.name for one in scenes), Counter[str]()
    names = []
    for one in scenes:
        seen[one.name] += 1
        names.append(one.name if counts[one.name] == 1 else f"{one.name}-{seen[one.name]}")
    return names


def _classes(infos: Sequence[SceneInfo]) -> tuple[dict[str, Any], list[NDArray[np.int64]]]:
    """Classes of all images by their names, and what the classes of each become.

    A class keeps its value in the label maps, unless other maps give that to another class.
    """
    values: dict[str, int] = {}
    colours: dict[str, tuple[int, int, int]] = {}
    for info in infos:
        for name, value, colour in zip(info.class_names, info.class_ids, info.palette, strict=True):
            if name not in values:
                taken = set(values.values())
                values[name] = max(taken) + 1 if value in taken else value
                colours[name] = colour
    names = sorted(values, key=lambda name: values[name])
    warn_of_case(names, "the images that are joined")
    distinct = len(set(colours.values())) == len(names)
    facts = {
        "class_names": tuple(names),
        "class_ids": tuple(values[name] for name in names),
        "palette": tuple(colours[name] for name in names)
        if distinct
        else default_palette(len(names)),
    }
    lookups = [
        np.array([0, *(1 + names.index(name) for name in info.class_names)]) for info in infos
    ]
    return facts, lookups
