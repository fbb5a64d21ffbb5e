"""Products of imaging spectrometers as their providers pack them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hsi_diffusion.scenes.raster import Raster


def open_product(path: Path) -> Raster | None:
    """Open a sensor's product by one of its files; None for any other file."""
    del path
    return None
