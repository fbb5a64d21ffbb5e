"""Lightning's command line over every data module, on files that the tests make."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml

import hsi_diffusion.modules
from hsi_diffusion.modules import (
    DiffusionPretrainModule,
    FeatureClassifierModule,
    PatchDataModule,
    PretrainedFeaturesDataModule,
    SceneCLI,
    SimulatedSceneDataModule,
    scene_data_module,
)
from hsi_diffusion.scenes import CATALOGUE, register_scene
from tests.modules.published import SHAPE, tiny, write_published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PUBLISHED = ("indian_pines", "pavia_university", "salinas", "salinas_a", "houston2013")

SIMULATED = {"height": 24, "width": 20, "bands": 6, "num_classes": 3}

CLASSIFIER: dict[str, Any] = {
    "class_path": "FeatureClassifierModule",
    "init_args": {"classifier": {"class_path": "hsi_diffusion.networks.CNN1D"}},
}

PRETRAINING: dict[str, Any] = {
    "class_path": "DiffusionPretrainModule",
    "init_args": {
        "denoiser": {"class_path": "UNet3D", "init_args": {"base_channels": 2, "depth": 1}}
    },
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SceneCLI]:
    """Runs a command of the program on settings that stand in a file."""
    monkeypatch.setattr(sys, "argv", ["program"])

    def call(command: str, model: dict[str, Any], data: dict[str, Any], *more: str) -> SceneCLI:
        trainer: dict[str, Any] = {
            "accelerator": "cpu",
            "default_root_dir": str(tmp_path),
            "enable_model_summary": False,
            "enable_progress_bar": False,
            "logger": False,
            "max_steps": 2,
            "num_sanity_val_steps": 0,
            **{f"limit_{loader}_batches": 2 for loader in ("train", "val", "test", "predict")},
        }
        settings = {"seed_everything": False, "trainer": trainer, "model": model, "data": data}
        path = tmp_path / "given.yaml"
        path.write_text(yaml.safe_dump(settings))
        return SceneCLI([command, "--config", str(path), *more])

    return call


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Path]:
    """Folder of the catalogue's scenes, each a tiny one for the time of a test."""
    facts = [CATALOGUE[name] for name in PUBLISHED]
    for info in facts:
        register_scene(tiny(info), replace=True)
        write_published(tiny(info), tmp_path / "data" / info.name)
    yield tmp_path / "data"
    for info in facts:
        register_scene(info, replace=True)


