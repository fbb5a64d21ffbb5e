"""Settings out of plain data and flags, and back; what doesn't fit is named."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.ensemble import RandomForestClassifier

from hsi_diffusion import Denoiser, NoiseSchedule
from hsi_diffusion.classifiers import EstimatorClassifier
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import CNN2D
from hsi_diffusion.patches import MNF, PCA, Standardise
from hsi_diffusion.recipes import Recipe, from_flags, from_plain, merge, to_plain
from tests.own import write_own_parts

if TYPE_CHECKING:
    from pathlib import Path

PLAIN: dict[str, Any] = {
    "pretrain": {
        "denoiser": {"class_path": "UNet2D", "init_args": {"channels": 8, "multipliers": [1, 2]}},
        "transform": "MinMax",
        "schedule": {"class_path": "NoiseSchedule", "init_args": {"timesteps": 100}},
        "losses": {"l1": 1, "lae": 0.5},
        "contrast": {"instance": 0.5},
        "ema_decay": None,
        "learning_rate": 1,
    },
    "features": {"timesteps": [6, 7], "noise": "none", "whiten": True},
    "classifier": {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}},
    "raw_bands": [{}, {"transform": {"class_path": "PCA", "init_args": {"components": 3}}}],
}


def test_every_kind_of_setting() -> None:
    recipe = from_plain(Recipe, PLAIN)
    assert recipe.pretrain.denoiser is not None
    denoiser = recipe.pretrain.denoiser(6)
    assert type(denoiser).__name__ == "UNet2D"
    assert [level.channels for level in denoiser.feature_info][-1] == 8
    assert recipe.pretrain.schedule().timesteps == 100
    assert type(recipe.pretrain.learning_rate) is float
    assert recipe.pretrain.losses == {"l1": 1.0, "lae": 0.5}
    assert recipe.pretrain.contrast.instance == 0.5
    assert recipe.features.timesteps == (6, 7)
    assert recipe.classifier.optimizer is not None
    sgd = recipe.classifier.optimizer(denoiser.parameters())
    assert (type(sgd), sgd.defaults["lr"]) == (torch.optim.SGD, 0.1)
    assert [str(space) for space in recipe.raw_bands] == ["minmax", "pca-3"]


def test_plain_data_makes_the_same_again() -> None:
    recipe = from_plain(Recipe, PLAIN)
    plain = to_plain(recipe)
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert to_plain(from_plain(Recipe, plain)) == plain
    assert plain["pretrain"]["denoiser"] == PLAIN["pretrain"]["denoiser"]
    assert plain["classifier"]["optimizer"]["init_args"] == {"lr": 0.1}
    assert plain["pretrain"]["steps"] == Recipe().pretrain.steps


def test_only_what_differs_from_the_defaults_is_changed() -> None:
    assert to_plain(Recipe(), changed=True) == {}
    plain = {"features": {"timesteps": [6]}, "raw_bands": [], "pretrain": {"ema_decay": 0.5}}
    same = merge(plain, {"choice": {"folds": 3}})
    assert to_plain(from_plain(Recipe, same), changed=True) == plain


def test_a_section_given_in_part_keeps_its_own_defaults() -> None:
    for plain in (
        {"spreading": {"alpha": 0.5}, "pretrain": {"contrast": {}}},
        {"pretrain": {"contrast": {"instance": 0.5}}},  # and not that between clusters as well
    ):
        assert to_plain(from_plain(Recipe, plain)) == merge(to_plain(Recipe()), plain)


LIBRARY = "UNet3D, StagedDenoiser, UNet2D, PixelDenoiser"


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"pretrane": {"steps": 1}}, "unknown setting pretrane; allowed are choice, classifier, f"),
        ({"pretrane": {}}, "unknown setting pretrane; allowed are choice, classifier, features"),
        ({"pretrain": {"stepz": 1}}, r"unknown setting pretrain\.stepz; allowed are augmentation,"),
        ({"pretrain": {"contrast": {"a": 1}}}, r"unknown setting pretrain\.contrast\.a; allowed"),
        ({"raw_bands": [{}, {"blurr": 1}]}, r"raw_bands\[1\]\.blurr; allowed are blur, neighb"),
        ({"pretrain": 3}, "pretrain must be a mapping of settings, got 3"),
        ({"pretrain": None}, "pretrain must be a mapping of settings, got None"),
        ({"raw_bands": [3]}, r"raw_bands\[0\] must be a mapping of settings, got 3"),
        ({"raw_bands": {}}, r"raw_bands must be of type list, got \{\}"),
        ({"features": {"levels": "0,1"}}, r"levels must be .*got '0,1' \(a list looks like"),
        ({"pretrain": {"steps": None}}, r"pretrain\.steps needs a value, got null"),
        ({"pretrain": {"steps": "many"}}, r"pretrain\.steps must be of type int, got 'many'"),
        ({"pretrain": {"steps": 1.5}}, r"pretrain\.steps must be of type int, got 1\.5"),
        ({"pretrain": {"steps": True}}, r"pretrain\.steps must be of type int, got True"),
        ({"pretrain": {"steps": 0}}, r"pretrain\.steps must be at least 1, got 0"),
        ({"pretrain": {"ema_decay": "slow"}}, r"ema_decay must be of type float or null, got 'slo"),
        ({"pretrain": {"losses": {"l1": "much"}}}, r"losses must be a number for each, .*'much'"),
        ({"pretrain": {"losses": [1]}}, r"pretrain\.losses must be of type mapping, got \[1\]"),
        ({"pretrain": {"prediction": "x1"}}, r"prediction must be one of noise, x0, v, got 'x1'"),
        ({"features": {"timesteps": 5}}, r"features\.timesteps must be of type list, got 5"),
        ({"features": {"timesteps": ["a"]}}, r"features\.timesteps must be of type int, got 'a'"),
        ({"features": {"whiten": 1}}, r"features\.whiten must be of type bool, got 1"),
        ({"pretrain": {"denoiser": "UNet2"}},
         rf"one of {LIBRARY}, or the path of a class, such as my_package.MyClass, got 'UNet2'"),
        ({"pretrain": {"denoiser": 3}}, rf"must be one of {LIBRARY}, or the path .*, got 3"),
        ({"pretrain": {"denoiser": "no.My"}},
         rf"denoiser can't be imported, got 'no\.My': No module named 'no'; give one of {LIBRARY}"),
        ({"pretrain": {"denoiser": "torch.nn.Nothing"}}, "has no attribute 'Nothing'; give one of"),
        ({"pretrain": {"denoiser": "torch.nn.Linear"}},
         r"pretrain\.denoiser must be a Denoiser, got torch\.nn\.Linear"),
        ({"pretrain": {"denoiser": {"class_path": "UNet2D", "channels": 3}}},
         r"denoiser must look like \{class_path: NAME, init_args: \{\.\.\.\}\}"),
        ({"pretrain": {"denoiser": {"class_path": "UNet2D", "init_args": {"depth": 3}}}},
         r"unknown setting pretrain\.denoiser\.depth; allowed are channels, multipliers, blocks"),
        ({"pretrain": {"denoiser": {"class_path": "UNet2D", "init_args": {"channels": "many"}}}},
         r"pretrain\.denoiser\.channels must be of type int, got 'many'"),
        ({"pretrain": {"transform": {"class_path": "PCA", "init_args": {"components": "all"}}}},
         r"pretrain\.transform\.components must be of type int or null, got 'all'"),
        ({"raw_bands": [{"transform": "foo"}]}, "transform must be one of Identity, .*, got 'foo'"),
        ({"classifier": {"network": "collections.OrderedDict"}},
         r"classifier\.network must be a torch\.nn\.Module, got collections\.OrderedDict"),
        ({"classifier": {"estimator": "collections.OrderedDict"}},
         r"estimator must be a scikit-learn classifier, got collections\.OrderedDict"),
        ({"classifier": {"estimator": "sklearn.pipeline.make_pipeline"}},
         r"or a function that is annotated to return a scikit-learn classifier, got sklearn\.pip"),
        ({"classifier": {"estimator": "sklearn.pipeline.Pipeline"}},
         r"steps of sklearn\.pipeline\.Pipeline can't .* def make\(\) -> Pipeline: \.\.\., or "),
        ({"classifier": {"estimator": {"class_path": "sklearn.neighbors.KNeighborsClassifier",
                                       "init_args": {"k": 3}}}},
         r"unknown setting classifier\.estimator\.k; allowed are n_neighbors, weights"),
        ({"classifier": {"optimizer": "Sgdd"}}, r"optimizer must be the path of a class, .*'Sgdd'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        from_plain(Recipe, plain)
    assert "\n" not in str(caught.value)


def test_classes_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write_own_parts(tmp_path, "plain_parts")
    (tmp_path / "plain_broken.py").write_text("import not_installed")
    denoiser = {"class_path": "plain_parts.MyDenoiser", "init_args": {"width": 6}}
    plain: dict[str, Any] = {
        "pretrain": {"denoiser": denoiser, "optimizer": "plain_parts.MyOptimiser"},
        "classifier": {"estimator": "plain_parts.MyNeighbours", "network": "plain_parts.MyNet"},
    }
    recipe = from_plain(Recipe, plain)
    again = to_plain(recipe)
    assert again["pretrain"]["denoiser"] == denoiser
    assert to_plain(from_plain(Recipe, again)) == again
    assert recipe.pretrain.denoiser is not None
    made = recipe.pretrain.denoiser(3)
    assert isinstance(made, Denoiser)
    assert made.feature_info[0].channels == 6
    assert recipe.classifier.network(3, 4, 5)(torch.zeros(2, 3, 5, 5)).shape == (2, 4)

    function = from_plain(Recipe, {"pretrain": {"denoiser": "plain_parts.make_denoiser"}})
    assert function.pretrain.denoiser is not None
    assert function.pretrain.denoiser(2).feature_info[0].channels == 3
    for name, message in {
        "plain_parts.not_annotated": "or a function that is annotated to return a Denoiser",
        "plain_parts.MyNet": r"must be a Denoiser, got plain_parts\.MyNet",
        "plain_parts.Other": "module 'plain_parts' has no attribute 'Other'",
        "plain_broken.My": "No module named 'not_installed'",
    }.items():
        with pytest.raises(ConfigurationError, match=message):
            from_plain(Recipe, {"pretrain": {"denoiser": name}})
    with pytest.raises(ConfigurationError, match=r"denoiser\.depth; allowed are width$"):
        from_plain(Recipe, {"pretrain": {"denoiser": {**denoiser, "init_args": {"depth": 1}}}})


LABELS = np.repeat([1, 2, 3], 8).reshape(4, 6)
VALUES = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32) + LABELS[..., None]
MAKERS = """
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC


