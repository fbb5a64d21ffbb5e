"""What every classical classifier has: labelled rows in, classes out."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from hsi_diffusion.errors import ConfigurationError, MissingDependencyError, NotFittedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Rows = np.ndarray[Any, np.dtype[np.floating[Any]]]

CHUNK = 2**26
"""Bytes of the rows, and of their distances to the labelled rows, that are held at a time."""


class Estimator(ABC):
    """A classifier of rows that was learned from labelled rows alone.

    Args:
        seed: Names its draws.

    Attributes:
        name: The name under which :func:`build_estimator` knows the class.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """

    name: ClassVar[str]
    _module: ClassVar[str]
    """Where scikit-learn has it."""

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        scikit_learn(self._module)  # told before anything has been computed
        self._model: Any = None
        self._shape = (0, 0)

    def fit(self, rows: Rows, classes: NDArray[np.integer[Any]]) -> Self:
        """Learn from labelled rows.

        Args:
            rows: Bands, components or features of single pixels, shape (N, D), finite.
            classes: Their classes 0..K-1, shape (N,); some may be missing.

        Returns:
            Itself.

        Raises:
            ConfigurationError: The rows and classes don't fit together, are impossible, or are too
                few for the settings.
        """
        if rows.ndim != 2 or 0 in rows.shape or classes.shape != rows.shape[:1]:
            raise ConfigurationError(
                "rows and classes must have the shapes (N, D) and (N,) with at least one row, got "
                f"{rows.shape} and {classes.shape}"
            )
        if classes.dtype.kind not in "iu" or classes.min() < 0:
            raise ConfigurationError(
                f"classes must be whole numbers from 0, got {classes.dtype} from {classes.min()}"
            )
        self._model = None  # should it fail, the old one is not left with half new settings
        self._fit(_float32(rows), classes.astype(np.int64))
        self._shape = (rows.shape[0], rows.shape[1])
        return self

    def predict(self, rows: Rows) -> NDArray[np.int64]:
        """Say which class each row has.

        Args:
            rows: Shape (M, D), finite.

        Returns:
            Classes, shape (M,), each one that was among the classes given to :meth:`fit`; of equal
            ones the one with the lowest number.

        Raises:
            NotFittedError: :meth:`fit` was not called.
            ConfigurationError: The rows have another number of channels, or are not finite.
        """
        found = np.empty(len(rows), dtype=np.int64)
        for part, piece in self._pieces(rows):
            found[part] = self._predict(piece)
        return found

    def answers(self, rows: Rows, num_classes: int) -> NDArray[np.float32]:
        """Say how much speaks for each class of each row.

        Args:
            rows: Shape (M, D), finite.
            num_classes: Number of classes K, above every class given to :meth:`fit`.

        Returns:
            Shape (M, K), of sum 1; 0 for classes that :meth:`fit` saw no row of. They rank the
            classes; probabilities in earnest they are not.

        Raises:
            NotFittedError: :meth:`fit` was not called.
            ConfigurationError: The rows have another number of channels, or are not finite.
        """
        found = np.zeros((len(rows), num_classes), dtype=np.float32)
        for part, piece in self._pieces(rows):
            found[part, self._model.classes_] = self._answers(piece)
        return found

    def describe(self) -> dict[str, Any]:
        """What was learned with, as plain data: the settings, and those that were chosen.

        Raises:
            NotFittedError: :meth:`fit` was not called.
        """
        self._require_fitted()
        size = {"name": self.name, "rows": self._shape[0], "channels": self._shape[1]}
        return {**size, **self._settings()}

    @abstractmethod
    def _fit(self, rows: NDArray[np.float32], classes: NDArray[np.int64]) -> None:
        """Set the model."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """What :meth:`describe` adds."""

    def _predict(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Classes of a piece of rows."""
        found: NDArray[np.int64] = self._model.predict(rows)
        return found

    def _answers(self, rows: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """Of a piece of rows, for the classes that there were."""
        found: NDArray[np.floating[Any]] = self._model.predict_proba(rows)
        return found

    def _require_fitted(self) -> None:
        if self._model is None:
            raise NotFittedError(
                f"this estimator {self.name!r} has seen no rows yet; call fit(rows, classes) first"
            )

    def _pieces(self, rows: Rows) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Check the rows, and walk through them in float32."""
        self._require_fitted()
        labelled, channels = self._shape
        if rows.ndim != 2 or rows.shape[1] != channels:
            raise ConfigurationError(
                f"rows must have the shape (M, {channels}) like those given to fit, got "
                f"{rows.shape}"
            )
        step = max(1, CHUNK // (8 * (labelled + channels)))
        for start in range(0, len(rows), step):
            piece = rows[start : start + step]
            yield slice(start, start + len(piece)), _float32(piece)


def scikit_learn(module: str) -> Any:
    """A module of scikit-learn, which is optional and publishes no types.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingDependencyError(
            'the classical classifiers need scikit-learn: pip install -e ".[baselines]"'
        ) from error


def _float32(rows: Rows) -> NDArray[np.float32]:
    """The rows in float32, if they are finite."""
    found = rows.astype(np.float32)
    if not np.isfinite(found).all():
        raise ConfigurationError(
            "rows must be finite, but hold nan or infinity; leave out such pixels or channels"
        )
    return found
