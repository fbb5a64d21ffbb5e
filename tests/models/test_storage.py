"""The files of a saved model: whole or not there, and nothing that they name is run."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import skops.io

from hsi_diffusion import SceneClassifier, StagedDenoiser, UNet2D
from hsi_diffusion.errors import CheckpointError, ConfigurationError, OutputExistsError
from hsi_diffusion.recipes import Recipe, from_plain, to_plain
from hsi_diffusion.runs import RunSettings
from tests.models.tiny import FEATURES, KINDS, NEAREST, laid, recipe, scene, split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.models.conftest import Saved

EVIL = """\
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
class Part:
    def __init__(self, *args, **kwargs): pass
    def fit(self, X, y): return self
"""


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that leave a file when they are imported."""
    folder = tmp_path / "evil"
    (folder / "evil_package").mkdir(parents=True)
    for name in ("evil_module.py", "evil_package/__init__.py", "evil_package/inner.py"):
        (folder / name).write_text(EVIL)
    (folder / "evil.yaml").write_text("{class_path: evil_module.Part, init_args: {}}")
    monkeypatch.syspath_prepend(folder)
    return folder


def put(plain: dict[str, Any], where: str, value: Any) -> None:
    *sections, last = where.split(".")
    for section in sections:
        plain = plain[section]
    assert last in plain
    plain[last] = value


PART: Any = {"class_path": "evil_module.Part", "init_args": {}}
PLACES = {
    "an estimator for each, classified": (
        "recipe.pretrain.denoiser",
        "recipe.pretrain.transform",
        "recipe.pretrain.schedule",
        "recipe.pretrain.optimizer",
        "recipe.classifier.estimator",
        "recipe.spreading.space.transform",
        "denoiser.module.denoiser",
        "denoiser.module.schedule",
        "denoiser.module.optimizer",
        "denoiser.transform.name",
        "graph_space.transform.name",
    ),
    "two networks, a joint reduction": (
        "recipe.classifier.network",
        "recipe.classifier.lr_scheduler",
        "recipe.raw_bands",
        "classifier.module.classifier",
        "classifier.module.lr_scheduler",
        "classifier.kind",
    ),
}
VALUES: dict[str, Any] = {
    "a class": PART,
    "a class without arguments": {"class_path": "evil_package.inner.Part"},
    "inside a part of the library": {"class_path": "UNet2D", "init_args": {"channels": PART}},
    "a text": "evil_module.Part",
    "a module": "evil_module",
    "YAML in a text": '{"class_path": "evil_module.Part"}',
    "a class of the library's name": {"class_path": "hsi_diffusion.evil_module.Part"},
    "in a list": [PART, "evil_package.inner.Part"],
    "a file": "evil.yaml",
}


EVERYWHERE = {
    f"a class at {where}": (kind, {where: PART})
    for kind, places in PLACES.items()
    for where in places
} | {
    f"{name} in the recipe": (kind, {where: value for where in places if "recipe" in where})
    for name, value in VALUES.items()
    for kind, places in PLACES.items()
}


@pytest.mark.parametrize("case", EVERYWHERE)
def test_nothing_that_a_file_names_is_imported(
    case: str, evil: Path, fitted: Callable[[str], Saved], tmp_path: Path
) -> None:
    kind, changes = EVERYWHERE[case]
    folder = tmp_path / "model"
    shutil.copytree(fitted(kind).folder, folder)
    plain = json.loads((folder / "model.json").read_text())
    for where, value in changes.items():
        put(plain, where, str(evil / value) if value == "evil.yaml" else value)
    (folder / "model.json").write_text(json.dumps(plain))
    needed = any(word in case for word in ("module.denoiser", "module.schedule", "kind",
                                           "module.classifier", "transform.name"))  # fmt: skip
    try:
        SceneClassifier.from_pretrained(folder)
    except CheckpointError as error:
        assert str(folder) in str(error)  # noqa: PT017  (only some parts are needed)
    else:
        assert not needed
    assert not any(name.startswith("evil") for name in sys.modules)
    assert not list(evil.rglob("ran"))


def test_foreign_parts_have_to_be_given(fitted: Callable[[str], Saved], tmp_path: Path) -> None:
    for kind, where, name in (
        ("an estimator for each, classified", "denoiser.module.denoiser", "denoiser"),
        ("two networks, a joint reduction", "classifier.module.classifier", "network"),
    ):
        folder = tmp_path / name
        shutil.copytree(fitted(kind).folder, folder)
        plain = json.loads((folder / "model.json").read_text())
        put(plain, where, {"foreign_class": "evil_module.Part"})
        (folder / "model.json").write_text(json.dumps(plain))
        with pytest.raises(CheckpointError, match=rf"evil_module\.Part.*imported: give {name}=\.+"):
            SceneClassifier.from_pretrained(folder)


