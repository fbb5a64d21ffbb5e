"""Classical classifiers, and labels that are only spread, as learners."""

from __future__ import annotations

import math
import time
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.classifiers import GraphClassifier, LabelPropagation
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_options
from hsi_diffusion.runs.learner_base import (
    Classified,
    Costs,
    Learner,
    cube_parts,
    spread_facts,
)
from hsi_diffusion.runs.settings import PropagationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import ClassifierSettings


class EstimatorLearner(Learner):
    """Fit classical classifiers to single pixels of the cube."""

    @cached_property
    def classifier(self) -> GraphClassifier:
        """The estimators, and the graphs along which they agree, if there are any."""
        wanted = self.settings.classifier.estimator
        if wanted is None:
            raise ConfigurationError("classifier.estimator must name an estimator, got None")
        spreading = self.settings.classifier.propagation or PropagationSettings()
        return GraphClassifier(
            cube_parts(self.cube, each=wanted.each),
            self.spread,
            estimator=wanted.name,
            options=wanted.options,
            weight=spreading.answer_weight,
            alpha=spreading.answer_alpha,
            iterations=spreading.answer_iterations,
            seed=self.settings.seed,
        )

    def score(self, split: Split) -> tuple[float, float]:
        """See :meth:`Learner.score`."""
        truth = self.data.labels.ravel()[split.val] - 1
        self._fit(split.train)
        if self._is_plain:
            (estimator,), (rows,) = self.classifier.estimators, self.classifier.rows
            return float((estimator.predict(rows[split.val]) == truth).mean()), math.nan
        found = self.classifier.predict().reshape(self.data.labels.size, -1)[split.val]
        right = np.maximum(found[np.arange(len(truth)), truth], np.finfo(np.float32).tiny)
        return float((found.argmax(axis=1) == truth).mean()), float(-np.log(right).mean())

    def learn(self, stage: str) -> Classified:
        """See :meth:`Learner.learn`."""
        with self.place.logging(stage) as logger:
            start = time.perf_counter()
            self._fit(self.data.require_split().labelled)
            fitted = time.perf_counter()
            if self._is_plain:
                (estimator,), (rows,) = self.classifier.estimators, self.classifier.rows
                predicted = estimator.predict(rows).reshape(self.data.shape) + 1
            else:
                predicted = self.classifier.predict().argmax(axis=2) + 1
            mapped = time.perf_counter()
            metrics = self._measured(predicted, logger)
        costs = Costs(None, fitted - start, mapped - fitted)
        found = [estimator.describe() for estimator in self.classifier.estimators]
        facts = found[0] if len(found) == 1 else {"name": found[0]["name"], "each": found}
        if self.spread is None:
            return Classified(predicted, metrics, costs, seen=1, found=facts)
        facts |= spread_facts(self.spread)
        return Classified(predicted, metrics, costs, seen=None, found=facts)

    @property
    def _is_plain(self) -> bool:
        """One estimator and no graphs: its own decision is the answer, without probabilities."""
        return self.spread is None and len(self.classifier.rows) == 1

    def _fit(self, pixels: NDArray[np.int64]) -> None:
        self.classifier.fit(self.data.labels, pixels, self.data.num_classes)


class PropagationLearner(Learner):
    """Spread the labels along a graph of the cube, and no more."""

    @cached_property
    def graph(self) -> LabelPropagation:
        """The cube's graph."""
        graph = build_lone_propagation(self.settings.classifier)
        return graph.fit(cube_parts(self.cube, each=False)[0], device=self.place.device)

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


def build_lone_propagation(settings: ClassifierSettings) -> LabelPropagation:
    """The propagation that takes the place of a classifier, without a graph."""
    options = {} if settings.estimator is None else settings.estimator.options
    check_options(LabelPropagation, options, "classifier.estimator.options")
    return LabelPropagation(**options)
