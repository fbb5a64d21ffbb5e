"""A support vector machine whose kernel is chosen by cross-validation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import softmax

from hsi_diffusion.classifiers.estimator_base import Estimator, scikit_learn
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches import Split, cross_validation_folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Matrix = np.ndarray[Any, np.dtype[np.float64]]

SIGMAS = tuple(2.0**power for power in range(-3, 5))
"""Widths of the kernel that the SpectralDiff paper tries, 2^-3 to 2^4."""

COSTS = tuple(10.0**power for power in range(-2, 5))
"""Costs of an error that it tries, its lambda, 10^-2 to 10^4."""


class SupportVectorMachine(Estimator):
    """A support vector machine, one against one, with the kernel exp(-d^2 / (2 sigma^2)).

    The kernel's width sigma and the cost of an error (the papers' lambda) are chosen by stratified
    cross-validation on the given rows alone: the pair with the most rows classified rightly while
    they were left out; of equal ones the smoothest, which is the widest kernel, then the smallest
    cost. Classes with fewer rows than folds are missing from some folds, and the only row of a
    class always trains; where every class has fewer rows than folds, there are as many folds as the
    largest class has rows. The machine then learns from all rows. One pair is taken as it is.

    Its answers are a softmax over the votes of the machines, a class against a class each, in which
    equal votes are told apart by the machines' margins (scikit-learn's one-against-rest decision
    function). Nothing is fitted to make probabilities of them, which would take more labels than
    there may be. Ours.

    With N rows it holds a few matrices of N x N numbers in float64.

    Args:
        sigmas: Widths to try, in the units of the rows. The paper's grid suits bands between -1 and
            1, or 0 and 1.
        costs: Costs to try.
        folds: Parts of the cross-validation, at least 2; the paper does not say how many.
        standardise: Give every channel mean 0 and variance 1 over the given rows, and take the root
            mean square over channels as distance, so that the same widths suit any number of
            channels of any scale. Ours.
        sharpness: How much one more vote counts in the answers, as a power of e; the default was
            found on development pixels of Indian Pines.
        seed: Names the draw of the folds.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
        MissingDependencyError: scikit-learn is not installed.
    """

    name: ClassVar[str] = "svm"
    _module: ClassVar[str] = "svm"

    def __init__(
        self,
        sigmas: Sequence[float] = SIGMAS,
        costs: Sequence[float] = COSTS,
        folds: int = 5,
        standardise: bool = False,
        sharpness: float = 4.0,
        *,
        seed: int = 0,
    ) -> None:
        self.sigmas = _grid("sigmas", sigmas)
        self.costs = _grid("costs", costs)
        if folds < 2:
            raise ConfigurationError(f"folds must be at least 2, got {folds}")
        if not 0 < sharpness < math.inf:
            raise ConfigurationError(f"sharpness must be above 0 and finite, got {sharpness}")
        super().__init__(seed=seed)
        self.sharpness = sharpness
        self.folds = folds
        self.standardise = standardise
        self._chosen: dict[str, Any] = {}
        self._rows = np.empty((0, 0))
        self._shift = self._factor = np.empty(0)

    def _fit(self, rows: NDArray[np.float32], classes: NDArray[np.int64]) -> None:
        if len(np.unique(classes)) < 2:
            raise ConfigurationError("an svm needs rows of at least 2 classes, got one class")
        # a kernel does not see a shift, and distances of centred rows round less
        self._shift = rows.mean(axis=0, dtype=np.float64)
        self._factor = np.ones_like(self._shift)
        if self.standardise:
            deviation = rows.std(axis=0, dtype=np.float64) * np.sqrt(rows.shape[1])
            varies = rows.max(axis=0) > rows.min(axis=0)  # rounding gives a constant one some
            np.divide(1, deviation, out=self._factor, where=varies)
            self._factor[~varies] = 0
        self._rows = self._scaled(rows)
        squares = _squared_distances(self._rows, self._rows)
        sigma, cost = self._choose(squares, classes)
        self._model = self._machine(cost).fit(_kernel(squares, sigma), classes)

    def _choose(self, squares: Matrix, classes: NDArray[np.int64]) -> tuple[float, float]:
        """The best pair of the grid, noted with how good it was."""
        sigma, cost = self.sigmas[-1], self.costs[0]
        self._chosen = {"sigma": sigma, "cost": cost, "folds": 0, "cross_validated_accuracy": None}
        if len(self.sigmas) == len(self.costs) == 1:
            return sigma, cost
        folds = _folds(classes, self.folds, self.seed)
        best = -1
        for width in reversed(self.sigmas):
            kernel = _kernel(squares, width)
            right = dict.fromkeys(self.costs, 0)
            for fold in folds:
                known = kernel[np.ix_(fold.train, fold.train)]
                asked = kernel[np.ix_(fold.val, fold.train)]
                for price in self.costs:
                    found = self._machine(price).fit(known, classes[fold.train]).predict(asked)
                    right[price] += int((found == classes[fold.val]).sum())
            for price, number in right.items():
                if number > best:
                    best, sigma, cost = number, width, price
        tried = sum(len(fold.val) for fold in folds)
        self._chosen = {
            "sigma": sigma,
            "cost": cost,
            "folds": len(folds),
            "cross_validated_accuracy": best / tried,
        }
        return sigma, cost

    def _machine(self, cost: float) -> Any:
        return scikit_learn(self._module).SVC(C=cost, kernel="precomputed")

    def _scaled(self, rows: NDArray[np.float32]) -> Matrix:
        scaled: Matrix = (rows - self._shift) * self._factor
        return scaled

    def _predict(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._model.predict(self._against_known(rows))
        return found

    def _answers(self, rows: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        votes: Matrix = self._model.decision_function(self._against_known(rows))
        if votes.ndim == 1:  # of two classes there is one margin
            votes = np.stack([-votes, votes], axis=1) / 2
        found: Matrix = softmax(self.sharpness * votes, axis=1)
        return found

    def _against_known(self, rows: NDArray[np.float32]) -> Matrix:
        """The kernel between rows and those that were learned from."""
        squares = _squared_distances(self._scaled(rows), self._rows)
        return _kernel(squares, self._chosen["sigma"])

    def _settings(self) -> dict[str, Any]:
        return {**self._chosen, "standardise": self.standardise, "seed": self.seed}


def _grid(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """Rising values to try, if all of them can be."""
    plain = isinstance(values, list | tuple) and all(
        type(value) in (int, float) for value in values
    )
    if not plain or not values or not all(0 < value < math.inf for value in values):
        raise ConfigurationError(
            f"{name} must be a list of at least one finite number above 0, got {values!r}"
        )
    return tuple(sorted({float(value) for value in values}))


def _folds(classes: NDArray[np.int64], folds: int, seed: int) -> tuple[Split, ...]:
    """Deal the rows into folds as if they were the pixels of a scene of one row."""
    largest = int(np.unique(classes, return_counts=True)[1].max())
    if largest < 2:
        raise ConfigurationError(
            "an svm can't choose among sigmas and costs where no class has 2 rows: give one value "
            "of each, or more labelled rows"
        )
    labels = classes[None] + 1
    none = np.empty(0, dtype=np.int64)
    split = Split.from_labels(
        labels, train=np.arange(len(classes)), val=none, test=none, settings={}
    )
    return cross_validation_folds(split, labels, min(folds, largest), seed=seed)


def _squared_distances(first: Matrix, second: Matrix) -> Matrix:
    """Between all rows (N, D) and (M, D), shape (N, M)."""
    squares: Matrix = first @ second.T
    squares *= -2
    squares += np.square(first).sum(axis=1)[:, None]
    squares += np.square(second).sum(axis=1)
    return np.maximum(squares, 0, out=squares)


def _kernel(squares: Matrix, sigma: float) -> Matrix:
    kernel: Matrix = squares / (-2 * sigma**2)
    return np.exp(kernel, out=kernel)
