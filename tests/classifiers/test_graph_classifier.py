from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsi_diffusion.classifiers import (
    GraphClassifier,
    JointPropagation,
    LabelPropagation,
    build_estimator,
)
from hsi_diffusion.errors import ConfigurationError, NotFittedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = np.repeat(np.repeat(np.array([[1, 2], [3, 1]]), 8, axis=0), 8, axis=1)
"""Four fields of three classes."""
TRAIN = np.array([0, 1, 9, 12, 130, 131, 200])


def cube(seed: int, channels: int = 5, noise: float = 0.6) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    values = np.eye(3, channels)[LABELS - 1] + noise * random.normal(size=(16, 16, channels))
    found: NDArray[np.float32] = values.astype(np.float32)
    return found


def joint() -> JointPropagation:
    scene, own = (LabelPropagation(4).fit(cube(seed)) for seed in (7, 8))
    return JointPropagation(scene, [own], 0.25)


def test_is_the_mean_of_its_estimators_spread_along_the_graphs() -> None:
    cubes, spread = [cube(1), cube(2, channels=7)], joint()
    model = GraphClassifier(
        cubes, spread, options={"sigmas": [1.0], "costs": [10.0]}, weight=1.5, alpha=0.8
    ).fit(LABELS, TRAIN, 3)
    answers = []
    for one in cubes:
        rows = one.reshape(256, -1)
        svm = build_estimator("svm", {"sigmas": [1.0], "costs": [10.0]})
        svm.fit(rows[TRAIN], LABELS.ravel()[TRAIN] - 1)
        answers.append(svm.answers(rows, 3))
    mean = ((answers[0] + answers[1]) / 2).reshape(16, 16, 3)
    expected = spread.with_answers(mean, LABELS, TRAIN, weight=1.5, alpha=0.8)
    found = model.predict()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == np.float32
    alone = GraphClassifier(cubes, None, options={"sigmas": [1.0], "costs": [10.0]})
    np.testing.assert_allclose(alone.fit(LABELS, TRAIN, 3).predict(), mean, rtol=1e-5)

    def right(shares: NDArray[np.float32]) -> float:
        return float((shares.argmax(axis=2) + 1 == LABELS).mean())

    assert right(alone.predict()) + 0.05 < right(found)


def test_other_labels_than_those_of_training_pixels_play_no_part() -> None:
    altered = LABELS.copy().ravel()
    altered[np.setdiff1d(np.arange(256), TRAIN)] = 0
    one, other = (
        GraphClassifier([cube(1)], joint(), estimator="knn", options={"neighbours": 2})
        .fit(labels, TRAIN, 3)
        .predict()
        for labels in (LABELS, altered.reshape(16, 16))
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("cubes", "options", "message"),
    [
        ([], {}, "cubes must be one or more"),
        ([cube(1), cube(2)[1:]], {}, r"over the same pixels, got shapes \[\(16, 16, 5\)"),
        ([cube(1)], {"alpha": 1.5}, "answer_alpha"),
        ([cube(1)], {"estimator": "svn"}, "svn"),
        ([cube(1)], {"options": {"sharp": 1}}, "sharp"),
    ],
)
def test_wrong_use_is_told(
    cubes: list[NDArray[np.float32]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        GraphClassifier(cubes, None, **options)


def test_labels_of_another_scene_and_predicting_too_early_are_told() -> None:
    model = GraphClassifier([cube(1)], None)
    with pytest.raises(NotFittedError, match="call fit"):
        model.predict()
    with pytest.raises(ConfigurationError, match=r"shape of the scene, \(16, 16\), got \(15, 16\)"):
        model.fit(LABELS[1:], TRAIN, 3)
    lying = GraphClassifier([cube(1)[:, :12]], None)  # as many pixels, but turned
    with pytest.raises(ConfigurationError, match=r"shape of the scene, \(16, 12\), got \(12, 16\)"):
        lying.fit(LABELS[:12], TRAIN, 3)
    for outside, message in ((300, "from 0 to 255, got 300"), (2, "pixel 2 has 0")):
        labels = LABELS.copy()
        labels[0, 2] = 0
        with pytest.raises(ConfigurationError, match=message):
            model.fit(labels, np.array([0, outside]), 3)
