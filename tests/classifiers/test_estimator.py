"""Any scikit-learn classifier, for the pixels of a cube."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hsi_diffusion.classifiers import EstimatorClassifier, Layout, SupportVectorMachine
from hsi_diffusion.errors import CheckpointError, ConfigurationError, NotFittedError
from hsi_diffusion.features import FeatureCube

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = np.random.default_rng(0).integers(1, 5, (9, 8))  # classes 1 to 4 of 5
PIXELS = np.arange(0, 72, 2)


def cube(channels: int = 5) -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    means = 2 * random.normal(size=(6, channels))
    values = means[LABELS] + random.normal(size=(9, 8, channels))
    return values.astype(np.float32)


def feature_cube() -> FeatureCube:
    description = {"timesteps": [1, 2], "channels": [3, 3], "angles": True}
    return FeatureCube(cube(8), description)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(3),
        RandomForestClassifier(5, random_state=4),
        HistGradientBoostingClassifier(max_iter=2),
        GaussianProcessClassifier(),
        MLPClassifier(3, max_iter=2),
        CalibratedClassifierCV(GaussianNB(), cv=2),
        RidgeClassifier(),
        SVC(decision_function_shape="ovo"),
        SVC(),
        NearestCentroid(),
        SupportVectorMachine([2], [10]),
        GridSearchCV(SVC(), {"C": [1.0, 10.0]}, cv=StratifiedKFold(2), scoring="accuracy"),
        VotingClassifier([("first", SVC()), ("second", GaussianNB())]),
        StackingClassifier([("first", SVC()), ("second", GaussianNB())], cv=2),
        make_pipeline(SelectKBest(k=4), SVC()),
    ],
    ids=lambda one: type(one).__name__,
)
def test_probabilities_are_what_the_estimator_says(estimator: Any, tmp_path: Path) -> None:
    rows = cube().reshape(72, 5)
    found = EstimatorClassifier(estimator).fit(cube(), LABELS, PIXELS, 5)
    probabilities = found.predict(cube())
    assert probabilities.shape == (72, 5)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert not probabilities[:, 4].any(), "no training pixel is of class 5"
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=estimator.random_state or 0)
    reference = estimator.fit(rows[PIXELS], LABELS.ravel()[PIXELS])
    if hasattr(reference, "predict_proba"):
        expected = reference.predict_proba(rows)
    elif not hasattr(reference, "decision_function"):
        expected = np.eye(4)[reference.predict(rows) - 1]
    elif type(estimator) is SVC and estimator.decision_function_shape == "ovo":
        expected = np.eye(4)[reference.predict(rows) - 1]  # six margins are no four classes
    else:
        expected = softmax(reference.decision_function(rows), axis=1)
    np.testing.assert_allclose(probabilities[:, :4], expected, atol=1e-6)
    np.testing.assert_array_equal(found.predict(cube(), PIXELS[:7]), probabilities[PIXELS[:7]])

    plain, tensors = found.save(tmp_path)
    again = EstimatorClassifier(KNeighborsClassifier).load(tmp_path, plain, tensors)
    np.testing.assert_array_equal(again.predict(cube()), probabilities)
    assert str(again.describe()) == str(found.describe())
    assert found.describe()["name"] == type(estimator).__name__


def test_two_classes_have_one_margin() -> None:
    labels = np.where(LABELS > 2, 3, 2)
    found = EstimatorClassifier(RidgeClassifier).fit(cube(), labels, PIXELS, 3).predict(cube())
    reference = RidgeClassifier().fit(cube().reshape(72, 5)[PIXELS], labels.ravel()[PIXELS])
    np.testing.assert_array_equal(
        found.argmax(axis=1) + 1, reference.predict(cube().reshape(72, 5))
    )
    assert not found[:, 0].any()


@pytest.mark.parametrize("searched", [False, True])
def test_margins_of_three_pairs_are_not_those_of_three_classes(searched: bool) -> None:
    labels = np.where(LABELS > 3, 3, LABELS)
    machine: Any = SVC(decision_function_shape="ovo")
    if searched:
        machine = GridSearchCV(machine, {"C": [1.0]}, cv=2)
    found = EstimatorClassifier(machine).fit(cube(), labels, PIXELS, 3).predict(cube())
    rows = cube().reshape(72, 5)
    reference = machine.fit(rows[PIXELS], labels.ravel()[PIXELS])
    assert len(reference.decision_function(rows)[0]) == 3
    np.testing.assert_array_equal(found.argmax(axis=1) + 1, reference.predict(rows))


def test_one_estimator_for_each_part_is_averaged(tmp_path: Path) -> None:
    maker = partial(KNeighborsClassifier, 3)
    model = EstimatorClassifier(maker, each=True).fit(feature_cube(), LABELS, PIXELS, 5)
    expected = [
        maker().fit(part[PIXELS], LABELS.ravel()[PIXELS]).predict_proba(part)
        for part in (cube(8).reshape(72, 8)[:, :3], cube(8).reshape(72, 8)[:, 3:6])
    ]
    np.testing.assert_allclose(model.predict(feature_cube())[:, :4], np.mean(expected, axis=0))
    assert model.describe()["each"] == 2 * [
        {"name": "KNeighborsClassifier", "rows": 36, "channels": 3}
    ]
    plain, tensors = model.save(tmp_path)
    again = EstimatorClassifier(maker, each=True).load(tmp_path, plain, tensors)
    np.testing.assert_array_equal(again.predict(feature_cube()), model.predict(feature_cube()))
    whole = EstimatorClassifier(maker).fit(feature_cube(), LABELS, PIXELS, 5)
    assert whole.describe() == {"name": "KNeighborsClassifier", "rows": 36, "channels": 8}
    bands = EstimatorClassifier(maker, each=True).fit(cube(), LABELS, PIXELS, 5)
    assert bands.describe() == {"name": "KNeighborsClassifier", "rows": 36, "channels": 5}


def test_every_random_state_that_is_none_follows_the_seed() -> None:
    def forest() -> Any:
        return make_pipeline(StandardScaler(), RandomForestClassifier(3))

    def seeds(seed: int, maker: Any = forest) -> Any:
        model = EstimatorClassifier(maker, seed=seed).fit(cube(), LABELS, PIXELS, 4)
        return model.estimators[0][-1].get_params()["random_state"]

    assert (seeds(5), seeds(2**32 + 1)) == (5, 1)
    given = make_pipeline(RandomForestClassifier(3, random_state=9))
    assert seeds(5, given) == 9
    given = make_pipeline(RandomForestClassifier(3))
    seeds(5, given)
    assert given[-1].random_state is None, "an estimator that is given is copied"


def test_an_estimator_sees_labels_of_its_pixels_only() -> None:
    others = LABELS.copy()
    others.ravel()[np.setdiff1d(np.arange(72), PIXELS)] = 1
    first, second = (
        EstimatorClassifier(KNeighborsClassifier).fit(cube(), labels, PIXELS, 4).predict(cube())
        for labels in (LABELS, others)
    )
    np.testing.assert_array_equal(first, second)


def test_a_trial_is_another_one_of_the_same_kind() -> None:
    model = EstimatorClassifier(KNeighborsClassifier, each=True, seed=3)
    trial = model.trial(5, "choice-1")
    assert (trial.factory, trial.each, trial.seed) == (KNeighborsClassifier, True, 3)
    trial.fit(feature_cube(), LABELS, PIXELS, 4)
    assert not model.estimators


class WithoutSettings:
    """What looks like an estimator."""

    def fit(self) -> None: ...

    def predict(self) -> None: ...


def test_what_the_reader_of_a_model_has_to_trust_is_told(tmp_path: Path) -> None:
    search = RandomizedSearchCV(SVC(), {"C": stats.uniform(1, 2)}, n_iter=2, cv=2)
    found = EstimatorClassifier(search).fit(cube(), LABELS, PIXELS, 5)
    with pytest.warns(
        UserWarning, match=r"RandomizedSearchCV holds objects of.*scipy\.stats"
    ) as told:
        plain, tensors = found.save(tmp_path)
    again = EstimatorClassifier(KNeighborsClassifier)
    with pytest.raises(CheckpointError, match=r"name them with trusted="):
        again.load(tmp_path, plain, tensors)
    named = str(told[0].message).partition("objects of ")[2].partition(", which are not")[0]
    again.load(tmp_path, plain, tensors, trusted=named.split(", "))
    np.testing.assert_array_equal(again.predict(cube()), found.predict(cube()))


def test_wrong_use_is_told() -> None:
    with pytest.raises(NotFittedError, match=r"call fit\(\.\.\.\) first"):
        EstimatorClassifier(KNeighborsClassifier).predict(cube())
    with pytest.raises(NotFittedError, match=r"call fit\(\.\.\.\) first"):
        EstimatorClassifier(KNeighborsClassifier).describe()
    wrong: Any
    for wrong, name in (
        (StandardScaler, "StandardScaler"),
        (WithoutSettings(), "WithoutSettings"),
        (KNeighborsRegressor, "KNeighborsRegressor"),
        (make_pipeline(StandardScaler(), KNeighborsRegressor()), "Pipeline"),
        (KMeans(), "KMeans"),
        (3, "int"),
    ):
        with pytest.raises(
            ConfigurationError, match=f"must make a scikit-learn classifier.*{name}"
        ):
            EstimatorClassifier(wrong).check(Layout(5), 4)
    with pytest.raises(ConfigurationError, match="can't learn these 2 pixels"):
        EstimatorClassifier(SVC).fit(cube(), np.ones_like(LABELS), PIXELS[:2], 4)


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "from 1 to num_classes=4, but pixel 6 has 0"),
     (9, "from 1 to num_classes=4, but pixel 6 has 9")],
)  # fmt: skip
def test_pixels_without_a_class_are_refused(value: int, message: str) -> None:
    labels = LABELS.copy()
    labels.ravel()[6] = value
    with pytest.raises(ConfigurationError, match=message):
        EstimatorClassifier(KNeighborsClassifier).fit(cube(), labels, PIXELS, 4)
    EstimatorClassifier(KNeighborsClassifier).fit(cube(), labels, PIXELS[PIXELS != 6], 4)
    with pytest.raises(ConfigurationError, match="flat numbers of pixels from 0 to 71, got 72"):
        EstimatorClassifier(KNeighborsClassifier).fit(cube(), LABELS, np.array([0, 72]), 4)


def test_what_a_search_has_chosen_is_plain_data() -> None:
    """A run writes it as JSON, at its very end."""
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": np.arange(1, 3)}, cv=2)
    model = EstimatorClassifier(search).fit(cube(), LABELS, PIXELS, 5)
    [chosen] = json.loads(json.dumps(model.describe()))["best_params"].values()
    assert chosen in (1, 2)
