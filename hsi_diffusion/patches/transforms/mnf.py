"""Minimum noise fraction: components ordered by signal over noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from scipy.linalg import eigh

from hsi_diffusion.errors import SceneError
from hsi_diffusion.options import check_choice, check_range
from hsi_diffusion.patches.transforms.base import (
    Array,
    LinearTransform,
    inverse_or_zero,
    mean_and_covariance,
    row_slices,
    same_signs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Scale = Literal["unit", "noise"]

NOISE_FLOOR = 1e-3
"""Least standard deviation of a band's noise, as a fraction of the band's own (60 dB)."""

RIDGE = 1e-6
"""Added to the diagonal of the noise correlation, so that no mix of bands is free of noise."""


class MNF(LinearTransform):
    """Minimum noise fraction (Green, Berman, Switzer and Craig, TGRS 26(1), 1988).

    Finds the mixes of bands with the largest ratio of variance to noise variance: the generalised
    eigenproblem ``covariance v = ratio * noise_covariance v``. The components are uncorrelated, and
    so is their noise. Noise that is added to them later, as diffusion does, has the shape of the
    sensor's noise.

    The noise comes from differences of neighbouring pixels (shift difference: half the covariance
    of ``x(pixel) - x(neighbour)``). What is ours:

    - Both horizontal and vertical neighbours are used.
    - Edges are not noise: only the share ``keep`` of the pairs with the smallest difference counts,
      measured as the mean square over the bands in units of each band's mean square difference.
      An edge shows in many bands at once, noise averages out over them; so this works well with
      tens of bands or more. With a few bands it also leaves out the louder part of the noise.
    - Pairs of equal spectra, such as filled areas, are left out: they would say "no noise".
    - A band's noise is at least a thousandth of its standard deviation, and the noise correlation
      has 1e-6 added to its diagonal. So constant and duplicate bands, and noise that quantisation
      hides, break nothing; their mixes come last.

    Signs are fixed: the largest weight of each component by magnitude, in units of the bands'
    noise, is positive.

    Args:
        components: Number of components, at most; fewer bands give as many as there are bands, and
            so does None.
        scale: ``"unit"`` gives each component unit variance over the fitted pixels; ``"noise"``
            gives its noise unit variance, so that the variance ranks the components.
        keep: Fraction of the neighbouring pairs that counts as noise, above 0 up to 1; 1 is the
            textbook estimate.

    Attributes:
        ratios: Variance over noise variance of each component (signal-to-noise + 1), falling,
            shape (C,).

    Raises:
        ConfigurationError: A setting is outside what is allowed.
        SceneError: When fitting: there are too few pairs of neighbouring pixels.
    """

    name: ClassVar[str] = "mnf"
    _statistics: ClassVar[tuple[str, ...]] = (*LinearTransform._statistics, "ratios")

    ratios: NDArray[np.float64]

    def __init__(
        self, components: int | None = None, *, scale: Scale = "unit", keep: float = 0.5
    ) -> None:
        super().__init__(components)
        check_choice(("unit", "noise"), scale=scale)
        check_range("above 0 and at most 1", keep=keep)
        self.scale: Scale = scale
        self.keep = float(keep)

    def _fit(self, cube: Array, mask: NDArray[np.bool_]) -> None:
        bands = cube.shape[2]
        number = self._number(bands)
        self.mean, covariance = mean_and_covariance(cube, mask)
        noise = noise_covariance(cube, mask, self.keep)

        units = np.maximum(np.sqrt(np.diag(noise)), NOISE_FLOOR * np.sqrt(np.diag(covariance)))
        units[units == 0] = 1.0  # constant bands
        noise = noise / np.outer(units, units)
        # the unit diagonal fills up what the floor has added
        np.fill_diagonal(noise, 1.0 + RIDGE)
        covariance = covariance / np.outer(units, units)

        ratios, axes = eigh(covariance, noise, subset_by_index=(bands - number, bands - 1))
        self.ratios = np.clip(ratios[::-1], 0.0, None)
        axes = same_signs(axes[:, ::-1])
        deviations = np.ones(number)
        if self.scale == "unit":
            # below this a ratio is rounding
            floor = self.ratios[0] * bands * np.finfo(np.float64).eps
            deviations = np.where(self.ratios > floor, np.sqrt(self.ratios), 0.0)
        self.projection = axes * inverse_or_zero(deviations) / units[:, None]
        # axes.T @ noise inverts all axes together; for a part of them it is the least-squares
        # estimate over the fitted pixels, because components are uncorrelated
        self.reconstruction = deviations[:, None] * (axes.T @ noise) * units


def noise_covariance(
    cube: Array, mask: NDArray[np.bool_], keep: float = 0.5
) -> NDArray[np.float64]:
    """Noise covariance of a scene from differences of neighbouring pixels, see :class:`MNF`.

    Args:
        cube: Values, shape (H, W, bands), finite where the mask is true.
        mask: Pixels that count, shape (H, W); a pair counts where both do.
        keep: Fraction of the calmest pairs that is taken for noise.

    Returns:
        Covariance of one pixel's noise, shape (bands, bands).

    Raises:
        SceneError: There are not more pairs left than bands.
    """
    bands = cube.shape[2]
    differ: list[NDArray[np.bool_]] = []
    squares = np.zeros(bands)
    for difference in _differences(cube, mask):
        differ.append(np.asarray(difference.any(axis=1)))
        squares += np.ones(len(difference), np.float32) @ np.square(difference, out=difference)
    pairs = sum(int(some.sum()) for some in differ)
    calm = differ
    if pairs and keep < 1:
        calm = _calmest(cube, mask, differ, squares, keep)
        # edges no longer blow up the unit in which a band's differences are measured
        squares = np.zeros(bands)
        for difference, chosen in zip(_differences(cube, mask), calm, strict=True):
            squares += chosen.astype(np.float32) @ np.square(difference, out=difference)
        calm = _calmest(cube, mask, differ, squares, keep)

    covariance = np.zeros((bands, bands))
    for difference, chosen in zip(_differences(cube, mask), calm, strict=True):
        quiet = difference[chosen]
        covariance += quiet.T @ quiet
    kept = sum(int(chosen.sum()) for chosen in calm)
    if kept <= bands:
        raise SceneError(
            f"the noise of {bands} bands needs more than {bands} pairs of different neighbouring "
            f"pixels, got {kept} ({keep:.0%} of {pairs}); use more pixels, a larger keep, or pca"
        )
    return covariance / (2 * kept)


def _calmest(
    cube: Array,
    mask: NDArray[np.bool_],
    differ: list[NDArray[np.bool_]],
    squares: NDArray[np.float64],
    keep: float,
) -> list[NDArray[np.bool_]]:
    """Of the pairs that differ, the share ``keep`` that differs least, in units of ``squares``."""
    weights = inverse_or_zero(squares / squares.max()).astype(np.float32)
    # float32, because this is the one thing that grows with the scene
    loudness = [
        (np.square(difference, out=difference) @ weights)[some]
        for difference, some in zip(_differences(cube, mask), differ, strict=True)
    ]
    limit = np.quantile(np.concatenate(loudness), keep)
    calm = [some.copy() for some in differ]
    for chosen, some, own in zip(calm, differ, loudness, strict=True):
        chosen[some] = own <= limit
    return calm


def _differences(cube: Array, mask: NDArray[np.bool_]) -> Iterator[NDArray[np.float32]]:
    """Differences (n, bands) of all neighbouring pairs, in blocks; 0 where one is masked."""
    exact = np.can_cast(cube.dtype, np.float32)  # else large values lose what differs
    for rows in row_slices(cube):
        below = slice(rows.start, rows.stop + 1)  # one row more, for the vertical pairs
        block: Array = cube[below].astype(np.float32 if exact else np.float64)
        valid = mask[below]
        size = rows.stop - rows.start
        for first, second in (
            (np.s_[:size, 1:], np.s_[:size, :-1]),
            (np.s_[1:], np.s_[:-1]),
        ):
            difference = (block[first] - block[second]).astype(np.float32, copy=False)
            difference[~(valid[first] & valid[second])] = 0
            yield difference.reshape(-1, difference.shape[2])
