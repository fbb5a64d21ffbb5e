from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.io
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

from hsi_diffusion.classifiers import SupportVectorMachine, svm
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches import MinMax, Split, cross_validation_folds, make_split

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ONE_PAIR: dict[str, Any] = {"sigmas": [2.0], "costs": [10.0]}


def blobs(
    rows: int = 90, seed: int = 0, noise: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows around three centres, of classes 0, 2 and 3."""
    random = np.random.default_rng(seed)
    kinds = np.arange(rows) % 3
    values = 2.5 * np.eye(3, 6)[kinds] + random.normal(scale=noise, size=(rows, 6))
    return values.astype(np.float32), np.array([0, 2, 3])[kinds]


def folds_of(
    classes: NDArray[np.int64], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and validation rows of every fold."""
    none = np.empty(0, dtype=np.int64)
    rows = np.arange(len(classes))
    split = Split(rows, none, none, (len(classes), 1))
    parts = cross_validation_folds(split, classes[:, None] + 1, folds, seed=seed)
    return [(part.train, part.val) for part in parts]


def test_is_a_classifier_of_scikit_learn() -> None:
    """But for settings that are impossible, which it refuses at once and not in fit."""
    early = {"check_do_not_raise_errors_in_init_or_set_params": "told before anything is computed"}
    check_estimator(SupportVectorMachine(**ONE_PAIR), expected_failed_checks=early, on_skip=None)
    model = SupportVectorMachine(sigmas=[1, 4], folds=3, standardise=True, random_state=7)
    assert clone(model).get_params() == model.get_params()


def test_is_saved_and_loaded_without_pickles() -> None:
    skops = pytest.importorskip("skops.io")
    rows, classes = blobs(noise=2.0)
    model = SupportVectorMachine(sigmas=[1, 4], costs=[1, 100], standardise=True)
    data = skops.dumps(model.fit(rows, classes))
    name = "hsi_diffusion.classifiers.svm.SupportVectorMachine"
    assert skops.get_untrusted_types(data=data) == [name]
    again = skops.loads(data, trusted=[name])
    np.testing.assert_array_equal(again.predict_proba(rows), model.predict_proba(rows))
    assert again.get_params() == model.get_params()


def test_probabilities_are_a_softmax_of_the_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = blobs(60, seed=1, noise=2.0)[0] + 100  # a shift, which a kernel does not see
    for names in (("a", "b", "c", "d"), ("a", "b", "c", "c")):  # of three classes, and of two
        rows, classes = blobs(noise=2.0)
        rows, classes = rows + 100, np.array(names)[classes]
        model = SupportVectorMachine(**ONE_PAIR, sharpness=1.5).fit(rows, classes)
        reference = SVC(C=10, gamma=1 / (2 * 2.0**2)).fit(rows.astype(float), classes)
        votes = reference.decision_function(asked.astype(float))
        if votes.ndim == 1:
            votes = np.stack([-votes / 2, votes / 2], axis=1)
        expected = np.exp(1.5 * votes) / np.exp(1.5 * votes).sum(axis=1, keepdims=True)
        found = model.predict_proba(asked)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
        np.testing.assert_array_equal(model.predict(asked), model.classes_[found.argmax(axis=1)])
        # of equal votes libsvm takes the first class, and this the one with the larger margins
        assert (model.predict(asked) == reference.predict(asked.astype(float))).mean() > 0.95
        assert (model.sigma_, model.cost_, model.folds_) == (2.0, 10.0, 0)
        with monkeypatch.context() as patch:
            patch.setattr(svm, "CHUNK", 3 * 8 * (90 + 6))  # three rows at a time
            np.testing.assert_allclose(model.predict_proba(asked), found, rtol=1e-6)


def test_chooses_like_a_search_of_scikit_learn() -> None:
    rows, classes = blobs(noise=2.0)  # 30 rows of each class: the folds are of one size
    sigmas, costs = [0.5, 2.0, 8.0, 1.0], [100.0, 0.1, 1.0]
    model = SupportVectorMachine(sigmas, costs, random_state=4).fit(rows, classes)
    gammas = {1 / (2 * sigma**2): sigma for sigma in sigmas}
    _, numbers = np.unique(classes, return_inverse=True)
    folds = folds_of(numbers, 5, 4)
    search = GridSearchCV(SVC(), {"gamma": list(gammas), "C": costs}, cv=folds)
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
    assert (model.sigma_, model.cost_, model.folds_) == (sigma, cost, 5)
    assert model.cross_validated_accuracy_ == pytest.approx(best)
    reference = SVC(C=cost, gamma=1 / (2 * sigma**2)).fit(rows.astype(float), classes)
    asked, _ = blobs(60, seed=1, noise=2.0)
    np.testing.assert_array_equal(model.predict(asked), reference.predict(asked))


def test_of_equal_pairs_the_smoothest_is_taken() -> None:
    rows, classes = blobs(noise=0.01)
    model = SupportVectorMachine([1, 2], [10, 100]).fit(rows, classes)
    assert model.cross_validated_accuracy_ == 1
    assert (model.sigma_, model.cost_) == (2, 10)


@pytest.mark.parametrize(
    ("sizes", "folds"), [((12, 1, 2), 5), ((1, 1, 40), 5), ((2, 2, 1), 2), ((3, 2, 3), 3)]
)
def test_small_classes_neither_break_nor_warn(sizes: tuple[int, int, int], folds: int) -> None:
    classes = np.repeat([0, 1, 2], sizes)
    rows = (8 * np.eye(3, 5)[classes]).astype(np.float32)
    rows += np.random.default_rng(0).normal(size=rows.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SupportVectorMachine().fit(rows, classes)
        found = model.predict(rows)
    assert model.folds_ == folds
    assert found.shape == classes.shape


def test_learns_from_all_rows_and_tries_each_that_can_be_left_out() -> None:
    rows, classes = blobs(31)
    classes[-1], rows[-1] = 7, -9  # the only row of its class, far from the others
    model = SupportVectorMachine([2], [1, 100]).fit(rows, classes)
    rightly = model.cross_validated_accuracy_ * 30
    assert rightly == pytest.approx(round(rightly))
    assert model.predict(rows)[-1] == 7


def test_standardised_widths_suit_any_number_and_scale_of_channels() -> None:
    rows, classes = blobs(noise=2.0)
    asked, _ = blobs(60, seed=1, noise=2.0)
    options: dict[str, Any] = {"sigmas": [0.5], "costs": [10], "standardise": True}
    model = SupportVectorMachine(**options).fit(rows, classes)
    scaler = StandardScaler().fit(rows.astype(float))
    reference = SVC(C=10, gamma=1 / (2 * 0.5**2 * rows.shape[1]))
    reference.fit(scaler.transform(rows), classes)
    expected = reference.predict(scaler.transform(asked.astype(float)))
    np.testing.assert_array_equal(model.predict(asked), expected)

    def changed(values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Every channel twice, with another scale and place."""
        return (np.tile(values, 2) * np.arange(1, 13) - 40).astype(np.float32)

    again = SupportVectorMachine(**options).fit(changed(rows), classes)
    np.testing.assert_array_equal(again.predict(changed(asked)), expected)


def test_a_constant_channel_says_nothing() -> None:
    rows, classes = blobs()
    more = np.concatenate([rows, np.full((len(rows), 1), 0.1, dtype=np.float32)], axis=1)
    asked = np.concatenate([rows, np.full((len(rows), 1), 9.0, dtype=np.float32)], axis=1)
    model = SupportVectorMachine(**ONE_PAIR, standardise=True).fit(more, classes)
    assert (model.predict(asked) == model.predict(more)).all()


def test_wrong_use_is_told() -> None:
    with pytest.raises(ConfigurationError, match="sharpness must be above 0"):
        SupportVectorMachine(sharpness=0.0)
    none: tuple[Any, ...] = ([], "4", 4)
    wrong: tuple[Any, ...] = ([0.0], [-1, 2], ["1e2"], [True], [float("inf")])
    for name in ("sigmas", "costs"):
        for values in none:
            with pytest.raises(ConfigurationError, match=f"{name} must be a list of at least one"):
                SupportVectorMachine(**{name: values})
        for values in wrong:
            with pytest.raises(ConfigurationError, match=f"{name} must be .*above 0 and finite"):
                SupportVectorMachine(**{name: values})
    arrays: Any = {"sigmas": np.logspace(0, 2, 3, base=2), "costs": [np.float32(5)]}
    given = SupportVectorMachine(**arrays)
    assert given.fit(*blobs(9)).sigma_ in (1, 2, 4)
    with pytest.raises(ConfigurationError, match="folds must be at least 2, got 1"):
        SupportVectorMachine(folds=1)
    rows, classes = blobs(9)
    with pytest.raises(ConfigurationError, match="at least 2 classes"):
        SupportVectorMachine().fit(rows, np.ones_like(classes))
    single = np.arange(9)
    with pytest.raises(ConfigurationError, match="no class has 2 rows: give one value of each"):
        SupportVectorMachine().fit(rows, single)
    found = SupportVectorMachine(**ONE_PAIR).fit(rows, single).predict(rows)
    np.testing.assert_array_equal(found, single)


def test_settings_are_checked_again_in_fit_and_predicting_too_early_is_told() -> None:
    rows, classes = blobs()
    model = SupportVectorMachine(**ONE_PAIR)
    with pytest.raises(NotFittedError):
        model.predict(rows)
    with pytest.raises(ConfigurationError, match="folds must be at least 2"):
        model.set_params(folds=0).fit(rows, classes)


def test_published_accuracy_on_indian_pines(shared_data: Path) -> None:
    folder = shared_data / "indian_pines"
    cube = scipy.io.loadmat(folder / "IP_200_M.mat")["data_M"]
    labels = scipy.io.loadmat(folder / "Indian_pines_gt.mat")["indian_pines_gt"]
    rows = MinMax().fit(cube).transform(cube).reshape(labels.size, -1)
    split = make_split(labels, "0.1", seed=0, patch_size=1)
    model = SupportVectorMachine([4, 8], [10, 100])
    model.fit(rows[split.labelled], labels.ravel()[split.labelled])
    right = model.predict(rows[split.test]) == labels.ravel()[split.test]
    assert abs(100 * right.mean() - 80.93) < 3
