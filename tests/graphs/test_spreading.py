from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.graphs import Graph, Spreading, SpreadingSettings
from hsi_diffusion.patches import Split, make_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = np.repeat(np.repeat(np.array([[1, 2], [3, 1]]), 8, axis=0), 8, axis=1)
"""Four fields of three classes."""
TRAIN = np.array([0, 9, 130, 200])


def cube(noise: float, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    values: NDArray[np.float64] = np.eye(4)[LABELS] + noise * random.normal(size=(16, 16, 4))
    return values.astype(np.float32)


def build(*noise: float, **settings: Any) -> Spreading:
    first, *own = (cube(one, seed) for seed, one in enumerate(noise))
    return Spreading.fit(SpreadingSettings(neighbours=3, **settings), first, own)


def probabilities(seed: int = 0) -> NDArray[np.float64]:
    """By a classifier that is right, but only just."""
    random = np.random.default_rng(seed)
    scores = np.eye(3)[LABELS - 1] + random.random((16, 16, 3)) * 1.5
    found: NDArray[np.float64] = scores / scores.sum(axis=2, keepdims=True)
    return found


def accuracy(found: NDArray[Any]) -> float:
    return float((found.argmax(axis=2) + 1 == LABELS).mean())


def normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values / values.sum(axis=2, keepdims=True)
    return found


def spread(graph: Graph) -> NDArray[np.float64]:
    found = graph.spread_labels(LABELS, TRAIN, 3)
    floored: NDArray[np.float64] = np.maximum(found.astype(float), 1e-6)
    return floored


def smoothed(spreading: Spreading, alpha: float = 0.95) -> NDArray[np.float64]:
    """By plain products with the weighted mean of the graphs."""
    first, *own = (graph.weights.toarray() for graph in (spreading.scene, *spreading.own))
    share = spreading.share
    mean = (1 - share) * first + share * np.mean(own, axis=0) if share else first
    start = found = probabilities().reshape(256, 3)
    for _ in range(1000):
        found = alpha * mean @ found + (1 - alpha) * start
    return normalised(found.reshape(16, 16, 3))


def test_graphs_are_joined_by_the_weighted_geometric_mean() -> None:
    spreading = build(0.3, 0.3, 0.3, own_shares=[0.25])
    assert (spreading.share, spreading.alpha) == (0.25, 0.99)
    parts = [spread(graph) for graph in (spreading.scene, *spreading.own)]
    found = spreading.labels_only(LABELS, TRAIN, 3)
    expected = normalised(parts[0] ** 0.75 * (parts[1] * parts[2]) ** 0.125)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found.dtype == np.float32
    assert {graph.width for graph in spreading.own} == {1.0}
    assert spreading.scene.width == 2.0


def test_without_a_share_it_is_the_scene_alone() -> None:
    alone, joint = build(0.3), build(0.3, 1)
    expected = alone.scene.spread_labels(LABELS, TRAIN, 3)
    for spreading in (alone, joint):
        assert spreading.share == 0
        assert np.array_equal(spreading.labels_only(LABELS, TRAIN, 3), expected)
    never_read = Spreading.fit(SpreadingSettings(own_shares=(0.0,)), alone.scene, [np.empty(0)])
    assert not never_read.own


@pytest.mark.parametrize("shares", [(0.0,), (0.25,)])
def test_probabilities_are_smoothed_along_the_mean_of_the_graphs(shares: tuple[float]) -> None:
    spreading = build(0.3, 0.3, 0.3, own_shares=shares, smooth_alpha=0.9)
    found = spreading.smooth(probabilities())
    np.testing.assert_allclose(found, smoothed(spreading, 0.9), rtol=1e-5)
    assert found.dtype == np.float32
    # without labels, as on another image, that is all
    np.testing.assert_array_equal(spreading.join(probabilities()), found)
    assert accuracy(probabilities()) < 0.9 < accuracy(build(0.3).join(probabilities()))


@pytest.mark.parametrize(("labels", "own"), [(1.0, 1.0), (1.0, 0.0), (0.5, 2.5), (0.85, 0.15)])
@pytest.mark.parametrize("smooth", [False, True])
def test_labels_and_probabilities_are_multiplied(labels: float, own: float, smooth: bool) -> None:
    spreading = build(
        0.3, 0.3, own_shares=[0.25], smooth=smooth, label_weight=labels, probability_weight=own
    )
    given = np.maximum(smoothed(spreading), 1e-6) if smooth else probabilities()
    spread_labels = np.maximum(spreading.labels_only(LABELS, TRAIN, 3), 1e-6)
    found = spreading.join(probabilities(), LABELS, TRAIN)
    np.testing.assert_allclose(found, normalised(spread_labels**labels * given**own), rtol=1e-4)
    assert found.dtype == np.float32


def test_classes_that_a_classifier_rules_out_break_nothing() -> None:
    certain = np.eye(3)[LABELS - 1]
    for weight in (0.0, 0.15, 50.0):
        found = build(0.3, smooth=False, probability_weight=weight).join(certain, LABELS, TRAIN)
        np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-5)


