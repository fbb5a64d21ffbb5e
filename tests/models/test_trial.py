"""The rule of the choice."""

from __future__ import annotations

import math

import pytest

from hsi_diffusion.models.fitted import Trial


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
    trials = [Trial(number, *score) for number, score in enumerate(scores)]
    assert min(trials, key=lambda trial: trial.rank).candidate == best
