"""Images in memory, from whatever library: NumPy, PyTorch, xarray, torchgeo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.georeference import Georeference
from hsi_diffusion.scenes.nodata import declared, refuse_empty_bands
from hsi_diffusion.scenes.raster import Raster
from hsi_diffusion.scenes.wavelengths import in_nanometres

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS: Final = {"y", "row", "rows", "lat", "latitude", "line", "lines", "height", "northing"}
_COLUMNS: Final = {"x", "col", "cols", "column", "columns", "lon", "longitude", "width"} | {
    "sample", "samples", "easting",
}  # fmt: skip
_BANDS: Final = {"band", "bands", "channel", "channels", "wavelength", "wavelengths"}
UNEVEN: Final = 0.05
"""Parts of a pixel by which coordinates may be off from even steps."""


def raster_of(source: Any, axes: str | None = None, ndim: int = 3) -> Raster:
    """An image in memory as a raster, see :func:`~hsi_diffusion.scenes.open_raster`.

    Raises:
        SceneError: It is no array of numbers with so many axes.
    """
    if isinstance(source, Mapping):  # torchgeo's tensors are (bands, rows, columns)
        name = "image" if ndim == 3 else "mask"
        if name not in source:
            raise SceneError(f"a sample must hold {name!r}, got {', '.join(map(str, source))}")
        return raster_of(source[name], axes or "CHW", ndim)
    if hasattr(source, "dims") and hasattr(source, "coords"):
        return _of_data_array(source, axes, ndim)
    values, valid = _as_array(source)
    if ndim == 2 and values.ndim == 3 and values.shape[0] == 1 and axes == "CHW":
        values, valid = values[0], None if valid is None else valid[0]
    if values.ndim != ndim:
        wanted = "(height, width, bands)" if ndim == 3 else "(height, width)"
        name = "cube" if ndim == 3 else "labels"
        raise SceneError(f"{name} must have shape {wanted}, got {values.shape}")
    if ndim == 2:
        return Raster.of(values[:, :, None], valid)
    order = [(axes or "HWC").index(axis) for axis in "HWC"]
    if valid is not None:
        empty = np.flatnonzero(~valid.any(axis=tuple(np.sort(order[:2])))).tolist()
        refuse_empty_bands(empty, "the masked array", values.shape[order[2]])
        valid = np.asarray(valid.transpose(order).all(axis=2))
    return Raster.of(values.transpose(order), valid)


def _as_array(source: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Values, and which are not masked."""
    if isinstance(source, np.ma.MaskedArray):
        kept: NDArray[np.bool_] = np.logical_not(np.ma.getmaskarray(source))
        return source.data, kept
    if hasattr(source, "detach"):  # a tensor
        source = source.detach().cpu()
        if str(source.dtype) == "torch.bfloat16":  # NumPy has no such type
            source = source.float()
    try:
        values = np.asarray(source)
    except (TypeError, ValueError) as error:
        raise SceneError(
            f"an image must be an array of numbers, got {type(source).__name__}: {error}"
        ) from error
    if values.dtype.kind not in "biufc":
        raise SceneError(
            f"an image must be a file or an array of numbers, got {type(source).__name__} of "
            f"{values.dtype}"
        )
    return values, None


def _of_data_array(source: Any, axes: str | None, ndim: int) -> Raster:
    """An xarray ``DataArray``, with the facts that it and rioxarray keep in it."""
    dims = [str(name) for name in source.dims]
    axes = _axes_of(dims) if axes is None else axes
    if len(dims) == 2:
        axes = axes.replace("C", "")
    values, coords = source.values, source.coords
    # by the names of the array's own axes, before they change
    facts: dict[str, Any] = {"georeference": _reference_of(source, dims, axes)}
    if ndim == 2 and values.ndim == 3 and values.shape[axes.index("C")] == 1:
        values = values.take(0, axis=axes.index("C"))
        axes = axes.replace("C", "")
    if ndim == 2 and axes == "WH":
        values, axes = values.T, "HW"
    raster = raster_of(values, axes if ndim == 3 else None, ndim)
    facts |= declared(source.attrs)
    if ndim == 3:
        own = dims[axes.index("C")]
        for name in ("wavelength", "wavelengths", own):
            kinds = "f" if name == own else "iuf"  # bands may just be numbered
            if name in coords and np.asarray(coords[name]).dtype.kind in kinds:
                units = str(coords[name].attrs.get("units", ""))
                facts["wavelengths"] = in_nanometres(coords[name].values, units)
                break
    return replace(raster, **facts)


def _axes_of(dims: list[str]) -> str:
    """Order of axes by their names; those whose names say nothing are taken for HWC in order."""
    known = {"H": _ROWS, "W": _COLUMNS, "C": _BANDS}
    letters = ["".join(key for key in known if name.lower() in known[key]) for name in dims]
    left = [key for key in "HWC" if key not in letters]
    axes = "".join(letter or (left.pop(0) if left else "") for letter in letters)
    usual = "HWC"[: max(2, len(dims))]
    return axes if sorted(axes) == sorted(usual) else usual


def _reference_of(source: Any, dims: list[str], axes: str) -> Georeference | None:
    """Where the pixels lie, by their coordinates, which are cut and turned as the pixels are.

    The transform that rioxarray stores stays what it was for the whole image. It counts without
    such coordinates, as of a rotated grid, and for the step of a single row or column.
    """
    mapping = source.coords["spatial_ref"].attrs if "spatial_ref" in source.coords else {}
    crs = mapping.get("crs_wkt") or mapping.get("spatial_ref") or source.attrs.get("crs")
    crs = None if crs is None else str(crs)
    stored, sides = None, (0.0, 0.0)
    if "GeoTransform" in mapping:
        c, a, b, f, d, e = map(float, str(mapping["GeoTransform"]).split())
        stored, sides = Georeference(crs, (a, b, c, d, e, f)), (a, e)
        if b or d:
            return stored
    if len(dims) != len(axes):  # no image: that is told elsewhere
        return None
    names = [dims[axes.index(axis)] for axis in "WH"]
    if not all(name in source.coords and source.coords[name].size for name in names):
        return stored
    steps = []
    for name, side in zip(names, sides, strict=True):
        # coordinates are those of the pixels' centres
        centres = np.asarray(source.coords[name].values, dtype=np.float64)
        last = len(centres) - 1
        step = (centres[-1] - centres[0]) / last if last else side
        even = centres[0] + step * np.arange(last + 1)
        if step == 0 or np.abs(centres - even).max() > UNEVEN * abs(step):
            return None
        steps.append((step, centres[0] - step / 2))
    (a, c), (e, f) = steps
    return Georeference(crs, (a, 0.0, c, 0.0, e, f))
