"""Patch classifiers as learners."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from hsi_diffusion.runs.learner_base import Classified, Costs, Learner, spread_facts
from hsi_diffusion.runs.stages import predict_map, train_classifier, validate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hsi_diffusion.modules import FeatureClassifierModule, FeatureDataModule
    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import ClassifierSettings

EPOCH_STEPS = 100
"""Steps between two validations, checkpoints and lines of the log."""


class NetworkLearner(Learner):
    """Train :class:`~hsi_diffusion.modules.FeatureClassifierModule` on patches of the cube.

    Labels that are spread, if any are, join the answers of each pixel, or the answers of the whole
    scene, smoothed, see :class:`~hsi_diffusion.runs.settings.PropagationSettings`.
    """

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
            predicted = self._map(module, patches)
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
            None if self._smooths else classifier.patch_size,
            None if weights is None else weights.cpu().numpy(),
            None if self.spread is None else spread_facts(self.spread),
        )

    @property
    def _smooths(self) -> bool:
        """Whether the answers are smoothed along the graphs."""
        spreading = self.settings.classifier.propagation
        return self.spread is not None and spreading is not None and spreading.smooth

    def _map(
        self, module: FeatureClassifierModule, patches: FeatureDataModule
    ) -> NDArray[np.int64]:
        """Classes 1..K of every pixel."""
        classifier, spreading = self.settings.classifier, self.settings.classifier.propagation
        found = predict_map(module, patches, classifier, self.place, probabilities=self._smooths)
        if self.spread is None or spreading is None or not spreading.smooth:
            return found.predicted
        joined = self.spread.with_answers(
            found.probabilities,
            self.data.labels,
            self.data.require_split().labelled,
            weight=spreading.answer_weight,
            alpha=spreading.answer_alpha,
            iterations=spreading.answer_iterations,
        )
        classes: NDArray[np.int64] = joined.argmax(axis=2) + 1
        return classes

    def _patches(
        self, pixels: NDArray[np.int64], *, split: Split | None = None, train_on: str
    ) -> FeatureDataModule:
        """To learn ``pixels`` from, and what their labels say of the others by propagation."""
        data, stage = self.data, self.settings.classifier
        prior = None
        if self.spread is not None and not self._smooths:
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
