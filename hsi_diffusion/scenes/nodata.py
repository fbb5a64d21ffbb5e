"""Pixels without data: which they are, and what stands in for their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import distance_transform_edt

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_data(values: NDArray[Any], nodata: float | None = None) -> NDArray[np.bool_]:
    """Which pixels of an image hold data.

    NaN in any band is none, and so is the declared value in any band; 0, which data may hold by
    chance, only where it stands in all bands.

    Args:
        values: As stored, shape (H, W, bands).
        nodata: The declared value; None: none.

    Returns:
        Shape (H, W).
    """
    valid = np.ones(values.shape[:2], dtype=np.bool_)
    if values.dtype.kind == "f":
        # a sum of nothing but finite numbers may overflow, but never becomes NaN
        valid &= ~np.isnan(values.max(axis=2))
    if nodata is None or np.isnan(nodata):
        return valid
    if nodata == 0:
        valid &= values.any(axis=2)
        return valid
    # a header's decimal text need not be the nearest float32
    value = values.dtype.type(nodata) if values.dtype.kind == "f" else nodata
    valid &= ~(values == value).any(axis=2)
    return valid


def fill_nodata(cube: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[Any]:
    """Fill pixels without data by the image mirrored at the nearest pixel with data.

    This is what patches see beyond the border of an image (``padding="reflect"``). Where the
    mirrored place holds no data either, the nearest pixel with data stands in.

    Args:
        cube: Shape (H, W, ...).
        valid: Which pixels hold data, shape (H, W).

    Returns:
        A filled copy; zeros where no pixel holds data.
    """
    filled = np.ascontiguousarray(cube).copy()
    if not valid.any():
        filled[:] = 0
        return filled
    missing = np.flatnonzero(~valid)
    nearest = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    near = nearest.reshape(2, -1)[:, missing]
    size = np.array(valid.shape)[:, None]
    mirrored = 2 * near - np.stack(np.divmod(missing, valid.shape[1]))
    inside = ((mirrored >= 0) & (mirrored < size)).all(axis=0)
    inside[inside] = valid[tuple(mirrored[:, inside])]
    source = np.where(inside, mirrored, near)
    filled.reshape(-1, *filled.shape[2:])[missing] = cube[tuple(source)]
    return filled
