"""Choice among candidates by validation pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Candidate = TypeVar("Candidate")
"""What is chosen among: (t, level), the settings of an input space, ..."""


class Score(NamedTuple):
    """How good a candidate is on validation pixels.

    Attributes:
        accuracy: Fraction of the validation pixels that are right.
        loss: Mean cross-entropy on them, in nats.
    """

    accuracy: float
    loss: float


@dataclass(frozen=True, slots=True)
class Trial(Generic[Candidate]):
    """A candidate and its score."""

    candidate: Candidate
    score: Score


@dataclass(frozen=True, slots=True)
class Choice(Generic[Candidate]):
    """What was tried, and what won.

    Attributes:
        trials: All candidates with their scores, in the order in which they were given.
        best: The candidate that won.
    """

    trials: tuple[Trial[Candidate], ...]
    best: Candidate


def choose_by_validation(
    candidates: Iterable[Candidate], score: Callable[[Candidate], tuple[float, float]]
) -> Choice[Candidate]:
    """Score every candidate and take the best one.

    The highest accuracy wins; among equals the lowest loss; among equals the candidate that was
    given first, so give the preferred ones (small t, low levels) first. A score that is nan loses
    against every number.

    Args:
        candidates: What to choose among.
        score: Gives (accuracy, loss) on validation pixels. It must not look at test pixels.

    Returns:
        The winner and the record of all.

    Raises:
        ConfigurationError: If there is no candidate.
    """
    trials = tuple(Trial(candidate, Score(*score(candidate))) for candidate in candidates)
    if not trials:
        raise ConfigurationError("candidates must hold at least one candidate, but is empty")
    return Choice(trials, min(trials, key=_rank).candidate)


def _rank(trial: Trial[Any]) -> tuple[float, float]:
    accuracy, loss = trial.score
    return (
        math.inf if math.isnan(accuracy) else -accuracy,
        math.inf if math.isnan(loss) else loss,
    )
