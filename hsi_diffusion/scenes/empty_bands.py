"""Bands without any data, which leave no pixel with data in all bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.nodata import missing_values
from hsi_diffusion.scenes.scene import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsi_diffusion.scenes.raster import Raster

BLOCK: Final = 1 << 26
"""Bytes of an image to look at in one go."""


def empty_bands(image: Raster) -> list[int]:
    """Bands that hold no data at any pixel, so that no pixel holds data in all bands.

    Args:
        image: Read block by block, until every band has shown some data.

    Returns:
        Their places in the file, from 0; bands that the image leaves out anyway are not among them.
    """
    empty = np.arange(image.stored_bands)
    if image.good_bands is not None:
        empty = np.array(image.good_bands)
    line = image.width * image.stored_bands * image.stored_dtype.itemsize
    step = max(1, BLOCK // line)
    for top in range(0, image.height, step):
        values, allowed = image.window(slice(top, min(top + step, image.height)), slice(None))
        values = values[:, :, empty] if allowed is None else values[allowed][:, None, empty]
        empty = empty[missing_values(values, image.nodata).all(axis=(0, 1))]
        if not empty.size:
            break
    found: list[int] = empty.tolist()
    return found


def refuse_empty_bands(empty: Sequence[int], image: object, bands: int) -> None:
    """Name the bands that leave every pixel of an image without data.

    Args:
        empty: These bands.
        image: What to call the image.
        bands: How many it has.

    Raises:
        SceneError: There are such bands, and others that hold data.
    """
    if 0 < len(empty) < bands:
        raise SceneError(
            f"{image}: no pixel holds data in all bands, since {len(empty)} of {bands} bands hold "
            f"no data anywhere: {shorten(empty)} (counted from 0); cut them out of the file, or "
            "mark them as bad: 0 in the 'bbl' of an ENVI header, a tag bbl=0 of a GeoTIFF's band"
        )
