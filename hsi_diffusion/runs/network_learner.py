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

    from hsi_diffusion.modules import FeatureDataModule
    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import ClassifierSettings

EPOCH_STEPS = 100
"""Steps between two validations, checkpoints and lines of the log."""


class NetworkLearner(Learner):
    """Train :class:`~hsi_diffusion.modules.FeatureClassifierModule` on patches of the cube."""

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
            predicted = predict_map(module, patches, classifier, self.place)
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
            None if self.spread is None else spread_facts(self.spread),
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
