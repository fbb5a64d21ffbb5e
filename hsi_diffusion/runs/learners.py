"""The learner that the settings describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsi_diffusion.classifiers import build_estimator
from hsi_diffusion.runs.estimator_learners import (
    EstimatorLearner,
    PropagationLearner,
    build_lone_propagation,
)
from hsi_diffusion.runs.network_learner import NetworkLearner

if TYPE_CHECKING:
    from hsi_diffusion.classifiers import JointPropagation
    from hsi_diffusion.modules import SceneDataModule
    from hsi_diffusion.runs.learner_base import Cube, Learner
    from hsi_diffusion.runs.settings import ClassifierSettings, RunSettings
    from hsi_diffusion.runs.workplace import Workplace

PROPAGATION = "label_propagation"
"""Name by which settings ask for labels that are only spread, without a classifier."""


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