def test_other_labels_than_those_of_training_pixels_play_no_part() -> None:
    altered = np.zeros_like(LABELS)
    altered.flat[TRAIN] = LABELS.flat[TRAIN]
    one, other = (build(0.3).join(probabilities(), labels, TRAIN) for labels in (LABELS, altered))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("noise", "better"), [((2.0, 0.1), 1.0), ((0.1, 2.0), 0.0)])
def test_the_better_graph_gets_the_share(noise: tuple[float, float], better: float) -> None:
    split = make_split(LABELS, "10", seed=0, val_fraction=0.5, patch_size=1)
    spreading = build(*noise, own_shares=(0.0, 1.0)).choose(LABELS, [split], 3)
    assert spreading.share == better
    assert accuracy(spreading.labels_only(LABELS, split.labelled, 3)) > 0.9


class Told(Graph):
    """A graph along which each class arrives as it is told, by ``alpha``."""

    def __init__(self, right: dict[float, str]) -> None:
        super().__init__()
        self.right = right

    @property
    def shape(self) -> tuple[int, int]:
        return (1, len(next(iter(self.right.values()))) + 1)

    def spread_labels(self, *_: object, alpha: float, **__: object) -> NDArray[np.float32]:  # type: ignore[override]
        right = [letter == "1" for letter in self.right[alpha]]
        first: NDArray[np.float64] = np.where([[True, *right]], 0.9, 0.1)
        return np.stack([first, 1 - first], axis=2).astype(np.float32)


def pixels_in_a_row(count: int) -> tuple[NDArray[np.int64], Split]:
    """A scene of one class and one row: its first pixel trains, the others validate."""
    labels = np.ones((1, count + 1), dtype=np.int64)
    none = np.empty(0, dtype=np.int64)
    split = Split.from_labels(
        labels,
        train=np.array([0]),
        val=np.arange(1, count + 1),
        test=none,
        settings={"kind": "by hand"},
    )
    return labels, split


@pytest.mark.parametrize(
    ("first", "other", "chosen"),
    [
        ("1110", "1111", 1.0),
        ("1111", "1110", 0.0),
        ("1100", "1100", 0.0),  # nothing speaks for it
        ("1110", "0011", 1.0),  # one gained, two lost: within the standard error
        ("11110", "00001", 0.0),  # one gained, four lost
    ],
)
def test_another_share_needs_a_pixel_and_no_evidence_against_it(
    first: str, other: str, chosen: float
) -> None:
    labels, split = pixels_in_a_row(len(first))
    settings = SpreadingSettings(own_shares=(0.0, 1.0))
    spreading = Spreading(settings, Told({0.99: first}), [Told({0.99: other})])
    assert spreading.choose(labels, [split], 2).share == chosen
    again = spreading.choose(labels, [split], 2)
    assert again.share == chosen


