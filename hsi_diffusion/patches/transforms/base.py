"""What every band transform has: fit once, say on what, transform, undo, save."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor

from hsi_diffusion.errors import CheckpointError, ConfigurationError, NotFittedError, SceneError
from hsi_diffusion.parts import Recorded
from hsi_diffusion.scenes import Raster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

Array = np.ndarray[Any, np.dtype[Any]]
State = dict[str, str | int | float | bool | Tensor]

BLOCK_BYTES = 4 * 2**20
"""Size of the float64 pieces in which a cube is walked through."""

READ_BYTES = 2**26
"""Size of the strips in which a raster is read for them."""


class BandTransform(Recorded, ABC):
    """A map from the bands of a pixel to components, learned from a scene without labels.

    The statistics are float64; what comes out is float32. A cube is walked through in pieces of a
    few MiB, so that neither fitting nor transforming copies it whole in float64.

    Attributes:
        name: The name under which a saved state knows the class.
        components: How many components are wanted; None: as many as there are bands.
    """

    name: ClassVar[str]
    components: int | None = None
    _statistics: ClassVar[tuple[str, ...]] = ()
    """Attributes that fitting sets, float64 arrays; saved."""

    _num_bands: int = 0
    _fitted_on: str = ""

    def __init__(self) -> None:
        """Take no settings, unless a subclass does."""

    def fit(
        self,
        cube: Array | Raster,
        mask: NDArray[np.bool_] | None = None,
        source: str | None = None,
    ) -> Self:
        """Learn the statistics from a scene.

        Args:
            cube: Values, shape (H, W, bands), any real dtype, finite where the mask is true; or a
                raster, which is read strip by strip, and whose pixels without data are left out.
            mask: Pixels to learn from, shape (H, W); None takes all.
            source: What these pixels are, for :attr:`fitted_on`, such as "all pixels of
                indian_pines".

        Returns:
            The transform itself.

        Raises:
            SceneError: The cube or the mask has an impossible shape or values, or too few pixels;
                or all of them are the same.
            ConfigurationError: The settings don't fit the number of bands, or a class of your own
                doesn't keep one as an attribute of that name.
        """
        if unknown := [name for name in self._settings() if not hasattr(self, name)]:
            raise ConfigurationError(
                f"{type(self).__name__} must keep its argument {unknown[0]} as an attribute of "
                f"that name (self.{unknown[0]} = {unknown[0]}), from which it is saved"
            )
        if isinstance(cube, Raster):
            rows = RasterRows(cube)
            valid = rows.valid()
            mask = valid if mask is None else mask & valid
            values = cast("Array", rows)  # walked through by rows, as an array is
        else:
            values = np.asarray(cube)
        if len(values.shape) != 3 or 0 in values.shape or values.dtype.kind not in "biuf":
            raise SceneError(
                "cube must hold real numbers in shape (H, W, bands), got "
                f"{values.dtype} in shape {values.shape}"
            )
        height, width, bands = values.shape
        if mask is None:
            mask = np.ones((height, width), dtype=bool)
        elif mask.shape != (height, width) or mask.dtype != bool:
            raise SceneError(
                f"mask must hold booleans in shape {(height, width)}, got {mask.dtype} in shape "
                f"{mask.shape}"
            )
        pixels = int(mask.sum())
        if pixels == 0:
            raise SceneError("mask must leave at least one pixel to learn from, got none")
        if pixels > 1 and _is_constant(values, mask):
            raise SceneError(
                f"cube must differ from pixel to pixel, but all {pixels} of them hold the same "
                "spectrum, so there is nothing to learn; check which array of the file was read"
            )
        self._fit(values, mask)
        for key in self._statistics:  # as from_state has them: another order rounds differently
            setattr(self, key, np.asarray(getattr(self, key), order="C"))
        whole = pixels == mask.size
        source = source or ("all pixels" if whole else f"mask over {mask.size} pixels")
        self._num_bands = bands
        self._fitted_on = f"{pixels} pixels ({source})"
        return self

    def transform(self, cube: Array) -> NDArray[np.float32]:
        """Bands to components.

        Args:
            cube: Values, shape (H, W, bands) or (N, bands).

        Returns:
            Components, float32, shape (H, W, C) or (N, C).

        Raises:
            NotFittedError: The transform has not been fitted.
            SceneError: The number of bands is not the one that the transform was fitted on.
        """
        return self._blockwise(cube, self.num_bands, self.num_components, self._forward)

    def inverse(self, components: Array) -> NDArray[np.float32]:
        """Components back to bands; exact where no component was given up.

        Args:
            components: Shape (H, W, C) or (N, C).

        Returns:
            Values, float32, shape (H, W, bands) or (N, bands): the best linear estimate from these
            components over the fitted pixels (least squares).

        Raises:
            NotFittedError: The transform has not been fitted.
            SceneError: The number of components is not the transform's.
        """
        return self._blockwise(components, self.num_components, self.num_bands, self._backward)

    @property
    def fitted(self) -> bool:
        """Whether it has learned from a scene, or comes from a saved state."""
        return bool(self._fitted_on)

    @property
    def fitted_on(self) -> str:
        """How many pixels the statistics come from, and which."""
        self._require_fitted()
        return self._fitted_on

    @property
    def num_bands(self) -> int:
        """Number of bands that go in."""
        self._require_fitted()
        return self._num_bands

    @property
    def num_components(self) -> int:
        """Number of components that come out."""
        return self.num_bands

    def state_dict(self) -> State:
        """Settings and statistics as plain values and tensors, for :func:`transform_from_state`.

        ``torch.load(weights_only=True)`` reads them.

        Raises:
            NotFittedError: The transform has not been fitted.
        """
        state: State = {
            "name": self.name,
            "fitted_on": self.fitted_on,
            "num_bands": self.num_bands,
        }
        for key in self._settings():
            if (value := getattr(self, key)) is not None:
                state[key] = value
        for key in self._statistics:
            state[key] = torch.from_numpy(getattr(self, key).copy())
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The transform that :meth:`state_dict` describes.

        Raises:
            CheckpointError: ``state`` lacks something.
        """
        needed = {"fitted_on", "num_bands", *cls._statistics}
        if missing := sorted(needed - state.keys()):
            raise CheckpointError(
                f"the state of a {cls.name!r} transform must hold {sorted(needed)}, and lacks "
                f"{missing}; fit the transform again"
            )
        transform = cls(**{key: state[key] for key in cls._settings() if key in state})
        for key in cls._statistics:
            setattr(transform, key, torch.as_tensor(state[key]).to("cpu", torch.float64).numpy())
        transform._num_bands = int(state["num_bands"])
        transform._fitted_on = str(state["fitted_on"])
        return transform

    @classmethod
    def _settings(cls) -> list[str]:
        """Arguments of the constructor, which are attributes too; saved where they are not None."""
        return list(inspect.signature(cls.__init__).parameters)[1:]

    @abstractmethod
    def _fit(self, cube: Array, mask: NDArray[np.bool_]) -> None:
        """Set the statistics from the pixels where ``mask`` is true."""

    @abstractmethod
    def _forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bands (..., bands) to components (..., C)."""

    @abstractmethod
    def _backward(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        """Components (..., C) to bands (..., bands)."""

    def _require_fitted(self) -> None:
        if not self.fitted:
            raise NotFittedError(
                f"this {self.name!r} transform has seen no scene yet; call fit(cube) first"
            )

    def _blockwise(
        self,
        values: Array,
        size_in: int,
        size_out: int,
        function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ) -> NDArray[np.float32]:
        values = np.asarray(values)
        if values.ndim not in (2, 3) or values.shape[-1] != size_in:
            raise SceneError(
                f"expected shape (H, W, {size_in}) or (N, {size_in}) for this {self.name!r} "
                f"transform, got {values.shape}"
            )
        result = np.empty((*values.shape[:-1], size_out), dtype=np.float32)
        for rows in row_slices(values):
            result[rows] = function(values[rows].astype(np.float64))
        return result


class RasterRows:
    """Rows of a raster as slices of an array, read in strips of about :data:`READ_BYTES`.

    Args:
        raster: The image.

    Attributes:
        shape: (height, width, bands).
        dtype: Type of the values.
    """

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
        self.shape = raster.shape
        self.dtype = raster.dtype
        self._rows = max(1, READ_BYTES // (raster.dtype.itemsize * math.prod(raster.shape[1:])))
        self._start = 0
        self._strip: Array = np.empty((0, *raster.shape[1:]), raster.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        start, stop, _ = rows.indices(len(self))
        if not self._start <= start <= stop <= self._start + len(self._strip):
            self._start = start
            self._strip, _ = self.raster.read(
                slice(start, min(max(stop, start + self._rows), len(self)))
            )
        return self._strip[start - self._start : stop - self._start]

    def valid(self) -> NDArray[np.bool_]:
        """Which pixels hold data, (H, W)."""
        starts = range(0, len(self), self._rows)
        parts = [slice(start, min(start + self._rows, len(self))) for start in starts]
        return np.concatenate([self.raster.read(part)[1] for part in parts])


def row_slices(values: Array) -> Iterator[slice]:
    """Consecutive slices of the first axis that hold about BLOCK_BYTES as float64."""
    row_bytes = 8 * max(1, math.prod(values.shape[1:]))
    step = max(1, BLOCK_BYTES // row_bytes)
    for start in range(0, len(values), step):
        yield slice(start, min(start + step, len(values)))


def pixel_blocks(cube: Array, mask: NDArray[np.bool_]) -> Iterator[NDArray[np.float64]]:
    """The spectra (n, bands) where ``mask`` is true, in float64 blocks.

    Raises:
        SceneError: One of them holds a value that is not finite.
    """
    for rows in row_slices(cube):
        values = cube[rows][mask[rows]]
        block = values.astype(np.float64)
        if values.dtype.kind == "f" and not np.isfinite(block).all():
            band = int(np.flatnonzero(~np.isfinite(block).all(axis=0))[0])
            raise SceneError(
                f"cube must be finite; band {band} holds nan or inf in rows {rows.start} to "
                f"{rows.stop - 1}. Leave such pixels out with mask, or the band out of the cube"
            )
        if len(block):
            yield block


def _is_constant(cube: Array, mask: NDArray[np.bool_]) -> bool:
    """Whether all spectra are the same; as a rule the first block shows that they are not."""
    first = next(pixel_blocks(cube, mask))[0]
    return all((block == first).all() for block in pixel_blocks(cube, mask))


def mean_spectrum(cube: Array, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean (bands,) of the spectra where ``mask`` is true; exact for constant bands.

    Differences from one pixel are summed, so that the rounding of a large sum does not give a
    constant band some variance.
    """
    first: NDArray[np.float64] = next(pixel_blocks(cube, mask))[0]
    total = np.zeros(cube.shape[2])
    for block in pixel_blocks(cube, mask):
        total += (block - first).sum(axis=0)
    return total / int(mask.sum()) + first


