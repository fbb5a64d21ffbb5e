"""Parts of a user's own: fitted, saved, read and mapped, from a module outside of the library."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hsi_diffusion import NoiseSchedule, SceneClassifier
from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.recipes import Recipe, from_plain, parse_yaml
from tests.models.tiny import FEATURES, NETWORK, RAW, SPREADING, laid, recipe, scene, split
from tests.modules.test_own_parts import DENOISER
from tests.modules.test_own_parts import NETWORK as OWN_NETWORK
from tests.processes import run_python

if TYPE_CHECKING:
    from collections.abc import Iterator

DILATED = """
class Dilated(MyDenoiser):
    def __init__(self, num_bands, dilation=1):
        super().__init__(num_bands)
        self.dilation = dilation
"""

SCHEDULE = """
from hsi_diffusion import NoiseSchedule


class MySchedule(NoiseSchedule):
    def __init__(self, timesteps=80):
        super().__init__(timesteps, kind="cosine")
"""

TRANSFORM = """
import numpy as np
from hsi_diffusion.patches import BandTransform


class Pick(BandTransform):
    name = "pick some bands"

    def __init__(self, first: int):
        self.first = first

    num_components = 6

    def _fit(self, cube, mask):
        pass

    def _forward(self, values):
        return np.log1p(abs(values[..., self.first : self.first + 6]))

    def _backward(self, components):
        return np.repeat(components[..., :1], self.num_bands, axis=-1)
"""

FUNCTIONS = """
def darker(images, generator):
    return images * 0.9


def angle(output, target):
    return 1 - torch.nn.functional.cosine_similarity(output, target).mean()
"""

ESTIMATORS = """
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Labels(ClassifierMixin, BaseEstimator):
    "The class of the nearest mean, and no more."

    def __init__(self, power=2):
        self.power = power

    def fit(self, X, y):
        self.known = np.unique(y)
        self.means_ = np.stack([X[y == one].mean(axis=0) for one in self.known])
        return self

    def distances(self, X):
        return (abs(X[:, None] - self.means_) ** self.power).sum(axis=2)

    def predict(self, X):
        return self.known[self.distances(X).argmin(axis=1)]


class Margins(Labels):
    def decision_function(self, X):
        return -self.distances(X)


class Probabilities(Labels):
    def predict_proba(self, X):
        shares = 1 / (1e-9 + self.distances(X))
        return shares / shares.sum(axis=1, keepdims=True)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's own, in a folder outside of the repository."""
    assert not tmp_path.is_relative_to(Path(__file__).parents[2])
    parts = (DENOISER, DILATED, SCHEDULE, OWN_NETWORK, FUNCTIONS, ESTIMATORS)
    (tmp_path / "my_models.py").write_text("\n\n".join(parts))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_models")
    del sys.modules["my_models"]


@pytest.fixture
def pick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A band transform of the user's own, in a module that the test may forget again."""
    (tmp_path / "my_transforms.py").write_text(TRANSFORM)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_transforms").Pick
    sys.modules.pop("my_transforms", None)


def check(settings: Recipe, folder: Path, told: str, named: str, **given: Any) -> SceneClassifier:
    """Fit, save, read without and with what has to be given, and map another image."""
    model = SceneClassifier(settings).fit(scene(), split())
    assert model.prediction is not None
    model.save(folder)
    assert named in (folder / "model.json").read_text()
    if told:
        with pytest.raises(CheckpointError, match=told):
            SceneClassifier.from_pretrained(folder)
    loaded = SceneClassifier.from_pretrained(folder, **given)
    for image, expected in ((scene(), model.prediction), (scene(1), model.predict(scene(1)))):
        found = loaded.predict(image).probabilities
        np.testing.assert_array_equal(found, expected.probabilities)
    loaded.save(folder)  # names of foreign classes are not lost on the way
    again = SceneClassifier.from_pretrained(folder, **given)
    np.testing.assert_array_equal(again.predict(scene(1)).classes, loaded.predict(scene(1)).classes)
    return loaded