def test_a_given_part_of_other_weights_is_told(fitted: Callable[[str], Saved]) -> None:
    folder = fitted("an estimator for each, classified").folder
    with pytest.raises(CheckpointError, match=r"with channels=4, got channels=8: give its init_a"):
        SceneClassifier.from_pretrained(folder, denoiser=partial(UNet2D, channels=8))
    with pytest.raises(CheckpointError, match=r"not those of this denoiser.*denoiser=\.\.\."):
        SceneClassifier.from_pretrained(folder, denoiser=StagedDenoiser)


class Unknown:
    """What no saved estimator may hold without being trusted."""

    def __init__(self) -> None:
        self.value = 3


@pytest.mark.parametrize("damage", ["other types", "cut", "no zip", "missing", "empty"])
def test_a_bad_estimator_file_is_refused(
    damage: str, fitted: Callable[[str], Saved], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fitted("label propagation").folder, folder)
    file = folder / "estimator-0.skops"
    if damage == "other types":
        skops.io.dump({"inside": [Unknown()]}, file)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif damage == "no zip":
        file.write_text("hello")
    elif damage == "missing":
        file.unlink()
    else:
        file.write_bytes(b"")
    told = "estimator-0.skops can't be read as a saved estimator"
    if damage == "other types":
        told = "objects of tests.models.test_storage.Unknown.*trusted="
    with pytest.raises(CheckpointError, match=told):
        SceneClassifier.from_pretrained(folder)


def test_an_estimator_file_names_a_module_that_is_not_imported(
    evil: Path, fitted: Callable[[str], Saved], tmp_path: Path
) -> None:
    import evil_module  # type: ignore[import-not-found]  # noqa: PLC0415

    folder = tmp_path / "model"
    shutil.copytree(fitted("label propagation").folder, folder)
    skops.io.dump(evil_module.Part(), folder / "estimator-0.skops")
    del sys.modules["evil_module"]
    (evil / "ran").unlink()
    with pytest.raises(CheckpointError, match=r"objects of evil_module\.Part"):
        SceneClassifier.from_pretrained(folder)
    assert not list(evil.rglob("ran"))
    assert "evil_module" not in sys.modules


def damages(folder: Path) -> dict[str, Callable[[], object]]:
    plain, weights = folder / "model.json", folder / "model.safetensors"
    data = json.loads(plain.read_text())

    def without(*names: str) -> Callable[[], object]:
        changed = json.loads(json.dumps(data))
        inner = changed
        for name in names[:-1]:
            inner = inner[name]
        del inner[names[-1]]
        return lambda: plain.write_text(json.dumps(changed))

    return {
        "no model.json": plain.unlink,
        "no model.safetensors": weights.unlink,
        "cut JSON": lambda: plain.write_text(plain.read_text()[:900]),
        "no JSON": lambda: plain.write_bytes(b"\xff\xfe\x00"),
        "a list": lambda: plain.write_text("[]"),
        "deep": lambda: plain.write_text("[" * 100_000),
        "another format": lambda: plain.write_text(json.dumps({**data, "format": 99})),
        "cut weights": lambda: weights.write_bytes(weights.read_bytes()[:-50]),
        "cut header": lambda: weights.write_bytes(weights.read_bytes()[:40]),
        "empty weights": lambda: weights.write_bytes(b""),
        "weights of another model": lambda: weights.write_bytes(
            b"\x02\x00\x00\x00\x00\x00\x00\x00{}"
        ),
        **{f"without {names}": without(*names) for names in (
            ("recipe",), ("recipe", "classifier"), ("recipe", "pretrain"), ("known",),
            ("known", "shape"), ("representation",), ("representation", "kind"),
            ("representation", "request"), ("denoiser",), ("denoiser", "module"),
            ("denoiser", "module", "num_bands"), ("denoiser", "transform"), ("classifier",),
            ("classifier", "module"), ("classifier", "module", "classifier"), ("seed",),
            ("own_share",), ("graph_space",),
        )},
    }  # fmt: skip


