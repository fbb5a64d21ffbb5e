"""scikit-learn classifiers of single pixels."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import get_tags

from hsi_diffusion.classifiers.base import PixelClassifier, array_of, parts_of
from hsi_diffusion.errors import CheckpointError, ConfigurationError, NotFittedError
from hsi_diffusion.files import plain_data
from hsi_diffusion.graphs.graph import check_training

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sklearn.base import ClassifierMixin
    from torch import Tensor

    from hsi_diffusion.classifiers.base import Cube, Layout
    from hsi_diffusion.classifiers.settings import EstimatorFactory

CHUNK = 2**16
"""Rows whose probabilities are asked for at once."""

KNOWN = re.compile(
    r"hsi_diffusion\.classifiers\.svm\.SupportVectorMachine"
    r"|sklearn\.(tree\._tree\.Tree|neighbors\._(kd|ball)_tree\.(KD|Ball)Tree(32|64)?"
    r"|metrics\._dist_metrics\.[A-Z]\w*|calibration\._[A-Z]\w*"
    r"|gaussian_process\.(_gpc|kernels)\._?[A-Z]\w*|neural_network\._stochastic_optimizers\.[A-Z]\w*"
    r"|ensemble\._hist_gradient_boosting\.predictor\.TreePredictor"
    r"|model_selection\._split\.[A-Z]\w*|metrics\.(_scorer\._?[A-Z]|_classification\.|_ranking\.)\w+"
    r"|utils\._bunch\.Bunch"
    r"|feature_selection\._univariate_selection\.\w+)"
)
"""Classes and functions that a saved estimator may hold beside those that skops knows as harmless:
the library's, and those inside the trees, neighbours, searches, ... of scikit-learn."""


