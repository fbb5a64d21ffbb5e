"""Principal components of bands or feature channels, from blocks that pass by once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.linalg.blas import dsyrk

from hsi_diffusion.errors import CheckpointError, ConfigurationError, NotFittedError
from hsi_diffusion.options import check_at_least, check_choice
from hsi_diffusion.patches.transforms.base import same_signs

if TYPE_CHECKING:
    from numpy.typing import NDArray

ChannelScale = Literal["minmax", "standard", "none"]
"""How channels are scaled before their covariance is taken."""

PIECE_BYTES = 64 * 2**20
"""Largest float64 copy that is made of a block, whatever its length."""


class StreamingPCA:
    """Exact principal component analysis of more rows than fit into memory.

    :meth:`partial_fit` takes the rows in blocks and keeps their number, their extremes and their
    scatter matrix in float64: D x D numbers and no row. :meth:`finish` turns them into components,
    :meth:`transform` applies these. Channels are scaled by a factor each, S, so the covariance of
    the scaled channels is S C S, and one pass over the data is enough for the scaling as well.

    The components are exact. For 207,400 rows of 3,328 channels (Pavia University in SpectralDiff)
    the matrix has 89 MB, the sums take about a minute of one core and 600 components 5 seconds; for
    6,400 channels (Indian Pines) it has 328 MB, and 1,200 components take half a minute and 1.2 GB.
    Where other programs keep the cores busy, SciPy's solver is several times faster with the
    environment variable ``OPENBLAS_NUM_THREADS=1``, since its threads don't wait for each other.

    Args:
        components: How many components to keep.
        scale: What each channel is divided by: its range ("minmax"), its standard deviation
            ("standard"), or 1 ("none"). A constant channel is left out by the first two.
        whiten: Divide every component by its standard deviation. Components without variance, up to
            rounding, become 0.

    Attributes:
        mean: float64, shape (D,), of the channels as given.
        directions: float64, shape (D, components): what (x - mean) is multiplied by. In each column
            the entry of the unit vector that is largest in size is positive.
        explained_variance: float64, shape (components,), falling.
        explained_variance_ratio: The same, divided by ``total_variance``.
        total_variance: Sum of the variances of all scaled channels, shape (); not in the state.

    Raises:
        ConfigurationError: A value is outside what is allowed.
    """

    mean: NDArray[np.float64]
    directions: NDArray[np.float64]
    explained_variance: NDArray[np.float64]
    explained_variance_ratio: NDArray[np.float64]
    total_variance: NDArray[np.float64]

    def __init__(
        self, components: int, scale: ChannelScale = "minmax", whiten: bool = False
    ) -> None:
        check_pca_settings(components, scale)
        self.components = components
        self.scale: ChannelScale = scale
        self.whiten = whiten
        self._moments: _Moments | None = None
        self._fitted = False

    def partial_fit(self, block: NDArray[np.floating[Any]]) -> Self:
        """Take more rows into account.

        Args:
            block: Shape (n, D), finite.

        Returns:
            Itself.

        Raises:
            ConfigurationError: If the block has another number of channels than those before, has
                fewer than ``components``, holds nan or infinity, or comes after :meth:`finish`.
        """
        if self._fitted:
            raise ConfigurationError("block comes after finish(); make a new StreamingPCA")
        if block.ndim != 2 or block.shape[1] < self.components:
            raise ConfigurationError(
                f"block must be (rows, channels) with at least as many channels as "
                f"components={self.components}, got shape {block.shape}"
            )
        if len(block) == 0:
            return self
        if not np.isfinite(block).all():
            raise ConfigurationError(
                "block must be finite, but holds nan or infinity: has the network diverged?"
            )
        if self._moments is None:
            # rounding may put the mean of a constant channel beside its value
            mean = block.mean(axis=0, dtype=np.float64).clip(block.min(axis=0), block.max(axis=0))
            self._moments = _Moments(mean)
        self._moments.add(block)
        return self

    def finish(self) -> Self:
        """Turn what was seen into components, and give the memory back.

        Returns:
            Itself.

        Raises:
            NotFittedError: If fewer than 2 rows were seen.
        """
        moments = self._moments
        if moments is None or moments.count < 2:
            raise NotFittedError(
                "components need at least 2 rows, but partial_fit saw "
                f"{0 if moments is None else moments.count}"
            )
        self._moments = None
        self.mean, covariance = moments.finish()
        factors = self._factors(moments, covariance)
        covariance *= factors
        covariance *= factors[:, None]
        self.total_variance = np.asarray(covariance.trace())
        size = len(covariance)
        values, vectors = eigh(
            covariance,
            lower=False,
            overwrite_a=True,
            check_finite=False,
            subset_by_index=(size - self.components, size - 1),
        )
        values, vectors = values[::-1].clip(min=0), same_signs(vectors[:, ::-1])
        self.explained_variance = values
        self.explained_variance_ratio = np.divide(
            values, self.total_variance, out=np.zeros_like(values), where=self.total_variance > 0
        )
        # rows after rows, as in a saved state: another order rounds differently
        self.directions = np.ascontiguousarray(vectors * factors[:, None])
        if self.whiten:
            real = values > values[0] * size * np.finfo(np.float64).eps
            self.directions[:, real] /= np.sqrt(values[real])
            self.directions[:, ~real] = 0
        self._fitted = True
        return self

    def transform(self, block: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Project rows onto the components.

        Args:
            block: Shape (n, D).

        Returns:
            Shape (n, components); computed in float64.

        Raises:
            NotFittedError: If :meth:`finish` was not called.
            ConfigurationError: If the block has another number of channels.
        """
        self._check_fitted()
        _check_channels(block, len(self.mean))
        out = np.empty((len(block), self.components), dtype=np.float32)
        for piece in _pieces(block):
            out[piece] = np.subtract(block[piece], self.mean, order="C") @ self.directions
        return out

    def state_dict(self) -> dict[str, Any]:
        """Everything that :meth:`from_state_dict` needs, as plain values and tensors.

        Raises:
            NotFittedError: If :meth:`finish` was not called.
        """
        self._check_fitted()
        settings = {"components": self.components, "scale": self.scale, "whiten": self.whiten}
        return settings | {name: torch.from_numpy(getattr(self, name).copy()) for name in _ARRAYS}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> Self:
        """The fitted PCA that gave ``state``.

        Raises:
            CheckpointError: If ``state`` lacks something or its shapes don't fit.
        """
        try:
            pca = cls(state["components"], state["scale"], state["whiten"])
            for name in _ARRAYS:
                setattr(pca, name, state[name].numpy())
        except KeyError as error:
            raise CheckpointError(f"state lacks {error}; it is not that of a PCA") from error
        if pca.directions.shape != (len(pca.mean), pca.components):
            raise CheckpointError(
                f"directions in state must have shape {(len(pca.mean), pca.components)}, "
                f"got {pca.directions.shape}"
            )
        pca._fitted = True
        return pca

    def _factors(self, moments: _Moments, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale factors of the channels, 0 for constant ones."""
        if self.scale == "none":
            return np.ones(len(covariance))
        spread = moments.high - moments.low
        if self.scale == "standard":
            spread = np.sqrt(covariance.diagonal())
        varies = moments.high > moments.low
        factors: NDArray[np.float64] = np.divide(1, spread, out=np.zeros_like(spread), where=varies)
        return factors

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise NotFittedError("the PCA is not fitted; call partial_fit with rows, then finish")


_ARRAYS = ("mean", "directions", "explained_variance", "explained_variance_ratio")


class _Moments:
    """Number, extremes, sum and scatter of rows, in float64.

    Args:
        shift: Subtracted from every row, so that large means don't cost small variances digits.
    """

    def __init__(self, shift: NDArray[np.float64]) -> None:
        size = len(shift)
        self.count = 0
        self.low = np.full(size, np.inf)
        self.high = np.full(size, -np.inf)
        self._shift = shift
        self._sum = np.zeros(size)
        self._scatter = np.zeros((size, size), order="F")  # only its upper triangle is used

    def add(self, block: NDArray[np.floating[Any]]) -> None:
        _check_channels(block, len(self._shift))
        np.minimum(self.low, block.min(axis=0), out=self.low)
        np.maximum(self.high, block.max(axis=0), out=self.high)
        for piece in _pieces(block):
            rows = np.ascontiguousarray(block[piece] - self._shift)
            self._sum += rows.sum(axis=0)
            self._scatter = dsyrk(1.0, rows.T, beta=1.0, c=self._scatter, overwrite_c=True)
        self.count += len(block)

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean, and the upper triangle of the covariance in the scatter's memory."""
        mean = self._sum / self.count
        covariance = dsyrk(
            float(-self.count), mean[:, None], beta=1.0, c=self._scatter, overwrite_c=True
        )
        covariance /= self.count - 1
        return self._shift + mean, covariance


def _pieces(block: NDArray[np.floating[Any]]) -> list[slice]:
    """Slices of rows whose float64 copies have at most ``PIECE_BYTES``."""
    step = max(PIECE_BYTES // (8 * block.shape[1]), 1)
    return [slice(start, start + step) for start in range(0, len(block), step)]


def check_pca_settings(components: int, scale: str) -> None:
    """Raise a ConfigurationError unless a :class:`StreamingPCA` takes these settings."""
    check_at_least(1, components=components)
    check_choice(get_args(ChannelScale), scale=scale)


def _check_channels(block: NDArray[np.floating[Any]], channels: int) -> None:
    if block.ndim != 2 or block.shape[1] != channels:
        raise ConfigurationError(
            f"block must be (rows, {channels}) like the blocks before, got shape {block.shape}"
        )
