from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hsi_diffusion.classifiers.estimators import build_estimator
from hsi_diffusion.classifiers.svm import SupportVectorMachine
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches import Split, cross_validation_folds
from tests.classifiers.test_estimators import blobs

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONE_PAIR: dict[str, Any] = {"sigmas": [2.0], "costs": [10.0]}


def folds_of(
    classes: NDArray[np.int64], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and validation rows of every fold."""
    none = np.empty(0, dtype=np.int64)
    rows = np.arange(len(classes))
    split = Split(rows, none, none, (len(classes), 1))
    parts = cross_validation_folds(split, classes[:, None] + 1, folds, seed=seed)
    return [(part.train, part.val) for part in parts]


def test_agrees_with_the_kernel_of_scikit_learn() -> None:
    rows, classes = blobs(noise=2.0)
    rows += 100  # a shift, which a kernel does not see
    asked = blobs(60, seed=1, noise=2.0)[0] + 100
    model = build_estimator("svm", ONE_PAIR).fit(rows, classes)
    reference = SVC(C=10, gamma=1 / (2 * 2.0**2)).fit(rows.astype(float), classes)
    np.testing.assert_array_equal(model.predict(asked), reference.predict(asked))
    chosen = {"sigma": 2.0, "cost": 10.0, "folds": 0, "cross_validated_accuracy": None}
    assert chosen.items() <= model.describe().items()


def test_answers_are_a_softmax_of_the_votes() -> None:
    asked = blobs(60, seed=1, noise=2.0)[0]
    for classes_of in (lambda c: c, lambda c: np.where(c == 3, 2, c)):  # of three, and of two
        rows, classes = blobs(noise=2.0)
        classes = classes_of(classes)
        model = build_estimator("svm", {**ONE_PAIR, "sharpness": 1.5}).fit(rows, classes)
        reference = SVC(C=10, gamma=1 / (2 * 2.0**2)).fit(rows.astype(float), classes)
        votes = reference.decision_function(asked.astype(float))
        if votes.ndim == 1:
            votes = np.stack([-votes / 2, votes / 2], axis=1)
        expected = np.exp(1.5 * votes) / np.exp(1.5 * votes).sum(axis=1, keepdims=True)
        found = model.answers(asked, 4)[:, np.unique(classes)]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_chooses_like_a_search_of_scikit_learn() -> None:
    rows, classes = blobs(noise=2.0)  # 30 rows of each class: the folds are of one size
    sigmas, costs = [0.5, 2.0, 8.0, 1.0], [100.0, 0.1, 1.0]
    model = build_estimator("svm", {"sigmas": sigmas, "costs": costs}, 4).fit(rows, classes)
    gammas = {1 / (2 * sigma**2): sigma for sigma in sigmas}
    search = GridSearchCV(SVC(), {"gamma": list(gammas), "C": costs}, cv=folds_of(classes, 5, 4))
    found = search.fit(rows.astype(float), classes).cv_results_
    accuracy = {
        (gammas[tried["gamma"]], tried["C"]): score
        for tried, score in zip(found["params"], found["mean_test_score"], strict=True)
    }
    best = max(accuracy.values())
    # of equal ones the widest kernel, then the smallest cost
    sigma, cost = min(
        (pair for pair, score in accuracy.items() if score > best - 1e-9),
        key=lambda pair: (-pair[0], pair[1]),
    )
    description = model.describe()
    assert (description["sigma"], description["cost"], description["folds"]) == (sigma, cost, 5)
    assert description["cross_validated_accuracy"] == pytest.approx(best)
    reference = SVC(C=cost, gamma=1 / (2 * sigma**2)).fit(rows.astype(float), classes)
    asked, _ = blobs(60, seed=1, noise=2.0)
    np.testing.assert_array_equal(model.predict(asked), reference.predict(asked))


def test_of_equal_pairs_the_smoothest_is_taken() -> None:
    rows, classes = blobs(noise=0.01)
    model = build_estimator("svm", {"sigmas": [1, 2], "costs": [10, 100]}).fit(rows, classes)
    description = model.describe()
    assert description["cross_validated_accuracy"] == 1
    assert (description["sigma"], description["cost"]) == (2, 10)


@pytest.mark.parametrize(
    ("sizes", "folds"), [((12, 1, 2), 5), ((1, 1, 40), 5), ((2, 2, 1), 2), ((3, 2, 3), 3)]
)
def test_small_classes_neither_break_nor_warn(sizes: tuple[int, int, int], folds: int) -> None:
    classes = np.repeat([0, 1, 2], sizes)
    rows = (8 * np.eye(3, 5)[classes]).astype(np.float32)
    rows += np.random.default_rng(0).normal(size=rows.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build_estimator("svm").fit(rows, classes)
        found = model.predict(rows)
    assert model.describe()["folds"] == folds
    assert found.shape == classes.shape


def test_learns_from_all_rows_and_tries_each_that_can_be_left_out() -> None:
    rows, classes = blobs(31)
    classes[-1], rows[-1] = 7, -9  # the only row of its class, far from the others
    model = build_estimator("svm", {"sigmas": [2], "costs": [1, 100]}).fit(rows, classes)
    rightly = model.describe()["cross_validated_accuracy"] * 30
    assert rightly == pytest.approx(round(rightly))
    assert model.predict(rows)[-1] == 7


def test_standardised_widths_suit_any_number_and_scale_of_channels() -> None:
    rows, classes = blobs(noise=2.0)
    asked, _ = blobs(60, seed=1, noise=2.0)
    options: dict[str, Any] = {"sigmas": [0.5], "costs": [10], "standardise": True}
    model = build_estimator("svm", options).fit(rows, classes)
    scaler = StandardScaler().fit(rows.astype(float))
    reference = SVC(C=10, gamma=1 / (2 * 0.5**2 * rows.shape[1]))
    reference.fit(scaler.transform(rows), classes)
    expected = reference.predict(scaler.transform(asked.astype(float)))
    np.testing.assert_array_equal(model.predict(asked), expected)

    def changed(values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Every channel twice, with another scale and place."""
        return (np.tile(values, 2) * np.arange(1, 13) - 40).astype(np.float32)

    again = build_estimator("svm", options).fit(changed(rows), classes)
    np.testing.assert_array_equal(again.predict(changed(asked)), expected)


def test_a_constant_channel_says_nothing() -> None:
    rows, classes = blobs()
    more = np.concatenate([rows, np.full((len(rows), 1), 0.1, dtype=np.float32)], axis=1)
    asked = np.concatenate([rows, np.full((len(rows), 1), 9.0, dtype=np.float32)], axis=1)
    model = build_estimator("svm", {**ONE_PAIR, "standardise": True}).fit(more, classes)
    assert (model.predict(asked) == model.predict(more)).all()


def test_wrong_use_is_told() -> None:
    with pytest.raises(ConfigurationError, match="sharpness must be above 0"):
        build_estimator("svm", {"sharpness": 0.0})
    impossible: tuple[Any, ...] = ([], [0.0], [-1, 2], "4", 4, ["1e2"], [True], [float("inf")])
    for values in impossible:
        for name in ("sigmas", "costs"):
            with pytest.raises(ConfigurationError, match=f"{name} must be a list of at least one"):
                build_estimator("svm", {name: values})
    with pytest.raises(ConfigurationError, match="folds must be at least 2, got 1"):
        SupportVectorMachine(folds=1)
    rows, classes = blobs(9)
    with pytest.raises(ConfigurationError, match="at least 2 classes"):
        build_estimator("svm").fit(rows, np.ones_like(classes))
    single = np.arange(9)
    with pytest.raises(ConfigurationError, match="no class has 2 rows: give one value of each"):
        build_estimator("svm").fit(rows, single)
    found = build_estimator("svm", ONE_PAIR).fit(rows, single).predict(rows)
    np.testing.assert_array_equal(found, single)


def test_a_fit_that_fails_leaves_no_model_behind() -> None:
    rows, classes = blobs()
    model = build_estimator("svm", ONE_PAIR).fit(rows, classes)
    with pytest.raises(ConfigurationError, match="at least 2 classes"):
        model.fit(rows, np.zeros_like(classes))
    with pytest.raises(RuntimeError, match="call fit"):
        model.predict(rows)
