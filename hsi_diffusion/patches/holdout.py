"""Which pixels are the centres of pretraining patches, and which part of the scene is held out.

Pretraining needs no labels, so it learns from the whole scene, test pixels included, as the field
does. To see whether it learns more than its training patches, a part of the scene is held out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches.gather import check_patch_settings
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_HELD_OUT = 512
"""Most patches to measure by. Of more, as many are drawn at random: Houston's squares hold 11,000
of 16 x 16, which overlap, so that all of them would only take longer."""


def pretraining_pixels(
    shape: tuple[int, int],
    patch_size: int,
    *,
    holdout: float = 0.05,
    seed: int,
    valid: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Centres of the patches to learn from, and of those to measure by.

    Random squares of the scene, one to two patches wide, are held out (ours). Patches that lie
    whole inside one measure; patches that see no pixel of any are learned from; patches across an
    edge are for neither, though their pixels outside are learned from in other patches. Pixels
    without data are no centres, and squares without a whole patch of data are not drawn.

    Args:
        shape: Height and width of the scene.
        patch_size: Side P of the patches in pixels.
        holdout: Fraction of the pixels with data that is held out, from 0 to 0.5; met as nearly as
            whole squares allow, with at least one unless it is 0.
        seed: Names the draw of the squares, and of the patches in them.
        valid: The pixels that hold data, shape (H, W); None: all.

    Returns:
        Flat pixel numbers (row * W + column), int64, sorted: to learn from, and to measure by. The
        second is empty where ``holdout`` is 0.

    Raises:
        ConfigurationError: A setting is outside what is allowed, or the scene is too small to hold
            out a patch and learn from another.
    """
    check_patch_settings(patch_size, "reflect")
    if not 0 <= holdout <= 0.5:
        raise ConfigurationError(f"holdout must lie between 0 and 0.5, got {holdout}")
    if valid is None:
        valid = np.ones(shape, dtype=np.bool_)
    if holdout == 0:
        return np.flatnonzero(valid), np.empty(0, dtype=np.int64)
    wanted = holdout * np.count_nonzero(valid)
    side = min(max(math.isqrt(round(wanted)), patch_size), 2 * patch_size)
    # the windows have the same centre as patches, and "mirror" is how patches see the border
    whole = minimum_filter(valid, size=patch_size, mode="mirror")
    first, last = patch_size // 2, side - (patch_size - 1) // 2  # centres of patches in a square
    corners = [
        (row, column)
        for row in range(0, shape[0] - side + 1, side)
        for column in range(0, shape[1] - side + 1, side)
        if whole[row + first : row + last, column + first : column + last].any()
    ]
    number = min(max(1, round(wanted / side**2)), len(corners))
    random = np.random.default_rng(stable_seed("holdout", seed))
    held = np.zeros(shape, dtype=bool)
    for corner in random.permutation(len(corners))[:number]:
        row, column = corners[corner]
        held[row : row + side, column : column + side] = True
    learned = valid & ~maximum_filter(held, size=patch_size, mode="mirror")
    measured = valid & minimum_filter(held, size=patch_size, mode="mirror")
    if not (learned.any() and measured.any()):
        raise ConfigurationError(
            f"holdout={holdout} leaves no patch of {patch_size} x {patch_size} pixels to learn "
            f"from, or none to measure by, in a scene of {shape[0]} x {shape[1]}, "
            f"{np.count_nonzero(valid)} of them with data; use holdout=0 or a smaller patch_size"
        )
    pixels_measured = np.flatnonzero(measured)
    if len(pixels_measured) > MAX_HELD_OUT:
        pixels_measured = np.sort(random.choice(pixels_measured, MAX_HELD_OUT, replace=False))
    return np.flatnonzero(learned), pixels_measured