class EstimatorClassifier(PixelClassifier):
    """Fits scikit-learn classifiers to single pixels of a cube.

    Args:
        factory: Makes one; an estimator works too, and is copied.
        each: Fit one to each part of the cube's channels (timestep and level), and average their
            probabilities.
        seed: Given as ``random_state`` to estimators, and to parts of them, that have one which is
            None.
    """

    kind: ClassVar[str] = "estimator"

    def __init__(
        self,
        factory: EstimatorFactory | BaseEstimator | ClassifierMixin,
        *,
        each: bool = False,
        seed: int = 0,
    ) -> None:
        self.factory = factory
        self.each = each
        self.seed = seed
        self.estimators: list[Any] = []
        self._num_classes = 0
        self._classes: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._given: list[tuple[int, int]] = []

    def check(self, layout: Layout, num_classes: int) -> None:
        """See :meth:`PixelClassifier.check`."""
        del layout, num_classes
        self._make()

    def fit(
        self,
        cube: Cube,
        labels: NDArray[np.integer[Any]],
        pixels: NDArray[np.integer[Any]],
        num_classes: int,
        validation: NDArray[np.integer[Any]] | None = None,
    ) -> Self:
        """See :meth:`PixelClassifier.fit`."""
        del validation
        check_training(labels, pixels, num_classes, array_of(cube).shape[:2])
        classes = labels.ravel()[pixels].astype(np.int64) - 1
        found, parts = [], self._parts(cube)
        for rows in parts:
            try:
                found.append(self._make().fit(rows[pixels], classes))
            except ValueError as error:  # scikit-learn's word for labels that are too few
                raise ConfigurationError(
                    f"classifier.estimator can't learn these {len(pixels)} pixels: {error}"
                ) from error
        self._given = [(len(pixels), rows.shape[1]) for rows in parts]
        self.estimators, self._num_classes = found, num_classes
        self._classes = np.unique(classes)
        return self

    def predict(
        self, cube: Cube, pixels: NDArray[np.integer[Any]] | None = None
    ) -> NDArray[np.float32]:
        """See :meth:`PixelClassifier.predict`.

        Classes without a training pixel have probability 0.
        """
        self._require_fitted()
        found = []
        for estimator, rows in zip(self.estimators, self._parts(cube), strict=True):
            wanted = rows if pixels is None else rows[pixels]
            probabilities = np.zeros((len(wanted), self._num_classes), dtype=np.float32)
            for start in range(0, len(wanted), CHUNK):
                part = slice(start, start + CHUNK)
                answer = _probabilities(estimator, wanted[part], self._classes)
                probabilities[part, self._classes] = answer
            found.append(probabilities)
        mean: NDArray[np.float32] = np.mean(found, axis=0, dtype=np.float32)
        return mean

    def trial(self, steps: int, name: str) -> EstimatorClassifier:
        """See :meth:`PixelClassifier.trial`."""
        del steps, name
        return EstimatorClassifier(self.factory, each=self.each, seed=self.seed)

    def describe(self) -> dict[str, Any]:
        """See :meth:`PixelClassifier.describe`."""
        self._require_fitted()
        found = [
            {"name": type(one).__name__, "rows": rows, "channels": channels, **_chosen(one)}
            for one, (rows, channels) in zip(self.estimators, self._given, strict=True)
        ]
        return found[0] if len(found) == 1 else {"name": found[0]["name"], "each": found}

    def save(self, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """See :meth:`PixelClassifier.save`."""
        import skops.io  # noqa: PLC0415  (it loads all of scikit-learn, for seconds)

        for number, estimator in enumerate(self.estimators):
            path = folder / f"estimator-{number}.skops"
            try:
                skops.io.dump(estimator, path)
                foreign = _foreign(path)
            except Exception as error:  # as many kinds as there are objects
                raise ConfigurationError(
                    f"classifier.estimator is a {type(estimator).__name__}, which can't be stored "
                    f"without pickles: {error}"
                ) from error
            if foreign:
                warnings.warn(
                    f"the saved {type(estimator).__name__} holds objects of {', '.join(foreign)}, "
                    "which are not scikit-learn's: who reads the model has to trust them, with "
                    "trusted=[...] (hsi-diffusion map --trusted)",
                    stacklevel=2,
                )
        plain = {
            "num_classes": self._num_classes,
            "classes": self._classes.tolist(),
            "given": [list(size) for size in self._given],
        }
        return plain, {}

    def load(
        self,
        folder: Path,
        plain: dict[str, Any],
        tensors: dict[str, Tensor],
        *,
        trusted: Sequence[str] = (),
    ) -> Self:
        """See :meth:`PixelClassifier.load`.

        ``trusted`` holds the full names of classes that may be made beside those of scikit-learn.
        """
        del tensors
        self._num_classes = int(plain["num_classes"])
        self._classes = np.asarray(plain["classes"], dtype=np.int64)
        self._given = [(int(rows), int(channels)) for rows, channels in plain["given"]]
        self.estimators = [
            _load(folder / f"estimator-{number}.skops", trusted)
            for number in range(len(self._given))
        ]
        return self

    def _make(self) -> Any:
        given: Any = self.factory
        ready = hasattr(given, "fit") and not isinstance(given, type)
        estimator = given() if callable(given) and not ready else given
        lacks = any(not hasattr(estimator, name) for name in ("fit", "get_params"))
        # some have predict only when they are fitted; that of regressors gives no classes
        if (
            lacks
            or _is_other(estimator)
            or not (hasattr(estimator, "predict") or is_classifier(estimator))
        ):
            raise ConfigurationError(
                "classifier.estimator must make a scikit-learn classifier (fit, predict, "
                f"get_params), got a {type(estimator).__name__}"
            )
        estimator = clone(estimator)
        unset = {
            name: self.seed % 2**32  # scikit-learn takes 32 bits
            for name, value in estimator.get_params().items()
            if name.rpartition("__")[2] == "random_state" and value is None
        }
        return estimator.set_params(**unset) if unset else estimator

    def _require_fitted(self) -> None:
        if not self.estimators:
            raise NotFittedError("this estimator has learned nothing yet: call fit(...) first")

    def _parts(self, cube: Cube) -> list[NDArray[np.float32]]:
        """Rows (H * W, d) of what one estimator each learns."""
        return [part.reshape(-1, part.shape[2]) for part in parts_of(cube, each=self.each)]


def _is_other(estimator: Any) -> bool:
    """Whether scikit-learn knows this as a regressor, clusterer or another than a classifier."""
    known = isinstance(estimator, BaseEstimator)
    return known and get_tags(estimator).estimator_type not in ("classifier", None)


def _load(path: Path, trusted: Sequence[str]) -> Any:
    """An estimator out of its file, if it holds objects of trusted classes only."""
    import skops.io  # noqa: PLC0415

    try:
        unknown = [name for name in _foreign(path) if name not in trusted]
        if not unknown:
            return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    except Exception as error:  # whatever a damaged archive makes of itself
        raise CheckpointError(f"{path} can't be read as a saved estimator: {error}") from error
    raise CheckpointError(
        f"{path} holds objects of {', '.join(unknown)}, which are none of those that estimators of "
        "scikit-learn hold; if you trust them, name them with trusted=[...]"
    )


def _foreign(path: Path) -> list[str]:
    """What a saved estimator holds of others than scikit-learn and the library."""
    import skops.io  # noqa: PLC0415

    return [name for name in skops.io.get_untrusted_types(file=path) if not KNOWN.fullmatch(name)]


def _chosen(estimator: Any) -> dict[str, Any]:
    """What an estimator has chosen by itself, such as the kernel width of an SVM; plain data."""
    if getattr(estimator, "folds_", None) == 0:  # an SVM of one pair, which chose nothing
        return {}
    names = ("sigma_", "cost_", "folds_", "cross_validated_accuracy_", "best_params_")
    return {
        name.rstrip("_"): plain_data(getattr(estimator, name))
        for name in names
        if hasattr(estimator, name)
    }


def _probabilities(
    estimator: Any, rows: NDArray[np.float32], classes: NDArray[np.int64]
) -> NDArray[np.floating[Any]]:
    """What an estimator says of rows, for the sorted classes that it knows; of sum 1."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(rows))
    if hasattr(estimator, "decision_function"):
        margins = estimator.decision_function(rows)
        if margins.ndim == 1:  # two classes have one margin
            margins = np.stack([-margins, margins], axis=1)
        if margins.shape[1] == len(classes) and not (len(classes) == 3 and _by_pairs(estimator)):
            return np.asarray(softmax(margins, axis=1))
    return np.asarray(estimator.predict(rows)[:, None] == classes, dtype=np.float32)


def _by_pairs(estimator: Any) -> bool:
    """Whether margins are those of pairs of classes, of which three classes have three."""
    chosen = getattr(estimator, "best_estimator_", estimator)
    return any(
        name.rpartition("__")[2] == "decision_function_shape" and value == "ovo"
        for name, value in chosen.get_params().items()
    )
