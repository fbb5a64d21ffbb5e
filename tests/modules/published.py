"""Tiny scenes of the catalogue, and their files in the formats in which they are published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from scipy.io import savemat

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion.scenes import SceneInfo

SHAPE = (20, 18, 6)


def tiny(info: SceneInfo) -> SceneInfo:
    """The scene's facts with few pixels and bands, and no checksums."""
    height, width, bands = SHAPE
    return replace(
        info,
        height=height,
        width=width,
        bands=bands,
        wavelengths=None,
        rgb_bands=(3, 2, 1),
        files=tuple(replace(file, sha256=None, size=None) for file in info.files),
    )


def write_published(info: SceneInfo, folder: Path) -> None:
    """Write a cube and label maps that fit the facts of a tiny scene."""
    values = np.array([0, *info.class_ids])
    number = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE[:2]) % len(values)
    cube = np.random.default_rng(0).integers(0, 50, SHAPE) + 20 * number[..., None]
    _write(info, folder, "cube", info.cube_keys, cube.astype(np.uint16))
    labels = values[number].astype(np.uint8)
    if "labels" in info.roles:
        _write(info, folder, "labels", info.label_keys, labels)
    else:
        trains = np.arange(SHAPE[0])[:, None] % 2 == 0
        _write(info, folder, "train_labels", info.label_keys, np.where(trains, labels, 0))
        _write(info, folder, "test_labels", info.label_keys, np.where(trains, 0, labels))


def _write(
    info: SceneInfo, folder: Path, role: Any, keys: tuple[str, ...], array: NDArray[Any]
) -> None:
    path = next(
        folder / file.name for file in info.files_of(role) if file.name.endswith((".mat", ".tif"))
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".mat":
        savemat(path, {keys[0]: array})
    elif array.ndim == 3:
        bands_first = array.transpose(2, 0, 1)
        tifffile.imwrite(path, bands_first, planarconfig="separate", photometric="minisblack")
    else:
        tifffile.imwrite(path, array)
