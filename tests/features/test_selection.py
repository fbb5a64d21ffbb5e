"""The rule of the choice, and the probe against scikit-learn's logistic regression."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss

from hsi_diffusion.errors import ConfigurationError, SplitError
from hsi_diffusion.features import choose_by_validation, probe_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def problem(channels: int = 20) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Noisy features of four classes in stripes, with a constant channel and unlabelled pixels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1, 5), 6)[:, None].repeat(25, axis=1)
    means = rng.standard_normal((5, channels))
    features = (means[labels] + 3 * rng.standard_normal((24, 25, channels))) * 5 + 100
    features[:, :, 3] = 7
    labels[rng.random(labels.shape) < 0.2] = 0
    pixels = rng.permutation(np.flatnonzero(labels))
    return features.astype(np.float32), labels, pixels[:150], pixels[150:260]


@pytest.mark.parametrize("blur", [1, 3])
@pytest.mark.parametrize("penalty", [1.0, 10.0])
def test_probe_agrees_with_scikit_learn(blur: int, penalty: float) -> None:
    features, labels, train, val = problem()
    smooth = np.stack(
        [uniform_filter(band.astype(np.float64), blur) for band in np.moveaxis(features, 2, 0)],
        axis=2,
    )
    rows = (smooth - smooth.mean((0, 1))) / np.maximum(smooth.std((0, 1)), 1e-3)
    rows, truth = rows.reshape(-1, rows.shape[2]), labels.reshape(-1)
    reference = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-8)
    reference.fit(rows[train], truth[train])
    expected = (
        accuracy_score(truth[val], reference.predict(rows[val])),
        log_loss(truth[val], reference.predict_proba(rows[val])),
    )
    found = probe_scores(features, labels, train, val, blur=blur, penalty=penalty)
    assert found.accuracy == pytest.approx(expected[0], abs=1e-9)
    assert found.loss == pytest.approx(expected[1], rel=1e-3)


def test_probe_reads_no_labels_but_those_of_train_and_val() -> None:
    features, labels, train, val = problem()
    expected = probe_scores(features, labels, train, val)
    hidden = np.zeros_like(labels)
    for pixels in (train, val):
        hidden.reshape(-1)[pixels] = labels.reshape(-1)[pixels]
    assert (hidden == 0).sum() > (labels == 0).sum()
    assert probe_scores(features, hidden, train, val) == expected
    assert probe_scores(features, labels, train, val) == expected, "nothing is random"


def test_probe_ranks_a_cube_that_knows_the_classes_above_noise() -> None:
    features, labels, train, val = problem()
    noise = np.random.default_rng(1).standard_normal(features.shape)
    good, bad = (probe_scores(cube, labels, train, val) for cube in (features, noise))
    assert good.accuracy > bad.accuracy + 0.2
    assert good.loss < bad.loss


def test_probe_takes_a_class_that_only_validation_holds() -> None:
    features, labels, train, val = problem()
    some = train[labels.reshape(-1)[train] < 4]
    score = probe_scores(features, labels, some, val)
    assert 0 < score.accuracy < 1
    assert math.isfinite(score.loss)


def test_probe_touches_no_global_generator_and_no_input() -> None:
    features, labels, train, val = problem()
    before, state = features.copy(), torch.get_rng_state()
    probe_scores(features, labels, train, val)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(features, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.ones((3, 3), dtype=np.int64)}, "features must be"),
        ({"train": np.empty(0, dtype=np.int64)}, "train must hold pixel numbers.*holds 0"),
        ({"val": np.array([24 * 25])}, "val must hold pixel numbers from 0 to 599"),
        ({"val": np.array([-1])}, "val must hold pixel numbers"),
        ({"train": np.arange(600)}, "train must hold labelled pixels only"),
        ({"val": problem()[2][:3]}, "must not share"),
    ],
)
def test_probe_refuses_pixels_that_don_t_fit(change: dict[str, Any], message: str) -> None:
    names = ("features", "labels", "train", "val")
    arguments = dict(zip(names, problem(), strict=True)) | change
    with pytest.raises(SplitError, match=message):
        probe_scores(**arguments)
