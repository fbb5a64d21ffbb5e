"""Classical classifiers of pixels whose answers, and whose labels, are spread over the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from hsi_diffusion.classifiers.estimators import build_estimator
from hsi_diffusion.classifiers.joint_propagation import check_smoothing
from hsi_diffusion.classifiers.propagation import check_training
from hsi_diffusion.errors import ConfigurationError, NotFittedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.classifiers.estimator_base import Estimator
    from hsi_diffusion.classifiers.joint_propagation import JointPropagation

    Cube = NDArray[np.floating[Any]]


class _Learned(NamedTuple):
    """What a classifier has seen."""

    labels: NDArray[np.integer[Any]]
    train: NDArray[np.integer[Any]]
    num_classes: int


class GraphClassifier:
    """An estimator for each of several cubes over a scene, and graphs along which they agree.

    Every estimator learns the labelled pixels of its cube, such as the features of one timestep and
    level; the mean of their answers is smoothed along the graphs and multiplied with the labels
    that are spread along them, see
    :meth:`~hsi_diffusion.classifiers.JointPropagation.with_answers`. Ours; DiffGraph's classifier,
    in none of the papers.

    Args:
        cubes: At least one, shape (H, W, D) each with a D of its own, finite.
        spread: The graphs, fitted; None: the mean of the answers is all there is.
        estimator: Name of the estimators, see
            :func:`~hsi_diffusion.classifiers.build_estimator`.
        options: Their arguments.
        weight: Power of the smoothed answers in the product.
        alpha: Share of a pixel's answer that comes from its neighbours.
        iterations: How often the answers are passed on.
        seed: Names the draws of the estimators.

    Attributes:
        estimators: What :meth:`fit` has learned, one for each cube.

    Example:
        >>> import numpy as np
        >>> from hsi_diffusion.classifiers import JointPropagation, LabelPropagation
        >>> labels = np.repeat([[1, 2]], 6, axis=0).repeat(5, axis=1)  # two fields, 6 x 5 pixels
        >>> random = np.random.default_rng(0)
        >>> bands = labels[..., None] + 0.3 * random.normal(size=(6, 10, 4))
        >>> features = bands[..., :2] ** 2
        >>> graphs = [LabelPropagation().fit(cube) for cube in (bands, features)]
        >>> spread = JointPropagation(graphs[0], graphs[1:], share=0.25)
        >>> one_svm = {"sigmas": [0.7], "costs": [100], "standardise": True}
        >>> model = GraphClassifier([features], spread, options=one_svm)
        >>> found = model.fit(labels, train=np.array([0, 7, 32, 39]), num_classes=2).predict()
        >>> found.shape, float((found.argmax(axis=2) + 1 == labels).mean())
        ((6, 10, 2), 1.0)

    Raises:
        ConfigurationError: There is no cube, the cubes differ in height or width, or a setting is
            outside what is allowed.
    """

    def __init__(
        self,
        cubes: Sequence[Cube],
        spread: JointPropagation | None,
        *,
        estimator: str = "svm",
        options: Mapping[str, Any] | None = None,
        weight: float = 1.0,
        alpha: float = 0.95,
        iterations: int = 100,
        seed: int = 0,
    ) -> None:
        if not cubes or {cube.shape[:2] for cube in cubes} != {cubes[0].shape[:2]}:
            raise ConfigurationError(
                "cubes must be one or more over the same pixels, got shapes "
                f"{[cube.shape for cube in cubes]}"
            )
        check_smoothing(alpha, iterations, weight)
        build_estimator(estimator, options, seed)  # told before anything has been computed
        self.shape = (cubes[0].shape[0], cubes[0].shape[1])
        self.rows = tuple(cube.reshape(-1, cube.shape[2]) for cube in cubes)
        self.spread = spread
        self.name = estimator
        self.options = dict(options or {})
        self.weight = weight
        self.alpha = alpha
        self.iterations = iterations
        self.seed = seed
        self.estimators: tuple[Estimator, ...] = ()
        self._learned: _Learned | None = None

    def fit(
        self, labels: NDArray[np.integer[Any]], train: NDArray[np.integer[Any]], num_classes: int
    ) -> Self:
        """Let an estimator learn the training pixels of each cube.

        Args:
            labels: Label map, shape (H, W), classes 1..K; read at the training pixels only.
            train: Flat numbers of the training pixels.
            num_classes: Number of classes K.

        Returns:
            Itself.

        Raises:
            ConfigurationError: The label map is one of another scene, a training pixel lies outside
                of it or has no class, or an estimator can't learn from these pixels.
        """
        check_training(labels, train, num_classes, self.shape)
        classes = labels.ravel()[train].astype(np.int64) - 1
        self.estimators = tuple(
            build_estimator(self.name, self.options, self.seed).fit(rows[train], classes)
            for rows in self.rows
        )
        self._learned = _Learned(labels, train, num_classes)
        return self

    def predict(self) -> NDArray[np.float32]:
        """Classify every pixel.

        Returns:
            Probabilities, shape (H, W, K), of sum 1.

        Raises:
            NotFittedError: :meth:`fit` was not called.
        """
        if self._learned is None:
            raise NotFittedError("GraphClassifier has learned nothing yet: call fit(...) first")
        labels, train, num_classes = self._learned
        found = [
            estimator.answers(rows, num_classes)
            for estimator, rows in zip(self.estimators, self.rows, strict=True)
        ]
        answers: NDArray[np.float32] = np.mean(found, axis=0, dtype=np.float32)
        answers = answers.reshape(*labels.shape, num_classes)
        if self.spread is None:
            return answers
        return self.spread.with_answers(
            answers,
            labels,
            train,
            weight=self.weight,
            alpha=self.alpha,
            iterations=self.iterations,
        )
