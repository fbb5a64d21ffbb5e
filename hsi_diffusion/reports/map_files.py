"""Maps as files: arrays, TIFF images and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import atomic_path
from hsi_diffusion.reports.figures import save_figure
from hsi_diffusion.reports.maps import classification_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.scenes import SceneInfo

SUFFIXES = (".npy", ".tif", ".tiff", ".png")


def check_map_path(path: str | Path) -> None:
    """Raise a ConfigurationError unless a map can be written in the format of ``path``."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ConfigurationError(
            f"a map must be written to a file that ends with {', '.join(SUFFIXES)}, got {path}"
        )


def write_map(path: str | Path, classes: NDArray[np.integer[Any]], info: SceneInfo) -> None:
    """Write a map of classes.

    Args:
        path: ``.npy`` and ``.tif`` hold the numbers of the classes in the label map that was
            learned, in the smallest unsigned type; ``.png`` is a picture with a legend.
        classes: Classes 1..K, 0 = none, shape (H, W).
        info: Names, numbers and colours of the classes.

    Raises:
        ConfigurationError: The file ends with something else.
    """
    check_map_path(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".png":
        save_figure(classification_map(classes, info), path)
        return
    numbers = np.asarray((0, *info.class_ids))
    ids = numbers[classes].astype(np.min_scalar_type(int(numbers.max())))
    with atomic_path(path) as temporary:
        if suffix == ".npy":
            np.save(temporary, ids, allow_pickle=False)
        else:
            tifffile.imwrite(temporary, ids, compression="zlib", metadata=None)