def test_damaged_files_are_told(fitted: Callable[[str], Saved], tmp_path: Path) -> None:
    source, folder = fitted("two networks, a joint reduction").folder, tmp_path / "model"
    shutil.copytree(source, folder)
    for name, damage in damages(folder).items():
        damage()
        with pytest.raises(
            CheckpointError, match=r"can't be read|is damaged|is no saved model|must say format"
        ) as caught:
            SceneClassifier.from_pretrained(folder)
        assert str(folder) in str(caught.value), name
        shutil.copytree(source, folder, dirs_exist_ok=True)
    SceneClassifier.from_pretrained(folder)
    for nothing in (tmp_path, tmp_path / "nowhere", folder / "model.json"):
        with pytest.raises(CheckpointError, match=r"is no saved model|is damaged"):
            SceneClassifier.from_pretrained(nothing)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("moment", ["estimator", "weights", "json", "rename"])
def test_an_earlier_model_stays_whole_if_saving_fails(
    moment: str, fitted: Callable[[str], Saved], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    fitted("label propagation").model.save(folder)
    before = contents(folder)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    def rename(self: Path, target: Path) -> Path:
        if target == folder and self.name.startswith(".model") and "earlier" not in self.name:
            fail()
        return real(self, target)

    real = type(folder).replace
    with monkeypatch.context() as patch:
        if moment == "rename":
            patch.setattr(type(folder), "replace", rename)
        else:
            where = {
                "estimator": "skops.io.dump",
                "json": "pathlib.Path.write_text",
                "weights": "hsi_diffusion.models.saving.save",
            }
            patch.setattr(where[moment], fail)
        kind = "blurred bands"
        with pytest.raises((OSError, ConfigurationError), match="no space left"):
            fitted(kind).model.save(folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_saving_replaces_a_model_and_nothing_else(
    fitted: Callable[[str], Saved], tmp_path: Path
) -> None:
    model, other = (
        fitted(kind).model for kind in ("label propagation", "network, its own word kept")
    )
    folder = tmp_path / "new" / "model"
    model.save(folder)
    assert "estimator-0.skops" in contents(folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    other.save(link)
    assert set(contents(folder)) == {"model.json", "model.safetensors"}
    assert link.is_symlink()
    SceneClassifier.from_pretrained(link)

    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"holds notes\.txt, which is no part of a saved"):
        model.save(folder)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    model.save(foreign)  # an empty one is as good as none
    (foreign / "model.json").unlink()
    with pytest.raises(OutputExistsError, match=r"no model\.json"):
        model.save(foreign)
    (tmp_path / "file").touch()
    with pytest.raises(OutputExistsError, match="is a file; name a folder"):
        model.save(tmp_path / "file")


def test_a_model_that_was_read_can_be_fitted_again(fitted: Callable[[str], Saved]) -> None:
    model, folder = fitted("network, its own word kept")
    loaded = SceneClassifier.from_pretrained(folder)
    assert to_plain(loaded.recipe) == to_plain(model.recipe)
    loaded.fit(scene(), split())
    assert loaded.prediction is not None
    assert model.prediction is not None
    np.testing.assert_array_equal(loaded.prediction.probabilities, model.prediction.probabilities)


def test_the_recipe_of_a_run_is_saved_without_the_runs_own_settings(tmp_path: Path) -> None:
    settings = from_plain(
        RunSettings, laid(KINDS["label propagation"], {"root": "/some/where", "split": "10"})
    )
    SceneClassifier(settings).fit(scene(), split()).save(tmp_path / "model")
    assert "/some/where" not in (tmp_path / "model" / "model.json").read_text()
    loaded = SceneClassifier.from_pretrained(tmp_path / "model")
    assert type(loaded.recipe) is Recipe
    loaded.predict(scene(1))


def test_a_denoiser_of_another_recipe_is_saved_as_it_is(tmp_path: Path) -> None:
    """It was pretrained with another network, schedule and prediction than this recipe names."""
    first = laid(FEATURES, {"features": {"combine": "all"}, "classifier": {"estimator": NEAREST}})
    schedule = {"class_path": "NoiseSchedule", "init_args": {"timesteps": 300}}
    other = {"denoiser": {"channels": 2}, "prediction": "noise", "schedule": schedule}
    model = SceneClassifier(recipe(first))
    model.pretrained = SceneClassifier(recipe(first, {"pretrain": other})).pretrain(scene())
    model.fit(scene(), split()).save(tmp_path / "model")
    loaded = SceneClassifier.from_pretrained(tmp_path / "model")
    assert loaded.pretrained is not None
    assert (loaded.pretrained.prediction, loaded.pretrained.schedule.timesteps) == ("noise", 300)
    np.testing.assert_array_equal(
        loaded.predict(scene(1)).probabilities, model.predict(scene(1)).probabilities
    )