@pytest.mark.parametrize(
    ("right", "chosen"),
    [
        ({0.99: "1000", 0.9: "1111"}, 0.9),
        ({0.99: "1100", 0.9: "1110"}, 0.99),  # one gained: no more than the standard error
        ({0.99: "110000", 0.9: "001111"}, 0.99),  # four gained, two lost
        ({0.99: "1111", 0.9: "1000"}, 0.99),
        ({0.99: "10000", 0.9: "11110", 0.5: "11111"}, 0.5),
        ({0.99: "10000", 0.9: "11111", 0.5: "11110"}, 0.9),
        ({0.99: "1000000", 0.9: "0111111", 0.5: "1111111"}, 0.5),  # both gain six, one loses one
    ],
)
def test_another_alpha_must_be_better(right: dict[float, str], chosen: float) -> None:
    labels, split = pixels_in_a_row(len(right[0.99]))
    settings = SpreadingSettings(other_alphas=tuple(right)[1:])
    spreading = Spreading(settings, Told(right)).choose(labels, [split], 2)
    assert (spreading.share, spreading.alpha) == (0, chosen)
    expected = np.array([letter == "1" for letter in right[chosen]])
    found = spreading.labels_only(labels, np.array([0]), 2)
    assert ((found[0, 1:, 0] > 0.5) == expected).all()


def test_of_equally_good_shares_the_first_is_taken_and_test_pixels_play_no_part() -> None:
    split = make_split(LABELS, "10", seed=0, val_fraction=0.5, patch_size=1)
    assert build(0.1, 0.1, own_shares=(0.5, 0.0)).choose(LABELS, [split], 3).share == 0.5
    altered = LABELS.copy()
    altered.flat[split.test] = 1
    settings: dict[str, Any] = {"own_shares": (0.0, 0.3, 0.6, 1.0), "other_alphas": (0.5,)}
    one, other = (
        build(1.0, 1.2, **settings).choose(labels, [split], 3) for labels in (LABELS, altered)
    )
    assert (one.share, one.alpha) == (other.share, other.alpha)


def test_without_a_choice_no_split_is_needed() -> None:
    assert build(0.1, 0.1, own_shares=(0.25,)).choose(LABELS, [], 3).share == 0.25
    assert build(0.1).choose(LABELS, [], 3).share == 0
    with pytest.raises(ConfigurationError, match="splits must hold at least one split"):
        build(0.1, 0.1).choose(LABELS, [], 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbours": 0}, "neighbours must be at least 1, got 0"),
        ({"width": 0}, "width must be above 0"),
        ({"alpha": 1.0}, r"alpha must be above 0 and below 1, got 1\.0"),
        ({"other_alphas": (0.9, 0.0)}, r"other_alphas must be above 0 and below 1, got 0\.0"),
        ({"own": "raw"}, "own must be one of restored, classified, got 'raw'"),
        ({"own_shares": ()}, r"own_shares must hold at least one number, got none"),
        ({"own_shares": (0, 1.5)}, r"own_shares must be from 0 to 1, got 1\.5"),
        ({"label_weight": -1.0}, r"label_weight must be at least 0 and finite, got -1\.0"),
        ({"probability_weight": float("inf")}, "probability_weight must be at least 0"),
        ({"smooth_alpha": 0.0}, "smooth_alpha must be above 0 and below 1"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SpreadingSettings(**settings)


def test_wrong_use_is_named() -> None:
    spreading = build(0.3)
    for strange in (probabilities()[1:], probabilities()[:, :, 0]):
        with pytest.raises(ConfigurationError, match=r"the shape \(16, 16, 'K'\), .* got"):
            spreading.join(strange)
        with pytest.raises(ConfigurationError, match=r"the shape \(16, 16, 'K'\), .* got"):
            spreading.join(strange, LABELS, TRAIN)
    with pytest.raises(ConfigurationError, match="together"):
        spreading.join(probabilities(), LABELS)
    with pytest.raises(ConfigurationError, match="shape of the scene"):
        spreading.join(probabilities(), LABELS[1:], TRAIN)
    with pytest.raises(ConfigurationError, match=r"of shape \(16, 16\), got \(8, 8\)"):
        Spreading(SpreadingSettings(), spreading.scene, [Graph().fit(np.ones((8, 8, 1)))])
