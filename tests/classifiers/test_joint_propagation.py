from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsi_diffusion.classifiers import JointPropagation, LabelPropagation
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches import Split, make_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = np.repeat(np.repeat(np.array([[1, 2], [3, 1]]), 8, axis=0), 8, axis=1)
"""Four fields of three classes."""


def graph(noise: float, seed: int = 0) -> LabelPropagation:
    random = np.random.default_rng(seed)
    cube = np.eye(4)[LABELS] + noise * random.normal(size=(16, 16, 4))
    return LabelPropagation(3, iterations=30).fit(cube.astype(np.float32))


def accuracy(found: NDArray[np.float32]) -> float:
    return float((found.argmax(axis=2) + 1 == LABELS).mean())


def test_joins_by_the_weighted_geometric_mean() -> None:
    scene, first, second = graph(0.3), graph(0.3, 1), graph(0.3, 2)
    train = np.array([0, 9, 130, 200])
    found = JointPropagation(scene, [first, second], 0.25).predict(LABELS, train, 3)
    parts = [
        np.maximum(one.predict(LABELS, train, 3).astype(float), 1e-6)
        for one in (scene, first, second)
    ]
    expected = parts[0] ** 0.75 * (parts[1] * parts[2]) ** 0.125
    expected /= expected.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found.dtype == np.float32


def test_without_a_share_it_is_the_scene_alone() -> None:
    scene, train = graph(0.3), np.array([0, 9, 130])
    expected = scene.predict(LABELS, train, 3)
    assert np.array_equal(JointPropagation(scene).predict(LABELS, train, 3), expected)
    assert np.array_equal(JointPropagation(scene, [graph(1)]).predict(LABELS, train, 3), expected)


@pytest.mark.parametrize(("noise", "better"), [((2.0, 0.1), 1.0), ((0.1, 2.0), 0.0)])
def test_the_better_graph_gets_the_share(noise: tuple[float, float], better: float) -> None:
    split = make_split(LABELS, "10", seed=0, val_fraction=0.5, patch_size=1)
    joint = JointPropagation(graph(noise[0]), [graph(noise[1], 1)])
    assert joint.choose_share((0.0, 1.0), LABELS, [split], 3) == better
    assert joint.share == better
    assert accuracy(joint.predict(LABELS, split.labelled, 3)) > 0.9


def pixels_in_a_row(right: dict[float, str]) -> tuple[NDArray[np.int64], Split]:
    """A scene of one class and one row: its first pixel trains, the others validate."""
    pixels = len(next(iter(right.values())))
    labels = np.ones((1, pixels + 1), dtype=np.int64)
    none = np.empty(0, dtype=np.int64)
    first, others = np.array([0]), np.arange(1, pixels + 1)
    split = Split.from_labels(
        labels, train=first, val=others, test=none, settings={"kind": "by hand"}
    )
    return labels, split


def counting(monkeypatch: pytest.MonkeyPatch, right: dict[float, str]) -> float:
    """The share that is chosen where each is right (1) or wrong (0) at pixels 1, 2, ..."""
    labels, split = pixels_in_a_row(right)
    joint = JointPropagation(graph(0.1), [graph(0.1)])

    def answer(_: object, __: object, share: float) -> NDArray[np.float32]:
        wrong = np.array([[0, *(letter == "0" for letter in right[share])]])
        return np.stack([1 - wrong, wrong], axis=2).astype(np.float32)

    monkeypatch.setattr(joint, "_logarithms", lambda *_: (None, None))
    monkeypatch.setattr("hsi_diffusion.classifiers.joint_propagation._joined", answer)
    return joint.choose_share(tuple(right), labels, [split], 2)


@pytest.mark.parametrize(
    ("right", "chosen"),
    [
        ({0.0: "1110", 0.5: "1111"}, 0.5),
        ({0.0: "1111", 0.5: "1110"}, 0.0),
        ({0.0: "1100", 0.5: "1100"}, 0.0),  # nothing speaks for it
        ({0.0: "1110", 0.5: "0011"}, 0.5),  # one gained, two lost: within the standard error
        ({0.0: "11110", 0.5: "00001"}, 0.0),  # one gained, four lost
        ({0.0: "1100", 0.5: "1110", 0.8: "1111"}, 0.8),
        ({0.0: "1100", 0.5: "1110", 0.8: "0110"}, 0.5),
    ],
)
def test_a_share_needs_evidence(
    monkeypatch: pytest.MonkeyPatch, right: dict[float, str], chosen: float
) -> None:
    assert counting(monkeypatch, right) == chosen


def test_of_equally_good_shares_the_first_is_taken_and_test_pixels_play_no_part() -> None:
    split = make_split(LABELS, "10", seed=0, val_fraction=0.5, patch_size=1)
    joint = JointPropagation(graph(0.1), [graph(0.1)])
    assert joint.choose_share((0.5, 0.0), LABELS, [split], 3) == 0.5
    altered = LABELS.copy()
    altered.flat[split.test] = 1
    one, other = (JointPropagation(graph(1.0), [graph(1.2, 1)]) for _ in range(2))
    shares = (0.0, 0.3, 0.6, 1.0)
    assert one.choose_share(shares, LABELS, [split], 3) == other.choose_share(
        shares, altered, [split], 3
    )