def pretrained_with(plain: Any, **parts: Any) -> Recipe:
    """A recipe whose pretraining has parts of the user's own."""
    settings = recipe(plain)
    return dataclasses.replace(settings, pretrain=dataclasses.replace(settings.pretrain, **parts))


@pytest.mark.parametrize("form", ["class", "object", "YAML"])
def test_a_denoiser(own: Any, form: str, tmp_path: Path) -> None:
    plain = laid(FEATURES, NETWORK, {"features": {"levels": [0], "timesteps": [20]}})
    if form == "YAML":
        text = "{pretrain: {denoiser: {class_path: my_models.MyDenoiser, init_args: {width: 6}}}}"
        settings = recipe(plain, parse_yaml(text))
        given = partial(own.MyDenoiser, width=6)
    else:
        given = own.MyDenoiser if form == "class" else own.MyDenoiser(6)
        settings = pretrained_with(plain, denoiser=given)
    told = r"the denoiser of this model is a my_models\.MyDenoiser.*give denoiser=\.\.\."
    if form == "object":
        given = own.MyDenoiser(6)
    loaded = check(settings, tmp_path / "model", told, "my_models.MyDenoiser", denoiser=given)
    assert loaded.pretrained is not None
    assert isinstance(loaded.pretrained.denoiser, own.MyDenoiser)
    loaded.fit(scene(), split())  # all that it needs was given


def test_a_denoiser_that_is_made_otherwise_is_refused(own: Any, tmp_path: Path) -> None:
    """Its weights would fit: nothing else would tell."""
    changes = {"features": {"levels": [0], "timesteps": [20]}}
    wide = partial(own.Dilated, dilation=2)
    settings = pretrained_with(laid(FEATURES, NETWORK, changes), denoiser=wide)
    SceneClassifier(settings).fit(scene(), split()).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="with dilation=2, got dilation=1: give its init_arg"):
        SceneClassifier.from_pretrained(tmp_path / "model", denoiser=own.Dilated)
    SceneClassifier.from_pretrained(tmp_path / "model", denoiser=own.Dilated(6, dilation=2))


@pytest.mark.parametrize("form", ["class", "object", "YAML"])
def test_a_noise_schedule(own: Any, form: str, tmp_path: Path) -> None:
    plain = laid(FEATURES, NETWORK, {"features": {"levels": [0], "timesteps": [20]}})
    if form == "YAML":
        text = "{pretrain: {schedule: {class_path: my_models.MySchedule}}}"
        settings, given = recipe(plain, parse_yaml(text)), own.MySchedule
    else:
        given = own.MySchedule if form == "class" else own.MySchedule(60)
        settings = pretrained_with(plain, schedule=given)
    told = r"the schedule of this model is a my_models\.MySchedule.*give schedule=\.\.\."
    loaded = check(settings, tmp_path / "model", told, "my_models.MySchedule", schedule=given)
    assert loaded.pretrained is not None
    assert loaded.pretrained.schedule.timesteps == (60 if form == "object" else 80)
    loaded.fit(scene(), split())  # all that it needs was given
    with pytest.raises(CheckpointError, match=r"be the my_models\.MySchedule of the saved.*NoiseS"):
        SceneClassifier.from_pretrained(tmp_path / "model", schedule=NoiseSchedule(80))
    with pytest.raises(CheckpointError, match=r"schedule must be made as .* timesteps="):
        SceneClassifier.from_pretrained(tmp_path / "model", schedule=own.MySchedule(30))


@pytest.mark.usefixtures("own")
def test_losses_and_augmentations_are_not_needed_to_classify(tmp_path: Path) -> None:
    darker = {"gain": 0.1, "own": "my_models.darker"}
    parts = {
        "losses": {"l1": 1.0, "own": "my_models.angle"},
        "augmentation": darker,
        "contrast": {"instance": 0.1, "cell": 2, "shift": 1, "augmentation": darker},
    }
    own = {"pretrain": parts, "classifier": {"augmentation": darker}}
    check(recipe(FEATURES, NETWORK, own), tmp_path / "model", "", "my_models.darker")


