"""Choosing a cube and classifying it: the part of a run that learns from labels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from lightning.pytorch.loggers import Logger

from hsi_diffusion.features import choose_by_validation
from hsi_diffusion.metrics import SCALARS
from hsi_diffusion.runs.candidates import choice_splits
from hsi_diffusion.runs.stages import (
    band_space,
    measure,
    predict_map,
    train_classifier,
    validate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.classifiers import LabelPropagation
    from hsi_diffusion.features import Choice, FeatureCube
    from hsi_diffusion.metrics import HSIMetrics
    from hsi_diffusion.modules import FeatureDataModule, PatchDataModule, SceneDataModule
    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import RunSettings, SpaceSettings
    from hsi_diffusion.runs.workplace import Workplace

Candidate = TypeVar("Candidate")

EPOCH_STEPS = 100
"""Steps between two validations, checkpoints and lines of the log."""


class Classified(NamedTuple):
    """What a final classifier found.

    Attributes:
        predicted: Classes 1..K of every pixel, shape (H, W).
        metrics: Counts of the test pixels.
        timestep_weights: How much it trusts each timestep at each pixel, shape (H, W, T); None for
            a classifier without a gate.
    """

    predicted: NDArray[np.int64]
    metrics: HSIMetrics
    timestep_weights: NDArray[np.float32] | None


def _classifier_data(
    data: SceneDataModule,
    cube: FeatureCube | NDArray[np.float32],
    settings: RunSettings,
    graph: LabelPropagation | None,
    *,
    pixels: NDArray[np.int64],
    split: Split | None = None,
    train_on: str,
) -> FeatureDataModule:
    """Patches to learn ``pixels`` from, and what their labels say of the others by propagation."""
    stage = settings.classifier
    prior = None if graph is None else graph.predict(data.labels, pixels, data.num_classes)
    return data.with_features(
        cube,
        split=split,
        prior=prior,
        patch_size=stage.patch_size,
        batch_size=stage.batch_size,
        padding=stage.padding,
        train_on=train_on,
        # a few labels make a tiny dataset: walk through it many times in one epoch
        samples_per_epoch=stage.batch_size * EPOCH_STEPS,
    )


def final_data(
    data: SceneDataModule,
    cube: FeatureCube | NDArray[np.float32],
    settings: RunSettings,
    graph: LabelPropagation | None,
) -> FeatureDataModule:
    """To learn from training and validation pixels, once everything has been chosen."""
    pixels = data.require_split().labelled
    return _classifier_data(data, cube, settings, graph, pixels=pixels, train_on="labelled")


def choose(
    candidates: Sequence[Candidate],
    cube_of: Callable[[Candidate], FeatureCube | NDArray[np.float32]],
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
    *,
    graph: LabelPropagation | None,
) -> Choice[Candidate]:
    """Compare cubes on the validation pixels, by short trainings on the training pixels."""
    # several networks steady a result; to compare candidates one is enough
    single = replace(settings.classifier, module={**settings.classifier.module, "members": 1})

    def score(candidate: Candidate) -> tuple[float, float]:
        if len(candidates) == 1:  # nothing to choose
            return math.nan, math.nan
        cube = cube_of(candidate)
        scores, pixels = [], []
        for split in choice_splits(data, settings.choice):
            trial = _classifier_data(
                data, cube, settings, graph, pixels=split.train, split=split, train_on="train"
            )
            module = train_classifier(
                trial, single, place, settings.seed, steps=settings.choice.steps
            )
            scores.append(validate(module, trial, single, place))
            pixels.append(len(split.val))
        accuracy, loss = np.average(scores, axis=0, weights=pixels)
        return float(accuracy), float(loss)

    return choose_by_validation(candidates, score)


def classify(
    data: PatchDataModule, settings: RunSettings, place: Workplace, *, stage: str
) -> Classified:
    """Train the final classifier, draw its map, and measure it at the test pixels."""
    steps = settings.classifier.steps
    with place.logging(stage) as logger:
        module = train_classifier(
            data,
            settings.classifier,
            place,
            settings.seed,
            steps=steps,
            logger=logger,
            checkpoint=place.folder / "checkpoints" / f"{stage}.ckpt",
        )
        predicted = predict_map(module, data, settings.classifier, place, logger=logger)
        metrics = measure(predicted, data, data.require_split().test)
        if isinstance(logger, Logger):
            figures = metrics.compute()
            logger.log_metrics({f"test/{name}": figures[name].item() for name in SCALARS}, steps)
            logger.save()
    weights = module.timestep_weights(data.cube[:, :, -data.timesteps :]) if data.angles else None
    return Classified(predicted, metrics, None if weights is None else weights.cpu().numpy())


def classify_raw_bands(
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
    graph: LabelPropagation | None,
) -> tuple[Choice[SpaceSettings], Classified]:
    """The control: choose a space of the bands, and do the same in it as on the features."""

    def cube_of(space: SpaceSettings) -> NDArray[np.float32]:
        return band_space(data, space)

    choice = choose(settings.raw_bands.spaces, cube_of, data, settings, place, graph=graph)
    final = final_data(data, cube_of(choice.best), settings, graph)
    return choice, classify(final, settings, place, stage="raw_bands")
