"""Transforms that scale each band by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches.transforms.base import (
    Array,
    BandTransform,
    inverse_or_zero,
    mean_spectrum,
    pixel_blocks,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Identity(BandTransform):
    """The bands as they are, in float32."""

    name: ClassVar[str] = "identity"

    def _fit(self, cube: Array, mask: NDArray[np.bool_]) -> None:
        pass

    def _forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values

    def _backward(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        return components


class MinMax(BandTransform):
    """Each band's smallest and largest value to ``low`` and ``high``.

    With the whole scene and [-1, 1] it is the published recipe of SpectralDiff (Chen et al., TGRS
    2023). Pixels outside the fitted ones may leave the range; nothing is clipped. A constant band
    becomes the middle of the range.

    Args:
        low: What the smallest value becomes.
        high: What the largest value becomes.

    Attributes:
        minimum: Smallest value per band, shape (bands,).
        maximum: Largest value per band, shape (bands,).

    Raises:
        ConfigurationError: ``low`` is not below ``high``.
    """

    name: ClassVar[str] = "minmax"
    _statistics: ClassVar[tuple[str, ...]] = ("minimum", "maximum")

    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        if not low < high:
            raise ConfigurationError(f"low must be below high, got low={low}, high={high}")
        self.low = float(low)
        self.high = float(high)

    def _fit(self, cube: Array, mask: NDArray[np.bool_]) -> None:
        extremes = [(block.min(axis=0), block.max(axis=0)) for block in pixel_blocks(cube, mask)]
        self.minimum = np.min([smallest for smallest, _ in extremes], axis=0)
        self.maximum = np.max([largest for _, largest in extremes], axis=0)

    def _forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        values -= self.minimum
        values *= (self.high - self.low) * inverse_or_zero(self.maximum - self.minimum)
        values += np.where(self.maximum > self.minimum, self.low, (self.low + self.high) / 2)
        return values

    def _backward(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        share = (components - self.low) / (self.high - self.low)
        return share * (self.maximum - self.minimum) + self.minimum


class Standardise(BandTransform):
    """Each band to mean 0 and variance 1 over the fitted pixels; a constant band to 0.

    Attributes:
        mean: Mean per band, shape (bands,).
        deviation: Standard deviation per band (division by the number of pixels), shape (bands,).
    """

    name: ClassVar[str] = "standardise"
    _statistics: ClassVar[tuple[str, ...]] = ("mean", "deviation")

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def _fit(self, cube: Array, mask: NDArray[np.bool_]) -> None:
        self.mean = mean_spectrum(cube, mask)
        squares = np.zeros(cube.shape[2])
        for block in pixel_blocks(cube, mask):
            squares += np.square(block - self.mean).sum(axis=0)
        self.deviation = np.sqrt(squares / int(mask.sum()))

    def _forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        values -= self.mean
        values *= inverse_or_zero(self.deviation)
        return values

    def _backward(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        return components * self.deviation + self.mean
