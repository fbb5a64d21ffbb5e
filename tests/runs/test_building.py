from __future__ import annotations

from typing import Any

import pytest
import torch

from hsi_diffusion import SimulatedSceneDataModule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs import RunSettings
from hsi_diffusion.runs.building import (
    build_classification,
    build_pretraining,
    feature_request,
)
from hsi_diffusion.runs.candidates import FeatureCandidate

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "pretrain": {"module": {"denoiser_options": {"base_channels": 2}, "prediction": "x0"}},
    "classifier": {
        "patch_size": 5,
        "module": {"classifier_options": {"dim": 8, "heads": 1, "head_dim": 8, "depth": 1}},
    },
    "features": {"noise": "mean", "draws": 3, "tile": 40, "precision": "float32"},
}
CPU = torch.device("cpu")


@pytest.fixture
def data() -> SimulatedSceneDataModule:
    return SimulatedSceneDataModule(40, 36, 16, 4, transform="mnf", components=6)


def settings(**changes: Any) -> RunSettings:
    return RunSettings.from_dict({**SETTINGS, **changes})


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_the_denoiser_is_the_one_that_was_asked_for(data: SimulatedSceneDataModule) -> None:
    module = build_pretraining(data, settings().require_pretrain(), seed=3)
    assert module.hparams["num_bands"] == 6
    assert module.hparams["denoiser_options"] == {"base_channels": 2}
    assert (module.prediction, module.seed) == ("x0", 3)


def test_the_classifier_is_the_one_that_was_asked_for(data: SimulatedSceneDataModule) -> None:
    module = build_classification(9, data, settings().classifier, seed=3)
    assert module(torch.zeros(2, 9, 5, 5)).shape == (2, 4)
    assert module.class_names == list(data.info.class_names)
    assert module.seed == 3


def test_the_seed_rules_the_initial_weights(data: SimulatedSceneDataModule) -> None:
    state = torch.get_rng_state()
    denoisers = [build_pretraining(data, settings().require_pretrain(), seed) for seed in (3, 3, 4)]
    classifiers = [build_classification(6, data, settings().classifier, s) for s in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), state)
    for first, again, other in (denoisers, classifiers):
        assert same_weights(first, again)
        assert not same_weights(first, other)


def test_features_are_asked_for_as_the_settings_say() -> None:
    request, reduction = feature_request(settings(), FeatureCandidate((50,), (1,)), CPU)
    assert (tuple(request.timesteps), tuple(request.levels)) == ((50,), (1,))
    assert (request.noise, request.draws, request.seed, request.tile) == ("mean", 3, 3, 40)
    assert request.precision == "float32"
    assert reduction is None


def test_features_are_reduced_as_the_settings_say() -> None:
    features = {**SETTINGS["features"], "components": 7, "scale": "standard", "whiten": True}
    _, reduction = feature_request(settings(features=features), FeatureCandidate((50,), (1,)), CPU)
    assert reduction is not None
    assert (reduction.components, reduction.scale, reduction.whiten) == (7, "standard", True)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ({"num_bands": 3}, r"unknown setting pretrain\.module\.num_bands; allowed are denoiser"),
        ({"seed": 3}, r"unknown setting pretrain\.module\.seed"),
        ({"rescale": "yes"}, r"pretrain\.module\.rescale must be of type bool, got 'yes'"),
        ({"warmup": "long"}, r"pretrain\.module\.warmup must be of type float, got 'long'"),
        ({"losses": {"l1": "much"}}, r"a value in pretrain\.module has the wrong type"),
        ({"prediction": "x1"}, "prediction must be 'noise', 'x0' or 'v', got 'x1'"),
    ],
)
def test_what_does_not_fit_is_named(
    data: SimulatedSceneDataModule, module: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_pretraining(data, settings(pretrain={"module": module}).require_pretrain(), seed=0)
