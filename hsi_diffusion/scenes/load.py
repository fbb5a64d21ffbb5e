"""Loading a known scene by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.catalogue import scene_info
from hsi_diffusion.scenes.download import download_scene
from hsi_diffusion.scenes.labels import as_label_map, close_gaps
from hsi_diffusion.scenes.readers import parse_location, read_array
from hsi_diffusion.scenes.scene import Scene, check_same_size
from hsi_diffusion.scenes.search import SceneFiles, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.scenes.info import SceneInfo
    from hsi_diffusion.scenes.opening import Source
    from hsi_diffusion.scenes.search import Location


def load_scene(name: str | SceneInfo, root: str | Path, *, download: bool = False) -> Scene:
    """Load a known scene from a data folder.

    It is searched for in the folders of ``root`` that bear its name (``indian_pines``,
    ``IndianPines``, ...) and in ``root`` itself. The published file names come first. Failing
    these, whatever array has exactly the scene's shape is taken, with a warning; label maps may
    also come as a fixed split (``TR`` and ``TE``, ``houston_gt_tr`` and ``houston_gt_te``), which
    the scene then holds.

    Args:
        name: A name of the catalogue, such as ``"indian_pines"``, or your own facts.
        root: The data folder, or the scene's own folder.
        download: Whether to download published files that are not there.

    Raises:
        SceneError: If the scene is unknown, its files are not found, more than one file
            qualifies, or their content does not fit.
        FileFormatError: If a file is damaged.
        DownloadError: If a published file can't be had.
    """
    info = scene_info(name)
    root = Path(root)
    if download:
        fetch_scene(info, root)
    files = SceneFiles(info, root)
    where = files.cube()
    label_maps = files.labels(where)
    for path in dict.fromkeys(found.path for found in (where, *label_maps)):
        files.warn_if_altered(path)
    cube = read_array(where.path, where.key)
    labels, *fixed = _read_labels(info, label_maps)
    train, test = fixed or (None, None)
    return Scene(cube, labels, info, train, test)


def fetch_scene(name: str | SceneInfo, root: str | Path) -> None:
    """Download the published files of a known scene that are not in a data folder, and read none.

    Args:
        name: As for :func:`load_scene`.
        root: The data folder, or the scene's own folder; made if missing.

    Raises:
        SceneError: If the scene is unknown.
        DownloadError: If a published file can't be had.
    """
    info = scene_info(name)
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    files = SceneFiles(info, root)
    missing = [role for role in info.roles if files.official(role) is None]
    download_scene(info, files.home, roles=missing)


def read_mask(source: Source, shape: tuple[int, int]) -> NDArray[np.bool_] | NDArray[np.int64]:
    """Read the training or test pixels of a fixed split.

    Args:
        source: A file, or ``FILE:key``.
        shape: (height, width) of the scene.

    Returns:
        Shape (H, W): bool where the file holds truth values, else int64. Pixels that are not 0
        belong to the set. The values may be classes in an order of the file's own.

    Raises:
        SceneError: If the mask has another size or holds something else than whole numbers from 0.
        FileFormatError: If the file can't be read, or it is not clear which array is meant.
    """
    path, key = parse_location(source)
    array = read_array(path, key, ndim=2)
    mask = as_label_map(array, f"mask {source}")
    check_same_size(shape, mask, f"mask {source}")
    return array if array.dtype == np.bool_ else mask


def _read_labels(info: SceneInfo, locations: Sequence[Location]) -> list[NDArray[Any]]:
    """Labels 1..K, and the pixels of the fixed split, train and test, if the labels came as one."""
    maps = [
        close_gaps(as_label_map(read_array(*found), str(found)), info.class_ids, str(found))
        for found in locations
    ]
    if len(maps) == 1:
        return maps
    train, test = maps
    shared = int(np.count_nonzero((train > 0) & (test > 0)))
    if shared:
        raise SceneError(
            f"the training and test pixels of {joined(locations)} must be disjoint, they share "
            f"{shared}"
        )
    labels = train + test
    if info.split_class_order is not None:
        labels = np.array([0, *info.split_class_order])[labels]
    return [labels, train > 0, test > 0]
