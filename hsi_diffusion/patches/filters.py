"""Filters of a cube along the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

from hsi_diffusion.errors import SceneError
from hsi_diffusion.options import check_range

if TYPE_CHECKING:
    from numpy.typing import NDArray


TRUNCATE = 4.0
"""Standard deviations at which the Gaussian is cut off."""


def blur_radius(sigma: float) -> int:
    """Pixels to each side that :func:`gaussian_blur` mixes into a pixel."""
    return int(TRUNCATE * sigma + 0.5)


def gaussian_blur(cube: NDArray[Any], sigma: float) -> NDArray[np.float32]:
    """Blur every channel of a cube by a Gaussian along both axes of the scene.

    The scene is reflected at its borders, edge pixels repeated, and the Gaussian is cut off at four
    sigma.

    Args:
        cube: Values, shape (H, W, C), any real dtype, finite.
        sigma: Standard deviation of the Gaussian in pixels; 0 leaves the values as they are.

    Returns:
        A new cube, shape (H, W, C).

    Raises:
        ConfigurationError: ``sigma`` is negative or not finite.
        SceneError: The cube has another number of axes, no real numbers, or nan or infinity, which
            would spread.
    """
    check_range("at least 0 and finite (pixels; 0 = no blur)", sigma=sigma)
    if cube.ndim != 3 or cube.dtype.kind not in "biuf":
        raise SceneError(
            f"cube must hold real numbers in shape (H, W, C), got {cube.dtype} in shape "
            f"{cube.shape}"
        )
    blurred = cube.astype(np.float32)
    if not (finite := np.isfinite(blurred).all(axis=(0, 1))).all():
        raise SceneError(
            f"cube must be finite, but channel {finite.argmin()} holds nan or infinity; fill these "
            "pixels, or leave the channel out"
        )
    if sigma:
        gaussian_filter(
            blurred, sigma, output=blurred, mode="reflect", truncate=TRUNCATE, axes=(0, 1)
        )
    return blurred