def mean_and_covariance(
    cube: Array, mask: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (bands,) and sample covariance (bands, bands) of the spectra where ``mask`` is true.

    Sums of raw products would lose the small variances that matter here, so products are of
    differences from a spectrum near the mean: the mean of the first block. Constant bands have no
    variance at all.

    Raises:
        SceneError: There are fewer than two pixels.
    """
    count, bands = int(mask.sum()), cube.shape[2]
    if count < 2:
        raise SceneError(f"a covariance needs at least 2 pixels, got {count}")
    first = next(pixel_blocks(cube, mask))
    near = first[0] + (first - first[0]).mean(axis=0)
    total, products = np.zeros(bands), np.zeros((bands, bands))
    for block in pixel_blocks(cube, mask):
        differences = np.subtract(block, near, out=block)
        total += differences.sum(axis=0)
        products += differences.T @ differences
    shift = total / count
    return near + shift, (products - count * np.outer(shift, shift)) / (count - 1)


class LinearTransform(BandTransform):
    """Base of the transforms that mix bands: centre, then project.

    Attributes:
        components: Number of components, at most as many as there are bands; None: as many.
        mean: Mean spectrum, shape (bands,).
        projection: Bands to components, shape (bands, C).
        reconstruction: Components to bands, shape (C, bands).
    """

    _statistics: ClassVar[tuple[str, ...]] = ("mean", "projection", "reconstruction")

    mean: NDArray[np.float64]
    projection: NDArray[np.float64]
    reconstruction: NDArray[np.float64]

    def __init__(self, components: int | None = None) -> None:
        if components is not None and components < 1:
            raise ConfigurationError(
                f"components must be at least 1, or None for all, got {components}"
            )
        self.components = components

    @property
    def num_components(self) -> int:
        """Number of components that come out."""
        self._require_fitted()
        return int(self.projection.shape[1])

    def _number(self, bands: int) -> int:
        """The number of components for a cube of so many bands: those that it has."""
        return min(self.components or bands, bands)

    def _forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        values -= self.mean
        return values @ self.projection

    def _backward(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        return components @ self.reconstruction + self.mean


def same_signs(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Column vectors (bands, C) with their largest entry by magnitude made positive.

    An eigenvector's sign is arbitrary, and differs between linear algebra libraries.
    """
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    flipped: NDArray[np.float64] = vectors * np.where(signs == 0, 1.0, signs)
    return flipped


def inverse_or_zero(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / values, and 0 where a value is 0."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values != 0)
