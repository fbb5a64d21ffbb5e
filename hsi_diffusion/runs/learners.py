"""Ways to learn the classes of a scene's pixels from a cube over them: a network, an estimator."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from lightning.pytorch.loggers import Logger

from hsi_diffusion.classifiers import LabelPropagation, build_estimator
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureCube
from hsi_diffusion.metrics import SCALARS
from hsi_diffusion.options import check_options
from hsi_diffusion.runs.stages import (
    measure,
    predict_map,
    train_classifier,
    validate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.classifiers import Estimator, JointPropagation
    from hsi_diffusion.metrics import HSIMetrics
    from hsi_diffusion.modules import FeatureDataModule, SceneDataModule
    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import ClassifierSettings, RunSettings
    from hsi_diffusion.runs.workplace import Workplace

    Cube = FeatureCube | NDArray[np.float32]

PROPAGATION = "label_propagation"
"""Name by which settings ask for labels that are only spread, without a classifier."""

SHARE = "own_share"
"""What a learner found: the weight of its own graphs, where labels were spread."""

EPOCH_STEPS = 100
"""Steps between two validations, checkpoints and lines of the log."""


class Costs(NamedTuple):
    """What a classifier costs.

    Attributes:
        parameters: Trained numbers of all its networks; None where that means nothing.
        training_seconds: Time of the last training, without what came before it.
        test_seconds: Time to classify every pixel of the scene, with its features at hand.
    """

    parameters: int | None
    training_seconds: float
    test_seconds: float


class Classified(NamedTuple):
    """What a final classifier found.

    Attributes:
        predicted: Classes 1..K of every pixel, shape (H, W).
        metrics: Counts of the test pixels.
        costs: What it took.
        seen: Side of the square of pixels of the cube that it sees around a pixel; None: the whole
            scene.
        timestep_weights: How much it trusts each timestep at each pixel, shape (H, W, T); None for
            a classifier without a gate.
        found: What the training itself chose, such as an SVM's settings; plain data.
    """

    predicted: NDArray[np.int64]
    metrics: HSIMetrics
    costs: Costs
    seen: int | None
    timestep_weights: NDArray[np.float32] | None = None
    found: dict[str, Any] | None = None


class Learner(ABC):
    """A way to learn the classes of a scene's pixels from a cube over them.

    Args:
        cube: What to learn from.
        data: The scene, set up.
        settings: Everything that decides the run.
        place: Where to compute and write.
    """

    def __init__(
        self, cube: Cube, data: SceneDataModule, settings: RunSettings, place: Workplace
    ) -> None:
        self.cube = cube
        self.data = data
        self.settings = settings
        self.place = place

    @abstractmethod
    def score(self, split: Split) -> tuple[float, float]:
        """Learn from a split's training pixels, in a short training.

        Returns:
            Overall accuracy and mean cross-entropy on its validation pixels; the second is nan
            where there are no probabilities.
        """

    @abstractmethod
    def learn(self, stage: str) -> Classified:
        """Learn from training and validation pixels, map the scene, measure at the test pixels.

        Args:
            stage: Name of the checkpoint and for loggers.
        """

    def _measured(
        self, predicted: NDArray[np.int64], logger: Logger | bool, steps: int = 0
    ) -> HSIMetrics:
        """The map's figures at the test pixels, logged after so many training steps."""
        metrics = measure(predicted, self.data, self.data.require_split().test)
        if isinstance(logger, Logger):
            figures = metrics.compute()
            logger.log_metrics({f"test/{name}": figures[name].item() for name in SCALARS}, steps)
            logger.save()
        return metrics

    def _array(self) -> NDArray[np.float32]:
        (array,) = cube_parts(self.cube, each=False)
        return array


def cube_parts(cube: Cube, *, each: bool) -> tuple[NDArray[np.float32], ...]:
    """What one estimator each, and one graph each, is made of.

    Args:
        cube: Features or raw bands, (H, W, D).
        each: Features of every timestep and level by themselves.
    """
    if isinstance(cube, FeatureCube):
        return cube.parts() if each else (cube.array,)
    return (cube,)


