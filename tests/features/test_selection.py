"""The rule of the choice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import choose_by_validation


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 1),
        ([(0.7, 2.0), (0.7, 1.0), (0.6, 0.1)], 1),
        ([(0.6, 1.0), (0.7, 1.0), (0.7, 1.0)], 1),
        ([(math.nan, 0.1), (0.1, math.nan), (0.1, 9.0)], 2),
        ([(math.nan, math.nan)], 0),
    ],
)
def test_best_accuracy_then_loss_then_order(scores: list[tuple[float, float]], best: int) -> None:
    candidates = [(5, 0), (5, 1), (50, 0)][: len(scores)]
    choice = choose_by_validation(
        candidates, dict(zip(candidates, scores, strict=True)).__getitem__
    )
    assert choice.best == candidates[best]
    assert [trial.candidate for trial in choice.trials] == candidates
    np.testing.assert_equal([tuple(trial.score) for trial in choice.trials], scores)


def test_every_candidate_is_scored_once() -> None:
    seen: list[int] = []

    def score(candidate: int) -> tuple[float, float]:
        seen.append(candidate)
        return 0.0, 0.0

    choose_by_validation(iter(range(4)), score)
    assert seen == [0, 1, 2, 3]


def test_refuses_nothing_to_choose_from() -> None:
    with pytest.raises(ConfigurationError, match="at least one candidate"):
        choose_by_validation([], lambda candidate: (0.0, 0.0))
