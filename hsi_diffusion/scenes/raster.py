"""An image that is read in windows: nothing of it is in memory but its header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.nodata import fill_nodata, is_data, missing_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.scenes.georeference import Georeference

BLOCK: Final = 1 << 26
"""Bytes of an image to look at in one go."""

Window = Callable[[slice, slice], "tuple[NDArray[Any], NDArray[np.bool_] | None]"]
"""Stored values (h, w, stored bands) of a window, and where a mask of the file's allows them."""


@dataclass(frozen=True, eq=False)
class Raster:
    """An image opened for windows.

    Bands that its header calls bad are left out, and its scale and offset are applied.

    Attributes:
        path: The file, ``"array"`` for an image in memory.
        height: Rows.
        width: Columns.
        stored_bands: Bands in the file.
        stored_dtype: Type of the values in the file.
        window: Reads a window as stored.
        nodata: The value that means "no data here"; None: none.
        good_bands: Which of the stored bands are kept; None: all.
        scale: By which stored values are multiplied, one number or one per kept band; None: by 1.
        offset: What is added then.
        wavelengths: Centres of the kept bands in nm; None where unknown.
        fwhm: Their full widths at half maximum in nm; None where unknown.
        band_names: Names of the kept bands; empty where unknown.
        georeference: Where the pixels lie; None where unknown.
        class_names: For a label raster: name of each value that its header names.
        palette: Likewise the colours, (red, green, blue) in 0..255.
        sensor: Instrument; empty where unknown.
        held: Bytes per pixel that a read takes beside stored and read values.
    """

    path: Path
    height: int
    width: int
    stored_bands: int
    stored_dtype: np.dtype[Any]
    window: Window
    nodata: float | None = None
    good_bands: tuple[int, ...] | None = None
    scale: float | NDArray[np.float64] | None = None
    offset: float | NDArray[np.float64] = 0.0
    wavelengths: tuple[float, ...] | None = None
    fwhm: tuple[float, ...] | None = None
    band_names: tuple[str, ...] = ()
    georeference: Georeference | None = None
    class_names: dict[int, str] | None = None
    palette: dict[int, tuple[int, int, int]] | None = None
    sensor: str = ""
    held: int = 0

    @classmethod
    def of(cls, cube: NDArray[Any], valid: NDArray[np.bool_] | None = None, **facts: Any) -> Self:
        """A cube in memory as a raster.

        Args:
            cube: Shape (H, W, bands); a memory map stays one.
            valid: Which pixels hold data, shape (H, W); None: all.
            **facts: Further attributes of the class.

        Raises:
            SceneError: The cube has not three axes, or the mask another size.
        """
        if cube.ndim != 3 or 0 in cube.shape:
            raise SceneError(f"cube must have shape (height, width, bands), got {cube.shape}")
        height, width, bands = cube.shape
        if valid is not None and (valid.shape != (height, width) or valid.dtype != np.bool_):
            raise SceneError(
                f"valid must hold booleans in shape {(height, width)}, got {valid.dtype} in shape "
                f"{valid.shape}"
            )

        def window(rows: slice, columns: slice) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
            return cube[rows, columns], None if valid is None else valid[rows, columns]

        return cls(
            facts.pop("path", Path("array")), height, width, bands, cube.dtype, window, **facts
        )

    @property
    def bands(self) -> int:
        """Bands that are read."""
        return self.stored_bands if self.good_bands is None else len(self.good_bands)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that are read: as stored, float32 where they are scaled."""
        if self.scale is None:
            return self.stored_dtype.newbyteorder("=")
        return np.dtype(np.float64 if self.stored_dtype.itemsize > 4 else np.float32)

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that reading a pixel takes, about, with a copy of what is read."""
        stored = self.stored_bands * self.stored_dtype.itemsize
        return self.held + 2 * (stored + self.bands * self.dtype.itemsize)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, bands)."""
        return self.height, self.width, self.bands

    def read(
        self, rows: slice = slice(None), columns: slice = slice(None)
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window.

        Args:
            rows: Rows of the window, step 1.
            columns: Likewise columns.

        Returns:
            Values of shape (h, w, bands) in C order, and which pixels hold data, shape (h, w). The
            others are filled as :func:`fill_nodata` does from the window, so that patches see
            padding there; within r pixels of a pixel with data they don't depend on where a
            window ends that reaches 3 r pixels around it.
        """
        values, allowed = self.window(rows, columns)
        if self.good_bands is not None:
            values = values[:, :, self.good_bands]
        valid = is_data(values, self.nodata)
        if allowed is not None:
            valid &= allowed
        if self.scale is None:
            values = np.ascontiguousarray(values, dtype=self.dtype)
        else:
            values = np.multiply(values, self.scale, dtype=self.dtype, order="C")
            values += np.asarray(self.offset, dtype=self.dtype)
        if not valid.all():
            # what owns its memory is no view of an array of the user's
            values = fill_nodata(values, valid, copy=not values.flags.owndata)
        return values, valid

    def empty_bands(self) -> list[int]:
        """Bands that hold no data at any pixel, so that no pixel holds data in all bands.

        The image is read block by block, until every band has shown some data.

        Returns:
            Their places in the file, from 0; bands that are left out anyway are not among them.
        """
        empty = np.array(self.good_bands or range(self.stored_bands))
        line = self.width * self.stored_bands * self.stored_dtype.itemsize
        step = max(1, BLOCK // line)
        for top in range(0, self.height, step):
            values, allowed = self.window(slice(top, min(top + step, self.height)), slice(None))
            values = values[:, :, empty] if allowed is None else values[allowed][:, None, empty]
            empty = empty[missing_values(values, self.nodata).all(axis=(0, 1))]
            if not empty.size:
                break
        found: list[int] = empty.tolist()
        return found

    def with_nodata(self, nodata: float) -> Self:
        """The same where ``nodata`` means "no data here"."""
        return replace(self, nodata=float(nodata))
