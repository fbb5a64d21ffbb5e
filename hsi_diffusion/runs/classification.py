"""Choosing a cube and classifying it: the part of a run that learns from labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hsi_diffusion.features import choose_by_validation
from hsi_diffusion.runs.candidates import choice_splits, feature_candidates
from hsi_diffusion.runs.learner_base import cube_parts
from hsi_diffusion.runs.learners import build_learner
from hsi_diffusion.runs.spreading import joint_propagation, scene_graph
from hsi_diffusion.runs.stages import band_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.classifiers import JointPropagation, LabelPropagation
    from hsi_diffusion.features import Choice
    from hsi_diffusion.modules import SceneDataModule
    from hsi_diffusion.runs.learner_base import Classified, Cube, Learner
    from hsi_diffusion.runs.settings import RunSettings, SpaceSettings
    from hsi_diffusion.runs.workplace import Workplace

Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Outcome:
    """What was chosen to learn from, and what was learned.

    Attributes:
        choice: The candidates, and what they reached on the validation pixels.
        classified: What the classifier found on the best one.
    """

    choice: Choice[Any]
    classified: Classified


class Classification:
    """What a run does with its labels, the same for diffusion features and for raw bands.

    Args:
        data: The scene, set up.
        settings: Everything that decides the run.
        place: Where to compute and write.

    Attributes:
        candidates: The features to choose among.
        splits: What candidates are compared on; the split of the run where there is nothing to
            choose.
        graph: Graph of the scene that labels are spread along; None: they are not.
    """

    def __init__(self, data: SceneDataModule, settings: RunSettings, place: Workplace) -> None:
        self.data = data
        self.settings = settings
        self.place = place
        self.candidates = () if settings.pretrain is None else feature_candidates(settings.features)
        several = max(len(self.candidates), len(settings.raw_bands.spaces)) > 1
        self.splits = choice_splits(data, settings.choice) if several else (data.require_split(),)
        self.graph: LabelPropagation | None = None

    def build_graph(self) -> None:
        """Build the scene's graph, if the settings want one."""
        wanted = self.settings.classifier.propagation
        if wanted is not None:
            self.graph = scene_graph(self.data, wanted, self.place)

    def spread(self, cubes: Iterable[NDArray[np.float32]]) -> JointPropagation | None:
        """What labels are spread along: the scene's graph and those of further cubes."""
        if self.graph is None:
            return None
        return joint_propagation(self.graph, cubes, self.data, self.settings, self.place)

    def spread_along(self, cube: Cube) -> JointPropagation | None:
        """What labels are spread along: the scene's graph and those of what is classified."""
        estimator = self.settings.classifier.estimator
        return self.spread(cube_parts(cube, each=estimator is not None and estimator.each))

    def learner(self, cube: Cube, spread: JointPropagation | None) -> Learner:
        """What shall learn from a cube."""
        return build_learner(cube, self.data, self.settings, self.place, spread)

    def choose(
        self, candidates: Sequence[Candidate], learner_of: Callable[[Candidate], Learner]
    ) -> Choice[Candidate]:
        """Compare cubes on validation pixels, by short trainings on training pixels.

        Args:
            candidates: What to choose among; a single one is not scored.
            learner_of: Gives what learns from a candidate's cube.
        """

        def score(candidate: Candidate) -> tuple[float, float]:
            if len(candidates) == 1:  # nothing to choose
                return math.nan, math.nan
            learner = learner_of(candidate)
            scores = [learner.score(split) for split in self.splits]
            pixels = [len(split.val) for split in self.splits]
            accuracy, loss = np.average(scores, axis=0, weights=pixels)
            return float(accuracy), float(loss)

        return choose_by_validation(candidates, score)

    def on_raw_bands(self) -> Outcome:
        """Choose a space of the bands, and classify them in it."""

        def learner_of(space: SpaceSettings) -> Learner:
            cube = band_space(self.data, space, device=self.place.device)
            return self.learner(cube, self.spread_along(cube))

        choice = self.choose(self.settings.raw_bands.spaces, learner_of)
        return Outcome(choice, learner_of(choice.best).learn("raw_bands"))