def test_a_single_share_needs_no_validation() -> None:
    joint = JointPropagation(graph(0.1), [graph(0.1)])
    assert joint.choose_share((0.25,), LABELS, [], 3) == 0.25


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"from 0 to 1, got 1\.5"):
        JointPropagation(graph(0.1), [graph(0.1)], 1.5)
    with pytest.raises(ConfigurationError, match="without further graphs"):
        JointPropagation(graph(0.1), share=0.5)
    with pytest.raises(ConfigurationError, match=r"from 0 to 1, got -1"):
        JointPropagation(graph(0.1), [graph(0.1)]).choose_share((-1.0,), LABELS, [], 3)


def answers(seed: int = 0) -> NDArray[np.float64]:
    """Of a classifier that is right, but only just."""
    random = np.random.default_rng(seed)
    scores = np.eye(3)[LABELS - 1] + random.random((16, 16, 3)) * 1.5
    found: NDArray[np.float64] = scores / scores.sum(axis=2, keepdims=True)
    return found


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_answers_are_smoothed_along_the_mean_of_the_graphs(share: float) -> None:
    scene, first, second = graph(0.3), graph(0.3, 1), graph(0.3, 2)
    joint = JointPropagation(scene, [first, second], share)
    dense = [one.graph.toarray() for one in (scene, first, second)]
    mixed = dense[0] / 2 + (dense[1] + dense[2]) / 4 if share else dense[0]
    start = answers().reshape(256, 3)
    expected = start
    for _ in range(5):
        expected = 0.9 * mixed @ expected + 0.1 * start
    expected = expected / expected.sum(axis=1, keepdims=True)
    found = joint.smooth(answers(), alpha=0.9, iterations=5)
    np.testing.assert_allclose(found.reshape(256, 3), expected, rtol=1e-5)
    assert found.dtype == np.float32
    # what is unsure by itself is sure among its like
    assert accuracy(answers().astype(np.float32)) < 0.9 < accuracy(joint.smooth(answers()))


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_answers_and_labels_are_multiplied(weight: float) -> None:
    joint, train = JointPropagation(graph(0.3), [graph(0.3, 1)], 0.25), np.array([0, 9, 130])
    labels, smoothed = joint.predict(LABELS, train, 3), joint.smooth(answers(), 0.8, 7)
    expected = np.maximum(labels, 1e-6) * np.maximum(smoothed, 1e-6) ** weight
    expected /= expected.sum(axis=2, keepdims=True)
    found = joint.with_answers(answers(), LABELS, train, weight=weight, alpha=0.8, iterations=7)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "answer_weight must be at least 0"),
        ({"alpha": 1.0}, "answer_alpha must lie between 0 and 1"),
        ({"iterations": 0}, "answer_iterations must be at least 1"),
    ],
)
def test_impossible_smoothing_is_refused(options: dict[str, Any], message: str) -> None:
    joint = JointPropagation(graph(0.3))
    with pytest.raises(ConfigurationError, match=message):
        joint.with_answers(answers(), LABELS, np.array([0]), **options)
    for strange in (answers()[1:], answers()[:, :, 0], answers().reshape(8, 32, 3)):
        with pytest.raises(ConfigurationError, match=r"the shape \(16, 16, 'K'\), .* got"):
            joint.smooth(strange)


def reaching(monkeypatch: pytest.MonkeyPatch, right: dict[float, str]) -> float:
    """The reach that is chosen where each is right (1) or wrong (0) at pixels 1, 2, ..."""
    labels, split = pixels_in_a_row(right)

    def answer(self: JointPropagation, *_: object) -> NDArray[np.float32]:
        wrong = np.array([[0, *(letter == "0" for letter in right[self.scene.alpha])]])
        return np.stack([1 - wrong, wrong], axis=2).astype(np.float32)

    monkeypatch.setattr(JointPropagation, "predict", answer)
    scene, own = graph(0.1), graph(0.1, 1)
    joint = JointPropagation(scene, [own], 0.25)
    found = joint.choose_alpha(tuple(right), labels, [split], 2)
    assert joint.scene.alpha == joint.own[0].alpha == found
    assert joint.share == 0.25
    # they may be those of another classifier as well
    assert scene.alpha == own.alpha == 0.99
    assert joint.scene.graph is scene.graph
    return found


@pytest.mark.parametrize(
    ("right", "chosen"),
    [
        ({0.99: "1000", 0.9: "1111"}, 0.9),
        ({0.99: "1100", 0.9: "1110"}, 0.99),  # one gained: no more than the standard error
        ({0.99: "110000", 0.9: "001111"}, 0.99),  # four gained, two lost
        ({0.99: "1111", 0.9: "1000"}, 0.99),
        ({0.99: "10000", 0.9: "11110", 0.5: "11111"}, 0.5),
        ({0.99: "10000", 0.9: "11111", 0.5: "11110"}, 0.9),
    ],
)
def test_another_reach_must_be_better(
    monkeypatch: pytest.MonkeyPatch, right: dict[float, str], chosen: float
) -> None:
    assert reaching(monkeypatch, right) == chosen


def test_a_single_reach_needs_no_validation_and_an_impossible_one_is_refused() -> None:
    joint = JointPropagation(graph(0.1))
    before = joint.predict(LABELS, np.array([0, 9]), 3)
    assert joint.choose_alpha((0.5,), LABELS, [], 3) == 0.5
    assert not np.array_equal(joint.predict(LABELS, np.array([0, 9]), 3), before)
    with pytest.raises(ConfigurationError, match=r"between 0 and 1, got 1\.0"):
        joint.choose_alpha((0.9, 1.0), LABELS, [], 3)