def saved(folder: Path) -> str:
    """The checkpoint below a folder."""
    (path,) = folder.rglob("*.ckpt")
    return str(path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_scene_of_the_catalogue_is_fitted_and_tested(
    name: str, published: Path, tmp_path: Path, run: Callable[..., SceneCLI]
) -> None:
    settings: dict[str, Any] = {"root": str(published), "patch_size": 3, "batch_size": 8}
    data = {"class_path": scene_data_module(name).__name__, "init_args": settings}
    done = run("fit", CLASSIFIER, data)
    model = done.model
    assert isinstance(model, FeatureClassifierModule)
    info = CATALOGUE[name]
    assert model.class_names == list(info.class_names)
    assert model.hparams["in_channels"] == SHAPE[2]
    assert model.hparams["num_classes"] == info.num_classes
    assert model.hparams["patch_size"] == 3
    kind = "fixed" if name == "houston2013" else "fraction"
    assert done.datamodule.require_split().settings["kind"] == kind
    assert done.datamodule.task == "classify"

    tested = run("test", CLASSIFIER, data, "--ckpt_path", saved(tmp_path))
    assert "test/overall_accuracy" in tested.trainer.logged_metrics
    for before, after in zip(model.parameters(), tested.model.parameters(), strict=True):
        assert torch.equal(before, after)


def test_ones_own_files_are_fitted_and_tested(tmp_path: Path, run: Callable[..., SceneCLI]) -> None:
    np.save(tmp_path / "cube.npy", np.random.default_rng(0).normal(size=(16, 14, 5)))
    np.save(tmp_path / "labels.npy", np.arange(16 * 14).reshape(16, 14) % 4)
    settings = {
        "cube": str(tmp_path / "cube.npy"),
        "labels": str(tmp_path / "labels.npy"),
        "class_names": ["clay", "sand", "silt"],
        "split": 10,
        "patch_size": 3,
    }
    data = {"class_path": "CustomSceneDataModule", "init_args": settings}
    done = run("fit", CLASSIFIER, data)
    assert done.model.hparams["class_names"] == ["clay", "sand", "silt"]
    assert done.datamodule.require_split().settings["count"] == 10
    tested = run("test", CLASSIFIER, data, "--ckpt_path", saved(tmp_path))
    assert "test/accuracy/sand" in tested.trainer.logged_metrics


def test_pretraining_and_a_classifier_on_its_features(
    tmp_path: Path, run: Callable[..., SceneCLI]
) -> None:
    transform = {"class_path": "PCA", "init_args": {"components": 4, "whiten": True}}
    settings = {**SIMULATED, "patch_size": 4, "batch_size": 8, "transform": transform}
    scene = {"class_path": "SimulatedSceneDataModule", "init_args": {**settings, "split": 10}}
    done = run("fit", PRETRAINING, scene)
    assert isinstance(done.model, DiffusionPretrainModule)
    assert done.datamodule.task == "pretrain"
    assert done.model.hparams["num_bands"] == 4
    assert done.datamodule.hparams["transform"] == transform
    assert done.model.schedule.timesteps == 500
    pretrained = tmp_path / "pretrained.ckpt"
    Path(saved(tmp_path)).rename(pretrained)
    for command in ("validate", "test", "predict"):
        run(command, PRETRAINING, scene, "--ckpt_path", str(pretrained))

    features = {
        "class_path": "PretrainedFeaturesDataModule",
        "init_args": {
            "scene": scene,
            "pretrained": str(pretrained),
            "features": {"timesteps": [5, 50], "levels": [0], "noise": "fixed"},
            "reduction": {"components": 3, "per_timestep": True},
            "angles": True,
            "patch_size": 3,
        },
    }
    pretrained_on = done.datamodule
    learned = run("fit", CLASSIFIER, features)
    data = learned.datamodule
    assert isinstance(data, PretrainedFeaturesDataModule)
    for name, value in {"in_channels": 8, "timesteps": 2, "angles": True, "patch_size": 3}.items():
        assert learned.model.hparams[name] == value, name
    assert torch.equal(data.scene.cube, pretrained_on.cube)
    assert tuple(data.cube.shape) == (24, 20, 8)
    expected = done.model.extract_features(
        pretrained_on.cube, timesteps=(5, 50), levels=(0,), noise="fixed", reduction=data.reduction
    )
    np.testing.assert_allclose(data.cube[..., :6], expected.array, atol=1e-4)
    run("test", CLASSIFIER, features, "--ckpt_path", saved(tmp_path / "checkpoints"))


@pytest.mark.parametrize("split", ["10", 10, 0.1, "0.1"])
def test_a_split_in_yaml_may_be_text_or_a_number(
    split: str | float, run: Callable[..., SceneCLI]
) -> None:
    init_args = {**SIMULATED, "patch_size": 3, "split": split}
    data = {"class_path": "SimulatedSceneDataModule", "init_args": init_args}
    cli = run("fit", CLASSIFIER, data, "--trainer.max_steps=0")
    expected = SimulatedSceneDataModule(**SIMULATED, patch_size=3, split=str(split))
    expected.setup()
    assert cli.datamodule.require_split().train.tolist() == expected.require_split().train.tolist()


@pytest.mark.parametrize(
    "given",
    [["--data.transform=Standardise"], ["--data.transform=MNF", "--data.transform.components=3"]],
)
def test_a_transform_on_the_command_line(given: list[str], run: Callable[..., SceneCLI]) -> None:
    init_args = {**SIMULATED, "patch_size": 3, "split": 10}
    data = {"class_path": "SimulatedSceneDataModule", "init_args": init_args}
    cli = run("fit", CLASSIFIER, data, "--trainer.max_steps=0", *given)
    transform = cli.datamodule.transform
    assert type(transform).__name__ == given[0].partition("=")[2]
    assert cli.model.hparams["in_channels"] == transform.num_components


def test_overfitting_one_batch(run: Callable[..., SceneCLI]) -> None:
    init_args = {**SIMULATED, "patch_size": 3, "split": 10}
    data = {"class_path": "SimulatedSceneDataModule", "init_args": init_args}
    cli = run("fit", CLASSIFIER, data, "--trainer.overfit_batches=1")
    assert cli.trainer.global_step == 2


def all_settings(kind: type) -> set[str]:
    """Arguments of a class and, where it passes further ones on, of its bases."""
    names: set[str] = set()
    for one in kind.__mro__:
        if "__init__" not in vars(one):
            continue
        takes = inspect.signature(one.__init__).parameters.values()  # type: ignore[misc]
        names |= {p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind == p.VAR_KEYWORD for p in takes):
            break
    return names - {"self"}


NAMEABLE = [
    *(scene_data_module(name) for name in PUBLISHED),
    hsi_diffusion.modules.CustomSceneDataModule,
    SimulatedSceneDataModule,
    PretrainedFeaturesDataModule,
]


@pytest.mark.parametrize("kind", [*NAMEABLE, DiffusionPretrainModule, FeatureClassifierModule])
def test_help_lists_every_setting(
    kind: type, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["program"])
    group = "data" if issubclass(kind, PatchDataModule) else "model"
    with pytest.raises(SystemExit, match="0"):
        SceneCLI(["fit", f"--{group}.help={kind.__name__}"])
    told = capsys.readouterr().out
    linked = set() if group == "data" else set(SceneCLI.links)
    wanted = all_settings(kind) - linked
    assert len(wanted) > 7
    for name in wanted:
        assert f"--{group}.{name} " in told, name
        assert f"--{group}.{name}" in told.partition("Help for")[2], name


def test_a_registered_scene_has_a_data_module(tmp_path: Path, run: Callable[..., SceneCLI]) -> None:
    info = replace(tiny(CATALOGUE["pavia_university"]), name="my_own_town", title="My own town")
    register_scene(info)
    write_published(info, tmp_path)
    settings = {"root": str(tmp_path), "patch_size": 3}
    data = {"class_path": "hsi_diffusion.modules.MyOwnTownDataModule", "init_args": settings}
    cli = run("fit", CLASSIFIER, data, "--trainer.max_steps=0")
    assert type(cli.datamodule) is scene_data_module("my_own_town")
    assert cli.datamodule.info is info
    with pytest.raises(AttributeError, match="no attribute 'HisTownDataModule'"):
        _ = hsi_diffusion.modules.HisTownDataModule
