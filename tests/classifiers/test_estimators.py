from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.io
from sklearn.ensemble import RandomForestClassifier

from hsi_diffusion.classifiers import estimator_base
from hsi_diffusion.classifiers.estimators import ESTIMATORS, build_estimator
from hsi_diffusion.errors import ConfigurationError, MissingDependencyError, NotFittedError
from hsi_diffusion.patches import MinMax, make_split
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Blobs = tuple[NDArray[np.float32], NDArray[np.int64]]

QUICK: dict[str, dict[str, Any]] = {
    "knn": {},
    "random_forest": {"trees": 20},
    "svm": {"sigmas": [1.0, 4.0], "costs": [1.0, 100.0]},
}
"""Options of every estimator that make it quick."""

EVERY = pytest.mark.parametrize("name", ESTIMATORS)


def blobs(rows: int = 90, seed: int = 0, noise: float = 1.0) -> Blobs:
    """Rows around three centres; their classes are 0, 2 and 3, as if 1 had no labelled pixel."""
    random = np.random.default_rng(seed)
    kinds = np.arange(rows) % 3
    centres = 2.5 * np.eye(3, 6)
    values = centres[kinds] + random.normal(scale=noise, size=(rows, 6))
    return values.astype(np.float32), np.array([0, 2, 3])[kinds]


@EVERY
def test_learns_the_classes(name: str) -> None:
    found = build_estimator(name, QUICK[name], 0).fit(*blobs()).predict(blobs(300, seed=1)[0])
    assert found.dtype == np.int64
    assert (found == blobs(300, seed=1)[1]).mean() > 0.85


@EVERY
def test_is_the_same_for_the_same_seed_and_in_pieces(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = blobs(50, seed=1, noise=2.0)
    first = build_estimator(name, QUICK[name], 3).fit(*blobs(noise=2.0))
    again = build_estimator(name, QUICK[name], 3).fit(*blobs(noise=2.0))
    whole = first.predict(asked)
    assert first.describe() == again.describe()
    monkeypatch.setattr(estimator_base, "CHUNK", 3 * 8 * (90 + 6))
    assert [part for part, _ in first._pieces(asked[:8])] == [slice(0, 3), slice(3, 6), slice(6, 8)]
    np.testing.assert_array_equal(again.predict(asked), whole)
    assert again.predict(asked[:0]).shape == (0,)


@EVERY
def test_answers_rank_the_classes_as_they_are_predicted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, _ = blobs(50, seed=1, noise=2.0)
    model = build_estimator(name, QUICK[name], 3).fit(*blobs(noise=2.0))
    answers = model.answers(asked, 5)
    assert answers.shape == (50, 5)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-6)
    assert not answers[:, [1, 4]].any()  # no row of these was labelled
    # of equal votes libsvm takes the first class, and the answers that with the larger margins
    assert (answers.argmax(axis=1) == model.predict(asked)).mean() >= (0.96 if name == "svm" else 1)
    monkeypatch.setattr(estimator_base, "CHUNK", 3 * 8 * (90 + 6))
    np.testing.assert_allclose(model.answers(asked, 5), answers, rtol=1e-6)
    with pytest.raises(NotFittedError):
        build_estimator(name, QUICK[name], 3).answers(asked, 5)


def test_nearest_neighbours_agree_with_plain_loops() -> None:
    rows, classes = blobs(noise=2.0)
    asked, _ = blobs(40, seed=1, noise=2.0)
    votes = np.zeros((40, 5))
    for i, row in enumerate(asked.astype(float)):
        nearest = sorted(range(len(rows)), key=lambda j: float(((rows[j] - row) ** 2).sum()))
        for j in nearest[:5]:
            votes[i, classes[j]] += 1
    model = build_estimator("knn", {}, 0).fit(rows, classes)
    # argmax is the lowest class of equal ones
    np.testing.assert_array_equal(model.predict(asked), votes.argmax(axis=1))


def test_of_equal_votes_the_lowest_class_wins() -> None:
    rows = np.array([[0.0], [1.0], [2.0], [3.0]], dtype=np.float32)
    model = build_estimator("knn", {"neighbours": 4}).fit(rows, np.array([3, 1, 3, 1]))
    assert model.predict(rows).tolist() == [1, 1, 1, 1]


