"""Pixels and bands without data: how files declare them, which they are, what stands in there."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.ndimage import distance_transform_edt

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.scene import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SUSPICIOUS: Final = 0.005
"""Part of the pixels that must hold one value before it is taken for undeclared nodata."""


def declared(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What the attributes of an array in HDF5, netCDF or xarray say of its stored values.

    ``_FillValue``, ``missing_value``, ``Data_Ignore_Value`` or ``nodata`` means "no data here";
    ``scale_factor`` multiplies and ``add_offset`` is added. Names are found in any case; what is no
    number is left aside. A ``Scale_Factor``, spelt so, above 1 divides: in NEON's files it is
    10000, and reflectance is stored times 10000.

    Returns:
        Attributes of :class:`~hsi_diffusion.scenes.Raster`, as far as something is declared:
        ``nodata``; ``scale`` and ``offset`` where they change values.
    """
    names = {str(name).lower(): name for name in attributes}

    def number(key: str) -> float | None:
        try:
            return float(np.ravel(attributes[names[key]])[0])
        except (KeyError, IndexError, TypeError, ValueError):
            return None

    found = map(number, ("_fillvalue", "missing_value", "data_ignore_value", "nodata"))
    nodata = next((value for value in found if value is not None), None)
    scale, offset = number("scale_factor") or 1.0, number("add_offset") or 0.0
    if scale > 1 and names["scale_factor"] == "Scale_Factor":
        scale = 1 / scale
    facts = {} if nodata is None else {"nodata": nodata}
    return facts if (scale, offset) == (1, 0) else facts | {"scale": scale, "offset": offset}


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
        # the highest value of a pixel is NaN where any of its values is
        valid &= ~np.isnan(values.max(axis=2))
    if nodata is None or np.isnan(nodata):
        return valid
    if nodata == 0:
        valid &= values.any(axis=2)
        return valid
    valid &= ~(values == _as_stored(nodata, values.dtype)).any(axis=2)
    return valid


def _as_stored(nodata: float, dtype: np.dtype[Any]) -> Any:
    # a header's decimal text need not be the nearest float32
    return dtype.type(nodata) if dtype.kind == "f" else nodata


def missing_values(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Which values alone leave a pixel without data; 0 does so in all bands only."""
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, np.bool_)
    if nodata:  # NaN equals nothing
        missing |= values == _as_stored(nodata, values.dtype)
    return missing


def refuse_empty_bands(empty: Sequence[int], image: object, bands: int) -> None:
    """Raise a SceneError for some empty ones of an image's bands; if all are, others tell it."""
    if 0 < len(empty) < bands:
        raise SceneError(
            f"{image}: no pixel holds data in all bands, since {len(empty)} of {bands} bands hold "
            f"no data anywhere: {shorten(empty)} (counted from 0); cut them out of the file, or "
            "mark them as bad: 0 in the 'bbl' of an ENVI header, a tag bbl=0 of a GeoTIFF's band"
        )


def fill_nodata(cube: NDArray[Any], valid: NDArray[np.bool_], *, copy: bool = True) -> NDArray[Any]:
    """Fill pixels without data by the image mirrored at the nearest pixel with data.

    This is what patches see beyond the border of an image (``padding="reflect"``). Where the
    mirrored place holds no data either, the nearest pixel with data stands in.

    Args:
        cube: Shape (H, W, ...).
        valid: Which pixels hold data, shape (H, W).
        copy: False fills the array itself.

    Returns:
        The filled array; zeros where no pixel holds data.
    """
    filled = np.array(cube, order="C") if copy else cube
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
    filled[np.divmod(missing, valid.shape[1])] = cube[tuple(source)]
    return filled


def warn_of_nodata(cube: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    """Warn of what looks like a value for "no data here" that no header declares.

    It is the lowest or highest value of the image, in all bands of many pixels, also at the border.
    Nothing is told of pixels that are known to hold no data (``valid``).
    """
    if cube.shape[2] < 2:
        return
    flat = (cube == cube[:, :, :1]).all(axis=2) & valid
    border = np.concatenate([flat[0], flat[-1], flat[:, 0], flat[:, -1]])
    if not border.any():
        return
    edge = cube[:, :, 0]
    values = np.concatenate([edge[0], edge[-1], edge[:, 0], edge[:, -1]])[border]
    found, counts = np.unique(values, return_counts=True)
    value = found[counts.argmax()]
    pixels = int((flat & (edge == value)).sum())
    if value in (cube.min(), cube.max()) and pixels >= max(4, SUSPICIOUS * flat.size):
        warnings.warn(
            f"{pixels} of {flat.size} pixels hold {value} in all bands, also at the border; if "
            f"that means no data, say so: nodata={value} (--nodata {value})",
            stacklevel=3,
        )
