"""Principal components of the bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.linalg import eigh

from hsi_diffusion.patches.transforms.base import (
    Array,
    LinearTransform,
    inverse_or_zero,
    mean_and_covariance,
    same_signs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PCA(LinearTransform):
    """Principal component analysis: uncorrelated components, the largest variance first.

    The covariance is exact and accumulated over blocks. Signs are fixed: the largest weight of each
    component by magnitude is positive.

    Args:
        components: Number of components; None keeps as many as there are bands.
        whiten: Give each component unit variance over the fitted pixels; components that hold no
            variance become 0.

    Attributes:
        variances: Variance of each component before whitening (division by the number of pixels
            minus 1), shape (C,).
        total_variance: Sum of the variances of the bands, shape ().

    Raises:
        ConfigurationError: ``components`` is below 1 or, when fitting, above the number of bands.
    """

    name: ClassVar[str] = "pca"
    _settings: ClassVar[tuple[str, ...]] = (*LinearTransform._settings, "whiten")
    _statistics: ClassVar[tuple[str, ...]] = (
        *LinearTransform._statistics,
        "variances",
        "total_variance",
    )

    variances: NDArray[np.float64]
    total_variance: NDArray[np.float64]

    def __init__(self, components: int | None = None, *, whiten: bool = False) -> None:
        super().__init__(components)
        self.whiten = whiten

    def _fit(self, cube: Array, mask: NDArray[np.bool_]) -> None:
        bands = cube.shape[2]
        number = self._number(bands)
        self.mean, covariance = mean_and_covariance(cube, mask)
        self.total_variance = np.asarray(np.trace(covariance))
        variances, axes = eigh(covariance, subset_by_index=(bands - number, bands - 1))
        self.variances = np.clip(variances[::-1], 0.0, None)
        axes = same_signs(axes[:, ::-1])
        deviations = np.ones(number)
        if self.whiten:
            # below this an eigenvalue is rounding
            floor = self.variances[0] * bands * np.finfo(np.float64).eps
            deviations = np.where(self.variances > floor, np.sqrt(self.variances), 0.0)
        self.projection = axes * inverse_or_zero(deviations)
        self.reconstruction = deviations[:, None] * axes.T