def test_random_forest_agrees_with_scikit_learn() -> None:
    rows, classes = blobs(noise=2.0)
    asked, _ = blobs(40, seed=1, noise=2.0)
    model = build_estimator("random_forest", {"trees": 30}, 7).fit(rows, classes)
    reference = RandomForestClassifier(
        30, criterion="entropy", random_state=stable_seed("random_forest", 7) % 2**32
    ).fit(rows, classes)
    np.testing.assert_array_equal(model.predict(asked), reference.predict(asked))
    other = build_estimator("random_forest", {"trees": 30}, 8).fit(rows, classes)
    assert (other.predict(asked) != model.predict(asked)).any()


@EVERY
def test_describes_itself_in_plain_data(name: str) -> None:
    found = build_estimator(name, QUICK[name], 0).fit(*blobs()).describe()
    assert json.loads(json.dumps(found)) == found
    assert (found["name"], found["rows"], found["channels"]) == (name, 90, 6)


@EVERY
def test_defaults_are_the_published_ones(name: str) -> None:
    model = build_estimator(name)
    published: dict[str, dict[str, Any]] = {
        "knn": {"neighbours": 5},
        "random_forest": {"trees": 200},
        "svm": {
            "sigmas": (0.125, 0.25, 0.5, 1, 2, 4, 8, 16),
            "costs": (0.01, 0.1, 1, 10, 100, 1000, 10000),
        },
    }
    for setting, value in published[name].items():
        assert getattr(model, setting) == value


@EVERY
def test_wrong_rows_are_told(name: str) -> None:
    rows, classes = blobs()
    model = build_estimator(name, QUICK[name], 0)
    for use in (lambda: model.predict(rows), model.describe):
        with pytest.raises(NotFittedError, match="call fit"):
            use()
    spoilt = rows.copy()
    spoilt[3, 2] = np.nan
    for given, known, message in (
        (rows[0], classes, r"shapes \(N, D\) and \(N,\)"),
        (rows, classes[:-1], r"\(90, 6\) and \(89,\)"),
        (rows[:0], classes[:0], "at least one row"),
        (rows, classes - 1, "whole numbers from 0, got int64 from -1"),
        (rows, classes.astype(float), "whole numbers from 0, got float64"),
        (spoilt, classes, "finite"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            model.fit(given, known)
    model.fit(rows, classes)
    with pytest.raises(ConfigurationError, match=r"shape \(M, 6\) like those given to fit"):
        model.predict(rows[:, :5])
    with pytest.raises(ConfigurationError, match="finite"):
        model.predict(spoilt)


def test_wrong_settings_are_told() -> None:
    for name, options, message in (
        ("bayes", {}, "must be one of knn, random_forest, svm, got 'bayes'"),
        ("knn", {"trees": 3}, "unknown setting estimator_options.trees; allowed are neighbours"),
        ("knn", {"seed": 3}, "unknown setting estimator_options.seed"),
        ("knn", {"neighbours": 0}, "neighbours must be at least 1, got 0"),
        ("random_forest", {"trees": 0}, "trees must be at least 1, got 0"),
        ("random_forest", {"trees": 2.5}, "trees must be of type int, got 2.5"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            build_estimator(name, options)
    with pytest.raises(ConfigurationError, match="at most the number of rows, 4, got 5"):
        build_estimator("knn").fit(*blobs(4))


@EVERY
def test_a_missing_library_is_told_before_anything_is_computed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("neighbors", "ensemble", "svm"):
        monkeypatch.setitem(sys.modules, f"sklearn.{module}", None)
    with pytest.raises(MissingDependencyError, match=r'pip install -e "\.\[baselines\]"'):
        build_estimator(name)


@pytest.mark.parametrize(
    ("name", "options", "published", "tolerance"),
    [
        # 71 on this copy, whose bands are stretched and clipped one by one
        ("knn", {}, 67.07, 5.5),
        ("random_forest", {"trees": 100}, 74.64, 3),
        ("svm", {"sigmas": [4, 8], "costs": [10, 100]}, 80.93, 3),
    ],
)
def test_published_accuracies_on_indian_pines(
    shared_data: Path, name: str, options: dict[str, Any], published: float, tolerance: float
) -> None:
    folder = shared_data / "indian_pines"
    cube = scipy.io.loadmat(folder / "IP_200_M.mat")["data_M"]
    labels = scipy.io.loadmat(folder / "Indian_pines_gt.mat")["indian_pines_gt"]
    rows = MinMax().fit(cube).transform(cube).reshape(labels.size, -1)
    split = make_split(labels, "0.1", seed=0, patch_size=1)
    classes = labels.ravel().astype(np.int64) - 1
    model = build_estimator(name, options, 0).fit(rows[split.labelled], classes[split.labelled])
    right = model.predict(rows[split.test]) == classes[split.test]
    assert abs(100 * right.mean() - published) < tolerance
