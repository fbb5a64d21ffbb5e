"""Classical classifiers of single pixels by the names that a configuration holds.

The baselines of the SpectralDiff tables (Chen et al., TGRS 2023), on scikit-learn, an optional
package: ``pip install -e ".[baselines]"``.

They see the bands as they are given: the grids of the SVM suit min-max bands, which is what the
presets in ``experiments/configs`` feed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from hsi_diffusion.classifiers.estimator_base import Estimator, scikit_learn
from hsi_diffusion.classifiers.svm import SupportVectorMachine
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_options
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


class NearestNeighbours(Estimator):
    """The class that most of the nearest labelled rows have, by Euclidean distance.

    Nothing is random.

    Args:
        neighbours: How many rows vote.
        seed: Not used.

    Raises:
        ConfigurationError: ``neighbours`` is below 1.
        MissingDependencyError: scikit-learn is not installed.
    """

    name: ClassVar[str] = "knn"
    _module: ClassVar[str] = "neighbors"

    def __init__(self, neighbours: int = 5, *, seed: int = 0) -> None:
        if neighbours < 1:
            raise ConfigurationError(f"neighbours must be at least 1, got {neighbours}")
        super().__init__(seed=seed)
        self.neighbours = neighbours

    def _fit(self, rows: NDArray[np.float32], classes: NDArray[np.int64]) -> None:
        if len(rows) < self.neighbours:
            raise ConfigurationError(
                f"neighbours must be at most the number of rows, {len(rows)}, got {self.neighbours}"
            )
        # a tree is no faster in so many dimensions
        model = scikit_learn(self._module).KNeighborsClassifier(self.neighbours, algorithm="brute")
        self._model = model.fit(rows, classes)

    def _settings(self) -> dict[str, Any]:
        return {"neighbours": self.neighbours}


class RandomForest(Estimator):
    """A forest of decision trees, split by entropy, each on a bootstrap sample of the rows.

    Args:
        trees: How many.
        seed: Names the samples, and the channels that are tried.

    Raises:
        ConfigurationError: ``trees`` is below 1.
        MissingDependencyError: scikit-learn is not installed.
    """

    name: ClassVar[str] = "random_forest"
    _module: ClassVar[str] = "ensemble"

    def __init__(self, trees: int = 200, *, seed: int = 0) -> None:
        if trees < 1:
            raise ConfigurationError(f"trees must be at least 1, got {trees}")
        super().__init__(seed=seed)
        self.trees = trees

    def _fit(self, rows: NDArray[np.float32], classes: NDArray[np.int64]) -> None:
        # scikit-learn takes 32 bits
        seed = stable_seed(self.name, self.seed) % 2**32
        model = scikit_learn(self._module).RandomForestClassifier(
            self.trees, criterion="entropy", random_state=seed
        )
        self._model = model.fit(rows, classes)

    def _settings(self) -> dict[str, Any]:
        return {"trees": self.trees, "seed": self.seed}


ESTIMATORS: dict[str, type[Estimator]] = {
    kind.name: kind for kind in (NearestNeighbours, RandomForest, SupportVectorMachine)
}
"""Every classical classifier by its name."""


def build_estimator(
    name: str, options: Mapping[str, Any] | None = None, seed: int = 0
) -> Estimator:
    """Make a classical classifier.

    Args:
        name: A name in :data:`ESTIMATORS`.
        options: Its other arguments; what is left out has its default.
        seed: Names its draws.

    Returns:
        The classifier, which has learned nothing yet.

    Raises:
        ConfigurationError: An unknown name or option, or a value that the classifier refuses.
        MissingDependencyError: scikit-learn is not installed.
    """
    if name not in ESTIMATORS:
        raise ConfigurationError(
            f"estimator must be one of {', '.join(sorted(ESTIMATORS))}, got {name!r}"
        )
    kind = ESTIMATORS[name]
    options = dict(options or {})
    check_options(kind, options, "estimator_options", given=("seed",))
    return kind(**options, seed=seed)