def pipeline() -> Pipeline:
    return make_pipeline(SVC(C=10))


def estimator() -> BaseEstimator:
    return pipeline()


def classifier() -> ClassifierMixin:
    return pipeline()


def search() -> GridSearchCV:
    return GridSearchCV(pipeline(), {"svc__C": [1, 10]}, cv=3)
"""


def test_pipelines_and_searches_of_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which are no ClassifierMixin."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "plain_makers.py").write_text(MAKERS)
    for name in ("pipeline", "estimator", "classifier", "search"):
        recipe = from_plain(Recipe, {"classifier": {"estimator": f"plain_makers.{name}"}})
        made: Any = EstimatorClassifier(recipe.classifier.estimator)
        made.fit(VALUES, LABELS, np.arange(LABELS.size), 3)
        found = made.estimators[0]
        found = getattr(found, "best_estimator_", found)
        assert [type(step).__name__ for _, step in found.steps] == ["SVC"]
        assert to_plain(from_plain(Recipe, to_plain(recipe))) == to_plain(recipe)
        assert to_plain(recipe)["classifier"]["estimator"] == f"plain_makers.{name}"


def test_objects_and_classes_are_taken_as_they_are() -> None:
    forest = RandomForestClassifier(10)
    plain = {
        "pretrain": {"transform": MNF(components=8), "schedule": NoiseSchedule(60)},
        "classifier": {"estimator": forest, "network": CNN2D},
        "raw_bands": [{"transform": PCA(3), "blur": 1}],
        "spreading": {"space": {"transform": Standardise}},
    }
    recipe = from_plain(Recipe, plain)
    assert (recipe.classifier.estimator, recipe.classifier.network) == (forest, CNN2D)
    transform = recipe.pretrain.transform()
    assert type(transform) is MNF
    assert transform.components == 8
    assert transform is not recipe.pretrain.transform(), "each fit has its own"
    assert recipe.pretrain.schedule().timesteps == 60
    assert str(recipe.raw_bands[0]) == "pca-3, blur 1"
    assert recipe.spreading.space.transform is Standardise
    again = from_plain(Recipe, to_plain(recipe))
    assert again.pretrain.transform().components == 8
    assert again.pretrain.schedule().timesteps == 60
    maker: Any = again.classifier.estimator
    assert maker().get_params() == forest.get_params()
    named: dict[str, Any] = {"steps": object(), "transform": MNF(2)}
    with pytest.raises(ConfigurationError, match=r"pretrain\.steps must be of type int"):
        from_plain(Recipe, {"pretrain": named})
    for wrong in (
        {"pretrain": {"transform": forest}},
        {"pretrain": {"schedule": MNF(2)}},
        {"raw_bands": [{"transform": NoiseSchedule()}]},
    ):
        with pytest.raises(
            ConfigurationError, match=r"class or function that makes one, got a [RMN]"
        ):
            from_plain(Recipe, wrong)


@pytest.mark.parametrize(
    ("arguments", "plain"),
    [
        (["--pretrain.steps", "5", "--pretrain.steps=6"], {"pretrain": {"steps": 6}}),
        (["--pretrain.learning_rate", "1e-3"], {"pretrain": {"learning_rate": 0.001}}),
        (["--choice.small", "-1"], {"choice": {"small": -1}}),
        (["--features.levels=[1, 2]"], {"features": {"levels": [1, 2]}}),
        (["--features.whiten"], {"features": {"whiten": True}}),
        (["--features.whiten", "--choice.folds", "2"],
         {"features": {"whiten": True}, "choice": {"folds": 2}}),
        (["--features.whiten", "false"], {"features": {"whiten": False}}),
        (["--pretrain.lr-schedule", "cosine"], {"pretrain": {"lr_schedule": "cosine"}}),
        (["--pretrain.denoiser", "UNet2D", "--pretrain.denoiser.channels", "8"],
         {"pretrain": {"denoiser": {"class_path": "UNet2D", "init_args": {"channels": 8}}}}),
        (["--pretrain.denoiser=null"], {"pretrain": {"denoiser": None}}),
    ],
)  # fmt: skip
def test_flags_are_read_as_people_write_them(arguments: list[str], plain: dict[str, Any]) -> None:
    assert from_flags(Recipe, arguments) == plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["steps", "5"], r"settings are flags such as --pretrain\.steps 500, got steps"),
        (["--pretrain.steps"], r"--pretrain\.steps needs a value"),
        (["--pretrain.steps", "--choice.folds", "2"], r"--pretrain\.steps needs a value"),
        (["--raw_bands", "[1"], r"raw_bands must be valid YAML, .*, got '\[1'"),
    ],
)
def test_what_is_no_flag_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        from_flags(Recipe, arguments)


@pytest.mark.parametrize(
    "setting",
    [
        "pretrain.losses",
        "pretrain.augmentation",
        "pretrain.contrast.augmentation",
        "classifier.augmentation",
    ],
)
def test_a_loss_or_augmentation_of_ones_own_is_a_function(setting: str) -> None:
    names = setting.split(".")

    def holding(values: Any) -> Recipe:
        for name in reversed(names):
            values = {name: values}
        return from_plain(Recipe, values)

    made = holding({"gain": 0.5, "own": "torch.nn.functional.huber_loss"})
    for one in (made, from_plain(Recipe, to_plain(made))):
        found: Any = functools.reduce(getattr, names, one)
        assert found == {"gain": 0.5, "own": torch.nn.functional.huber_loss}
    huber = {"class_path": "torch.nn.HuberLoss", "init_args": {"delta": 2.0}}
    for own in (huber, torch.nn.L1Loss()):
        with pytest.raises(ConfigurationError, match=rf"{setting}\.own must be a number or a func"):
            holding({"own": own})