class NetworkLearner(Learner):
    """Train :class:`~hsi_diffusion.modules.FeatureClassifierModule` on patches of the cube.

    Args:
        cube: What to learn from.
        data: The scene, set up.
        settings: Everything that decides the run.
        place: Where to compute and write.
        spread: What labels are spread along beside; None: nothing.
    """

    def __init__(
        self,
        cube: Cube,
        data: SceneDataModule,
        settings: RunSettings,
        place: Workplace,
        spread: JointPropagation | None = None,
    ) -> None:
        super().__init__(cube, data, settings, place)
        self.spread = spread

    def score(self, split: Split) -> tuple[float, float]:
        """See :meth:`Learner.score`."""
        trial = self._patches(split.train, split=split, train_on="train")
        # several networks steady a result; to compare candidates one is enough
        usual = self.settings.classifier
        single: ClassifierSettings = replace(usual, module={**usual.module, "members": 1})
        steps = self.settings.choice.steps
        module = train_classifier(trial, single, self.place, self.settings.seed, steps=steps)
        return validate(module, trial, single, self.place)

    def learn(self, stage: str) -> Classified:
        """See :meth:`Learner.learn`."""
        patches = self._patches(self.data.require_split().labelled, train_on="labelled")
        classifier = self.settings.classifier
        with self.place.logging(stage) as logger:
            start = time.perf_counter()
            module = train_classifier(
                patches,
                classifier,
                self.place,
                self.settings.seed,
                steps=classifier.steps,
                logger=logger,
                checkpoint=self.place.folder / "checkpoints" / f"{stage}.ckpt",
            )
            trained = time.perf_counter()
            predicted = predict_map(module, patches, classifier, self.place, logger=logger)
            mapped = time.perf_counter()
            metrics = self._measured(predicted, logger, classifier.steps)
        weights = None
        if patches.angles:
            angles = patches.cube[:, :, -patches.timesteps :]
            weights = module.timestep_weights(angles)
        parameters = sum(weight.numel() for weight in module.classifier.parameters())
        return Classified(
            predicted,
            metrics,
            Costs(parameters, trained - start, mapped - trained),
            classifier.patch_size,
            None if weights is None else weights.cpu().numpy(),
            None if self.spread is None else {SHARE: self.spread.share},
        )

    def _patches(
        self, pixels: NDArray[np.int64], *, split: Split | None = None, train_on: str
    ) -> FeatureDataModule:
        """To learn ``pixels`` from, and what their labels say of the others by propagation."""
        data, stage = self.data, self.settings.classifier
        prior = None
        if self.spread is not None:
            prior = self.spread.predict(data.labels, pixels, data.num_classes)
        return data.with_features(
            self.cube,
            split=split,
            prior=prior,
            patch_size=stage.patch_size,
            batch_size=stage.batch_size,
            padding=stage.padding,
            train_on=train_on,
            # a few labels make a tiny dataset: walk through it many times in one epoch
            samples_per_epoch=stage.batch_size * EPOCH_STEPS,
        )