@pytest.mark.parametrize("place", ["pretraining", "raw bands", "spreading"])
def test_a_band_transform(pick: Any, place: str, tmp_path: Path) -> None:
    part = {"class_path": "my_transforms.Pick", "init_args": {"first": 3}}
    settings = {
        "pretraining": recipe(FEATURES, NETWORK, {"pretrain": {"transform": part}}),
        "raw bands": recipe(RAW, NETWORK, {"raw_bands": [{"transform": part}]}),
        "spreading": recipe(
            RAW, NETWORK, {"spreading": SPREADING}, {"spreading": {"space": {"transform": part}}}
        ),
    }[place]
    loaded = check(settings, tmp_path / "model", "", "my_transforms.Pick", transform=pick)
    made: Any = partial(pick, 3)
    with pytest.raises(ConfigurationError, match=r"transform must be a class .*, got functools"):
        SceneClassifier.from_pretrained(tmp_path / "model", transform=made)
    with pytest.raises(ConfigurationError, match=r"my_transforms\.Pick\): make a SceneClassifier"):
        loaded.fit(scene(), split())


def test_an_own_transform_is_named_where_a_map_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In processes of their own, into which nobody has imported it before."""
    (tmp_path / "my_transforms.py").write_text(TRANSFORM)
    np.save(tmp_path / "next.npy", scene(1).cube)
    fit = """
