"""Choosing a cube and classifying it: the part of a run that learns from labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hsi_diffusion.features import choose_by_validation
from hsi_diffusion.runs.candidates import choice_splits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hsi_diffusion.features import Choice
    from hsi_diffusion.runs.learners import Classified, Cube, Learner

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


def choose(
    candidates: Sequence[Candidate], cube_of: Callable[[Candidate], Cube], learner: Learner
) -> Choice[Candidate]:
    """Compare cubes on validation pixels, by short trainings on training pixels.

    Args:
        candidates: What to choose among; a single one is not scored.
        cube_of: Gives the cube of a candidate.
        learner: What shall learn from the cube.
    """
    data, settings = learner.data, learner.settings

    def score(candidate: Candidate) -> tuple[float, float]:
        if len(candidates) == 1:  # nothing to choose
            return math.nan, math.nan
        cube = cube_of(candidate)
        splits = choice_splits(data, settings.choice)
        scores = [learner.score(cube, split) for split in splits]
        pixels = [len(split.val) for split in splits]
        accuracy, loss = np.average(scores, axis=0, weights=pixels)
        return float(accuracy), float(loss)

    return choose_by_validation(candidates, score)