class EstimatorLearner(Learner):
    """Fit a classical classifier to single pixels of the cube.

    Args:
        cube: What to learn from.
        data: The scene, set up.
        settings: Everything that decides the run.
        place: Where to compute and write.
        spread: What labels and answers are spread along; None: nothing.
    """

    def __init__(
        self,
        cube: Cube,
        data: SceneDataModule,
        settings: RunSettings,
        place: Workplace,
        spread: JointPropagation | None = None,
    ) -> None:
        super().__init__(cube, data, settings, place)
        self.spread = spread

    def score(self, split: Split) -> tuple[float, float]:
        """See :meth:`Learner.score`."""
        estimators = self._fitted(split.train)
        truth = self._classes[split.val]
        if self.spread is None and len(estimators) == 1:
            (estimator,), (rows,) = estimators, self._rows
            return float((estimator.predict(rows[split.val]) == truth).mean()), math.nan
        found = self._answers(estimators, split.train).reshape(self.data.labels.size, -1)
        right = np.maximum(found[split.val, truth], np.finfo(np.float32).tiny)
        predicted = found[split.val].argmax(axis=1)
        return float((predicted == truth).mean()), float(-np.log(right).mean())

    def learn(self, stage: str) -> Classified:
        """See :meth:`Learner.learn`."""
        pixels = self.data.require_split().labelled
        with self.place.logging(stage) as logger:
            start = time.perf_counter()
            estimators = self._fitted(pixels)
            fitted = time.perf_counter()
            if self.spread is None and len(estimators) == 1:
                (estimator,), (rows,) = estimators, self._rows
                predicted = estimator.predict(rows).reshape(self.data.shape) + 1
            else:
                predicted = self._answers(estimators, pixels).argmax(axis=2) + 1
            mapped = time.perf_counter()
            metrics = self._measured(predicted, logger)
        costs = Costs(None, fitted - start, mapped - fitted)
        found = estimators[0].describe()
        if len(estimators) > 1:
            found = {"name": found["name"], "each": [one.describe() for one in estimators]}
        if self.spread is None:
            return Classified(predicted, metrics, costs, seen=1, found=found)
        found[SHARE] = self.spread.share
        return Classified(predicted, metrics, costs, seen=None, found=found)

    @cached_property
    def _rows(self) -> tuple[NDArray[np.float32], ...]:
        """Every pixel as a row, for each estimator."""
        wanted = self.settings.classifier.estimator
        each = wanted is not None and wanted.each
        return tuple(part.reshape(-1, part.shape[2]) for part in cube_parts(self.cube, each=each))

    @cached_property
    def _classes(self) -> NDArray[np.int64]:
        """The class 0..K-1 of every pixel; -1 where it has none."""
        return self.data.labels.ravel() - 1

    def _fitted(self, pixels: NDArray[np.int64]) -> list[Estimator]:
        """The estimators, which have learned ``pixels``."""
        wanted = self.settings.classifier.estimator
        if wanted is None:
            raise ConfigurationError("classifier.estimator must name an estimator, got None")
        return [
            build_estimator(wanted.name, wanted.options, self.settings.seed).fit(
                rows[pixels], self._classes[pixels]
            )
            for rows in self._rows
        ]

    def _answers(
        self, estimators: Sequence[Estimator], pixels: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Mean of their answers, joined with the spread labels of ``pixels``: (H, W, K)."""
        data, wanted = self.data, self.settings.classifier.propagation
        answers: NDArray[np.float32] = np.mean(
            [
                estimator.answers(rows, data.num_classes)
                for estimator, rows in zip(estimators, self._rows, strict=True)
            ],
            axis=0,
        ).reshape(*data.shape, data.num_classes)
        if self.spread is None or wanted is None:
            return answers
        return self.spread.with_answers(
            answers,
            data.labels,
            pixels,
            weight=wanted.answer_weight,
            alpha=wanted.answer_alpha,
            iterations=wanted.answer_iterations,
        )


class PropagationLearner(Learner):
    """Spread the labels along a graph of the cube, and no more."""

    @cached_property
    def graph(self) -> LabelPropagation:
        """The cube's graph."""
        graph = build_lone_propagation(self.settings.classifier)
        return graph.fit(self._array(), device=self.place.device)

    def score(self, split: Split) -> tuple[float, float]:
        """See :meth:`Learner.score`."""
        predicted = self._spread(split.train).ravel()[split.val]
        return float((predicted == self.data.labels.ravel()[split.val]).mean()), math.nan

    def learn(self, stage: str) -> Classified:
        """See :meth:`Learner.learn`."""
        with self.place.logging(stage) as logger:
            start = time.perf_counter()
            predicted = self._spread(self.data.require_split().labelled)
            costs = Costs(None, 0.0, time.perf_counter() - start)  # the map is all there is
            metrics = self._measured(predicted, logger)
        return Classified(predicted, metrics, costs, seen=None)

    def _spread(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Classes 1..K of every pixel, shape (H, W)."""
        shares = self.graph.predict(self.data.labels, pixels, self.data.num_classes)
        classes: NDArray[np.int64] = shares.argmax(axis=2) + 1
        return classes


def build_learner(
    cube: Cube,
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
    spread: JointPropagation | None = None,
) -> Learner:
    """The learner that ``settings.classifier`` describes.

    Args:
        cube: What to learn from.
        data: The scene, set up.
        settings: Everything that decides the run.
        place: Where to compute and write.
        spread: What labels are spread along beside it; None: nothing.
    """
    estimator = settings.classifier.estimator
    if estimator is None:
        return NetworkLearner(cube, data, settings, place, spread)
    if estimator.name == PROPAGATION:
        return PropagationLearner(cube, data, settings, place)
    return EstimatorLearner(cube, data, settings, place, spread)


def check_learner(settings: ClassifierSettings, seed: int) -> None:
    """Build the estimator that the settings name, if they name one, and forget it.

    Raises:
        ConfigurationError: It is unknown, or an option is.
        MissingDependencyError: What it needs is not installed.
    """
    if settings.estimator is None:
        return
    if settings.estimator.name == PROPAGATION:
        build_lone_propagation(settings)
    else:
        build_estimator(settings.estimator.name, settings.estimator.options, seed)


def build_lone_propagation(settings: ClassifierSettings) -> LabelPropagation:
    """The propagation that takes the place of a classifier, without a graph."""
    options = {} if settings.estimator is None else settings.estimator.options
    check_options(LabelPropagation, options, "classifier.estimator.options")
    return LabelPropagation(**options)
