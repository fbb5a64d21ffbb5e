"""A support vector machine whose kernel is chosen by cross-validation, as scikit-learn has them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least, check_range
from hsi_diffusion.patches.folds import deal_into_folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Matrix = np.ndarray[Any, np.dtype[np.float64]]

SIGMAS = tuple(2.0**power for power in range(-3, 5))
"""Kernel widths that the SpectralDiff paper tries, 2^-3 to 2^4."""

COSTS = tuple(10.0**power for power in range(-2, 5))
"""Costs of an error that it tries, its lambda, 10^-2 to 10^4."""

CHUNK = 2**26
"""Bytes of the rows, and of their distances to the training rows, that are held at a time."""


class SupportVectorMachine(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A support vector machine, one against one, with the kernel exp(-d^2 / (2 sigma^2)).

    The kernel width sigma and the cost of an error (the papers' lambda) are chosen by stratified
    cross-validation on the given rows alone: the pair with the most left-out rows classified
    correctly; of equal ones the smoothest, which is the widest kernel, then the smallest cost.
    Classes with fewer rows than folds are missing from some folds, and the only row of a class
    always trains; where every class has fewer rows than folds, there are as many folds as the
    largest class has rows. The machine then learns from all rows. A single pair is taken as it is.

    The probabilities are a softmax over the votes of the machines, a class against a class each, in
    which equal votes are decided by the machines' margins (scikit-learn's one-against-rest
    decision function). They rank the classes; they are not calibrated, which would take more labels
    than there may be. Ours.

    With N rows it holds a few matrices of N x N numbers in float64.

    Args:
        sigmas: Kernel widths to try, in the units of the rows. The paper's grid suits bands between
            -1 and 1, or 0 and 1.
        costs: Costs to try.
        folds: Parts of the cross-validation, at least 2; the paper does not say how many.
        standardise: Give every channel mean 0 and variance 1 over the given rows, and take the root
            mean square over channels as distance, so that the same widths suit any number of
            channels of any scale. Ours.
        sharpness: Weight of one more vote in the probabilities, as a power of e; the default was
            found on development pixels of Indian Pines.
        random_state: Seed of the draw of the folds; None: 0.

    Attributes:
        classes_: The classes, sorted, shape (K,).
        n_features_in_: Number of channels D.
        sigma_: The chosen kernel width.
        cost_: The chosen cost.
        folds_: Number of folds of the cross-validation; 0 where there was nothing to choose.
        cross_validated_accuracy_: Part of the left-out rows that the chosen pair classified
            correctly, by votes of the pairs of classes without regard to margins; nan where there
            was nothing to choose.

    Example:
        >>> import numpy as np
        >>> random = np.random.default_rng(0)
        >>> classes = np.arange(40) % 2
        >>> rows = classes[:, None] + 0.2 * random.normal(size=(40, 5))
        >>> model = SupportVectorMachine(sigmas=[0.5, 1.0], costs=[1.0, 100.0]).fit(rows, classes)
        >>> model.predict_proba(rows).shape, model.score(rows, classes)
        ((40, 2), 1.0)

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    def __init__(
        self,
        sigmas: Sequence[float] = SIGMAS,
        costs: Sequence[float] = COSTS,
        *,
        folds: int = 5,
        standardise: bool = False,
        sharpness: float = 4.0,
        random_state: int | None = None,
    ) -> None:
        self.sigmas = sigmas
        self.costs = costs
        self.folds = folds
        self.standardise = standardise
        self.sharpness = sharpness
        self.random_state = random_state
        self._check()  # and again in fit, since set_params may change them

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:  # noqa: N803  (as scikit-learn has it)
        """Learn from labelled rows.

        Args:
            X: Bands, components or features of single pixels, shape (N, D), finite; used in
                float32.
            y: Their classes, shape (N,).

        Returns:
            Itself.

        Raises:
            ConfigurationError: A setting is outside what is allowed, or the rows are too few for
                the settings.
            ValueError: The rows and classes don't fit together, or are not finite.
        """
        sigmas, costs = self._check()
        rows, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, classes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ConfigurationError("y must hold at least 2 classes for an svm, got one class")
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
        self._choose(sigmas, costs, squares, classes)
        self._machine = _machine(self.cost_).fit(_kernel(squares, self.sigma_), classes)
        return self

    def predict_proba(self, X: NDArray[Any]) -> NDArray[np.float32]:  # noqa: N803
        """Rank the classes of rows.

        Args:
            X: Shape (M, D), finite.

        Returns:
            float32, shape (M, K), of sum 1, in the order of :attr:`classes_`.

        Raises:
            NotFittedError: :meth:`fit` was not called (scikit-learn's error).
            ValueError: The rows have another number of channels, or are not finite.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float32, reset=False)
        found = np.empty((len(rows), len(self.classes_)), dtype=np.float32)
        support = self._machine.support_  # the columns that are read; the others may hold anything
        vectors = self._rows[support]
        step = max(1, CHUNK // (8 * sum(self._rows.shape)))
        kernel = np.zeros((min(step, len(rows)), len(self._rows)))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            squares = _squared_distances(self._scaled(rows[part]), vectors)
            kernel[: len(squares), support] = _kernel(squares, self.sigma_)
            votes: Matrix = self._machine.decision_function(kernel[: len(squares)])
            if votes.ndim == 1:  # of two classes there is one margin
                votes = np.stack([-votes, votes], axis=1) / 2
            found[part] = softmax(self.sharpness * votes, axis=1)
        return found

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:  # noqa: N803
        """Classify rows by the largest of :meth:`predict_proba`, shape (M, D) to (M,)."""
        places = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[places]
        return found

    def _choose(
        self,
        sigmas: tuple[float, ...],
        costs: tuple[float, ...],
        squares: Matrix,
        classes: NDArray[np.int64],
    ) -> None:
        """Set the best pair of the grid, and how good it was."""
        self.sigma_, self.cost_ = sigmas[-1], costs[0]
        self.folds_, self.cross_validated_accuracy_ = 0, math.nan
        if len(sigmas) == len(costs) == 1:
            return
        parts = _folds(classes, self.folds, self.random_state or 0)
        best = -1
        for sigma in reversed(sigmas):
            kernel = _kernel(squares, sigma)
            right = dict.fromkeys(costs, 0)
            for train, left in parts:
                known = kernel[np.ix_(train, train)]
                left_out = kernel[np.ix_(left, train)]
                number, bound = 0, True
                # costs rise: a machine whose weights all stay below its cost is the same, up to
                # the solver's tolerance, at any higher one
                for cost in costs:
                    if bound:
                        machine = _machine(cost).fit(known, classes[train])
                        number = int((machine.predict(left_out) == classes[left]).sum())
                        bound = bool(np.abs(machine.dual_coef_).max() >= cost)
                    right[cost] += number
            for cost, number in right.items():
                if number > best:
                    best, self.sigma_, self.cost_ = number, sigma, cost
        self.folds_ = len(parts)
        self.cross_validated_accuracy_ = best / sum(len(left) for _, left in parts)

    def _scaled(self, rows: NDArray[np.float32]) -> Matrix:
        scaled: Matrix = (rows - self._shift) * self._factor
        return scaled

    def _check(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Both grids in rising order, if all settings are possible."""
        check_at_least(2, folds=self.folds)
        check_range("above 0 and finite", sharpness=self.sharpness)
        return _grid("sigmas", self.sigmas), _grid("costs", self.costs)


def _machine(cost: float) -> SVC:
    return SVC(C=cost, kernel="precomputed")


def _grid(name: str, values: Any) -> tuple[float, ...]:
    """Rising values to try, if all of them can be."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list | tuple) or not values:
        raise ConfigurationError(f"{name} must be a list of at least one number, got {values!r}")
    for value in values:
        check_range("above 0 and finite", **{name: value})
    return tuple(sorted({float(value) for value in values}))


def _folds(
    classes: NDArray[np.int64], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Deal the rows into folds: numbers of the rows that train, and of those that are left out."""
    largest = int(np.bincount(classes).max())
    if largest < 2:
        raise ConfigurationError(
            "an svm can't choose among sigmas and costs where no class has 2 rows: give one value "
            "of each, or more labelled rows"
        )
    number = min(folds, largest)
    fold_of = deal_into_folds(classes + 1, number, seed=seed)  # as classes of a scene are numbered
    return [
        (np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(number)
    ]


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
