"""What learns from a cube: classical classifiers of pixels, and labels that are only spread."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from sklearn.neighbors import KNeighborsClassifier

from hsi_diffusion.classifiers import GraphClassifier, JointPropagation, LabelPropagation
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureCube
from hsi_diffusion.runs import RunSettings
from hsi_diffusion.runs.estimator_learners import EstimatorLearner, PropagationLearner
from hsi_diffusion.runs.learners import build_learner, check_learner
from hsi_diffusion.runs.network_learner import NetworkLearner
from hsi_diffusion.runs.pipeline import labelled_scene
from hsi_diffusion.runs.settings import EstimatorSettings
from hsi_diffusion.runs.stages import train_classifier
from hsi_diffusion.runs.workplace import Workplace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion.runs.learner_base import Learner

SCENE = {"name": "simulated", "height": 30, "width": 32, "bands": 12, "num_classes": 4}


def learner(
    folder: Path,
    estimator: dict[str, Any] | None,
    propagation: dict[str, Any] | None = None,
    spread: JointPropagation | None = None,
) -> Learner:
    settings = RunSettings.from_dict(
        {
            "scene": SCENE,
            "split": {"kind": "0.2"},
            "pretrain": None,
            "classifier": {
                "estimator": estimator,
                "patch_size": 3,
                "propagation": propagation,
                "module": {"classifier_options": {"dim": 8, "heads": 1, "head_dim": 8}},
            },
            "choice": {"steps": 3},
        }
    )
    place = Workplace(folder, "cpu", 1, "none", "test", {}, progress=False)
    data = labelled_scene(settings)
    return build_learner(data.cube.numpy(), data, settings, place, spread)


def test_estimators_see_the_spectra_of_single_pixels(tmp_path: Path) -> None:
    model = KNeighborsClassifier(5)
    found = learner(tmp_path, {"name": "knn"})
    assert isinstance(found, EstimatorLearner)
    data = found.data
    cube, split, labels = data.cube.numpy(), data.require_split(), data.labels.ravel()
    rows = cube.reshape(len(labels), -1)
    model.fit(rows[split.train], labels[split.train])
    accuracy, loss = found.score(split)
    assert accuracy == accuracy_score(labels[split.val], model.predict(rows[split.val]))
    assert math.isnan(loss)

    model.fit(rows[split.labelled], labels[split.labelled])
    classified = found.learn("raw_bands")
    assert np.array_equal(classified.predicted.ravel(), model.predict(rows))
    expected = accuracy_score(labels[split.test], classified.predicted.ravel()[split.test])
    assert classified.metrics.compute()["overall_accuracy"].item() == pytest.approx(expected)
    assert classified.costs.parameters is None
    expected_facts = {"name": "knn", "neighbours": 5, "rows": len(split.labelled), "channels": 12}
    assert classified.found == expected_facts


def test_labels_can_be_spread_and_no_more(tmp_path: Path) -> None:
    options = {"neighbours": 4, "width": 1.5}
    found = learner(tmp_path, {"name": "label_propagation", "options": options})
    assert isinstance(found, PropagationLearner)
    data = found.data
    cube, split, labels = data.cube.numpy(), data.require_split(), data.labels
    graph = LabelPropagation(4, width=1.5).fit(cube)
    expected = graph.predict(labels, split.labelled, 4).argmax(axis=2) + 1
    assert np.array_equal(found.learn("raw_bands").predicted, expected)
    trial = graph.predict(labels, split.train, 4).argmax(axis=2).ravel() + 1
    accuracy = accuracy_score(labels.ravel()[split.val], trial[split.val])
    assert found.score(split)[0] == pytest.approx(accuracy)


def test_answers_of_an_estimator_are_joined_with_the_spread_labels(tmp_path: Path) -> None:
    cube = learner(tmp_path, {"name": "knn"}).data.cube.numpy()
    joint = JointPropagation(LabelPropagation(4).fit(cube))
    found = learner(
        tmp_path, {"name": "knn"}, {"answer_weight": 2, "answer_alpha": 0.8}, spread=joint
    )
    data = found.data
    split, labels = data.require_split(), data.labels
    rows = cube.reshape(labels.size, -1)

    def by_hand(pixels: NDArray[np.int64]) -> NDArray[np.float32]:
        model = KNeighborsClassifier(5).fit(rows[pixels], labels.ravel()[pixels])
        answers = model.predict_proba(rows).reshape(*labels.shape, 4)
        return joint.with_answers(answers, labels, pixels, weight=2, alpha=0.8)

    trial = by_hand(split.train).reshape(-1, 4)[split.val]
    truth = labels.ravel()[split.val]
    accuracy, loss = found.score(split)
    assert accuracy == accuracy_score(truth, trial.argmax(axis=1) + 1)
    assert loss == pytest.approx(log_loss(truth, trial, labels=[1, 2, 3, 4]), rel=1e-4)
    classified = found.learn("raw_bands")
    assert np.array_equal(classified.predicted, by_hand(split.labelled).argmax(axis=2) + 1)
    assert classified.seen is None  # labels reach a pixel from anywhere
    assert classified.found is not None
    assert classified.found["own_share"] == 0


def test_there_may_be_an_estimator_for_each_timestep_and_level(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    plain = learner(tmp_path, {"name": "knn"})
    data, place = plain.data, plain.place
    noise = random.normal(size=(*data.shape, 5)).astype(np.float32)
    array = np.concatenate([data.cube.numpy(), noise], axis=2)
    facts = {"timesteps": [5, 9], "levels": ["up1"], "channels": [12, 5]}
    cube = FeatureCube(array, facts)
    settings = RunSettings.from_dict(
        {"classifier": {"estimator": {"name": "knn", "each": True}}, "scene": SCENE}
    )
    found = build_learner(cube, data, settings, place).learn("features")
    expected = GraphClassifier([array[:, :, :12], noise], None, estimator="knn").fit(
        data.labels, data.require_split().labelled, 4
    )
    assert np.array_equal(found.predicted, expected.predict().argmax(axis=2) + 1)
    assert found.seen == 1
    assert found.found is not None
    assert [one["channels"] for one in found.found["each"]] == [12, 5]
    joined = replace(settings.classifier, estimator=EstimatorSettings(name="knn"))
    one = build_learner(cube, data, replace(settings, classifier=joined), place).learn("features")
    assert one.found is not None
    assert one.found["channels"] == 17


def test_answers_of_a_network_are_joined_with_the_spread_labels(tmp_path: Path) -> None:
    cube = learner(tmp_path, None).data.cube.numpy()
    joint = JointPropagation(LabelPropagation(4).fit(cube))
    found = learner(tmp_path, None, {}, spread=joint)
    usual = found.settings.classifier
    classifier = replace(usual, steps=4, module={**usual.module, "prior_weight": 0.5})
    found.settings = replace(found.settings, classifier=classifier)
    classified = found.learn("raw_bands")
    data = found.data
    pixels = data.require_split().labelled
    patches = data.with_features(
        cube, patch_size=3, batch_size=64, train_on="labelled", samples_per_epoch=6400
    )
    module = train_classifier(patches, classifier, found.place, 0, steps=4).eval()
    answers = np.zeros((*data.shape, 4), dtype=np.float32)
    with torch.no_grad():
        for batch in patches.predict_dataloader():
            index = batch["index"][batch["index"] >= 0].numpy()
            shares = module(batch["image"]).softmax(dim=1).numpy()[: len(index)]
            answers.reshape(-1, 4)[index] = shares
    arrived = joint.predict(data.labels, pixels, 4)
    product = answers * np.maximum(arrived, 1e-6)  # alike: the square root of a product
    assert np.array_equal(classified.predicted, product.argmax(axis=2) + 1)
    assert (classified.predicted != answers.argmax(axis=2) + 1).any()


def test_maps_go_to_the_logger_whatever_has_learned(tmp_path: Path) -> None:
    for number, estimator in enumerate((None, {"name": "knn"})):
        one = learner(tmp_path / str(number), estimator)
        one.place = replace(one.place, logger="csv")
        one.settings = replace(one.settings, classifier=replace(one.settings.classifier, steps=1))
        one.learn("raw_bands")
        assert len(list(one.place.folder.rglob("figures/classification_map.png"))) == 1


def test_without_an_estimator_there_is_a_network(tmp_path: Path) -> None:
    assert isinstance(learner(tmp_path, None), NetworkLearner)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ({"name": "svn"}, "svn"),
        ({"name": "knn", "options": {"k": 3}}, "k"),
        ({"name": "label_propagation", "options": {"wide": 2.0}}, "wide"),
        ({"name": "label_propagation", "options": {"width": -1.0}}, "width must be above 0"),
    ],
)
def test_what_cannot_be_built_is_named(estimator: dict[str, Any], message: str) -> None:
    settings = RunSettings.from_dict({"classifier": {"estimator": estimator}})
    with pytest.raises(ConfigurationError, match=message):
        check_learner(settings.classifier, seed=0)