import sys
sys.path.append(".")
from tests.models.tiny import NETWORK, RAW, recipe, scene, split
from hsi_diffusion import NoiseSchedule, SceneClassifier
part = {"class_path": "my_transforms.Pick", "init_args": {"first": 3}}
model = SceneClassifier(recipe(RAW, NETWORK, {"raw_bands": [{"transform": part}]}))
model.fit(scene(), split()).save("model")
"""
    done = run_python(["-c", fit], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    given = ["-m", "hsi_diffusion.cli", "map", "--model", "model", "--image", "next.npy"]
    given += ["--out", "map.npy"]
    done = run_python(given, cwd=tmp_path)
    assert done.returncode == 2
    assert "give transform=... (--transform of map)" in done.stderr
    named = ["--transform", "{class_path: my_transforms.Pick, init_args: {first: 1}}"]
    done = run_python([*given, *named], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(np.unique(np.load(tmp_path / "map.npy"))) <= {1, 2, 3}


@pytest.mark.parametrize("form", ["class", "object", "YAML"])
def test_a_network(own: Any, form: str, tmp_path: Path) -> None:
    plain = laid(RAW, NETWORK)
    if form == "YAML":
        text = "{classifier: {network: {class_path: my_models.MyNet, init_args: {width: 6}}}}"
        settings = recipe(plain, parse_yaml(text))
        given = partial(own.MyNet, width=6)
    else:
        given = own.MyNet if form == "class" else own.MyNet(20, 3, 3)
        settings = recipe(plain)
        settings = dataclasses.replace(
            settings, classifier=dataclasses.replace(settings.classifier, network=given)
        )
    told = r"the network of this model is a my_models\.MyNet.*give network=\.\.\."
    if form == "object":
        given = own.MyNet(20, 3, 3)
    loaded = check(settings, tmp_path / "model", told, "my_models.MyNet", network=given)
    before = loaded.predict(scene()).probabilities
    loaded.fit(scene(), split())  # all that it needs was given
    assert (form == "object") != np.array_equal(loaded.predict(scene()).probabilities, before)


def test_objects_are_copied(own: Any) -> None:
    """So that a model learns the same twice, and candidates from the same weights."""
    plain = laid(FEATURES, NETWORK, {"features": {"levels": [0], "timesteps": [20, 60]}})
    settings = recipe(plain)
    denoiser, network = own.MyDenoiser(6, width=6), own.MyNet(6, 3, 3)
    settings = dataclasses.replace(
        settings,
        pretrain=dataclasses.replace(settings.pretrain, denoiser=denoiser),
        classifier=dataclasses.replace(settings.classifier, network=network),
    )
    before = [weight.clone() for part in (denoiser, network) for weight in part.parameters()]
    first, second = (
        SceneClassifier(settings).fit(scene(), split()).predict(scene()).probabilities
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    after = [weight for part in (denoiser, network) for weight in part.parameters()]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["Labels", "Margins", "Probabilities"])
@pytest.mark.parametrize("form", ["class", "object", "YAML"])
def test_a_classifier_of_scikit_learn(own: Any, name: str, form: str, tmp_path: Path) -> None:
    maker = getattr(own, name)
    if form == "YAML":
        text = f"{{class_path: my_models.{name}, init_args: {{power: 3}}}}"
        settings = recipe(RAW, {"classifier": {"estimator": parse_yaml(text)}})
    else:
        settings = recipe(RAW)
        settings = dataclasses.replace(
            settings,
            classifier=dataclasses.replace(
                settings.classifier,
                estimator=partial(maker, power=3) if form == "class" else maker(power=3),
            ),
        )
    path = f"my_models.{name}"
    told = rf"holds objects of my_models\.{name}.*name them with trusted="
    loaded = check(settings, tmp_path / "model", told, path, trusted=[path])
    found = loaded.predict(scene())
    if name == "Labels":
        assert np.unique(found.probabilities).tolist() == [0, 1]
    low, high = scene().cube.min(axis=(0, 1)), scene().cube.max(axis=(0, 1))
    rows = ((scene().cube - low) / (high - low)).reshape(-1, 20)
    given = split().labelled
    reference = maker(power=3).fit(rows[given], scene().labels.ravel()[given])
    assert (reference.predict(rows) == found.classes.ravel()).mean() > 0.99
    with pytest.raises(ConfigurationError, match=rf"\({path}\): make a SceneClassifier of a whole"):
        loaded.fit(scene(), split())


@pytest.mark.parametrize("form", ["Python", "YAML"])
def test_an_optimiser(form: str, tmp_path: Path) -> None:
    plain = laid(FEATURES, NETWORK, {"features": {"levels": [0], "timesteps": [20]}})
    settings = recipe(plain)
    if form == "YAML":
        text = """
        pretrain: {optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.01}}}
        classifier:
          optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.01}}
          lr_scheduler: {class_path: torch.optim.lr_scheduler.StepLR, init_args: {step_size: 1}}
        """
        settings = recipe(plain, parse_yaml(text))
    else:
        sgd: Any = partial(torch.optim.SGD, lr=0.01)
        steps: Any = partial(torch.optim.lr_scheduler.StepLR, step_size=1)
        settings = dataclasses.replace(
            settings,
            pretrain=dataclasses.replace(settings.pretrain, optimizer=sgd),
            classifier=dataclasses.replace(settings.classifier, optimizer=sgd, lr_scheduler=steps),
        )
    loaded = check(settings, tmp_path / "model", "", "torch.optim.sgd.SGD")
    with pytest.raises(ConfigurationError, match=r"torch\.optim\.sgd\.SGD, .*make a SceneClassif"):
        loaded.fit(scene(), split())
    if form == "Python":
        default = SceneClassifier(recipe(plain)).fit(scene(), split())
        assert not np.array_equal(
            default.predict(scene()).probabilities, loaded.predict(scene()).probabilities
        )


def test_an_estimator_that_can_not_be_stored_is_told(own: Any, tmp_path: Path) -> None:
    class Local(own.Labels):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
            self.answer = (number for number in range(3))
            return super().fit(X, y)

    settings = from_plain(Recipe, RAW)
    own_settings = dataclasses.replace(settings.classifier, estimator=Local)
    model = SceneClassifier(dataclasses.replace(settings, classifier=own_settings))
    model.fit(scene(), split())
    with pytest.raises(ConfigurationError, match="is a Local, which can't be stored without pick"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
