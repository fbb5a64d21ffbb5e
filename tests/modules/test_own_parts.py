"""Parts of a user's own: written in a folder outside of the library, used in Python and in YAML."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from hsi_diffusion import (
    DiffusionPretrainModule,
    FeatureClassifierModule,
    NoiseSchedule,
    SimulatedSceneDataModule,
    UNet3D,
)
from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.modules.lightning_cli import SceneCLI
from hsi_diffusion.patches import Compose, Gain, build_augmentation, build_two_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import lightning as L

    from hsi_diffusion.patches.augment import Augmentation

DENOISER = """\
import torch
from hsi_diffusion import Denoiser, FeatureLevel


class MyDenoiser(Denoiser):
    def __init__(self, num_bands, width=16):
        levels = [FeatureLevel("hidden", width, radius=1)]
        super().__init__(num_bands, feature_info=levels, radius=1)
        self.time = torch.nn.Embedding(1000, width)
        self.conv = torch.nn.Conv2d(num_bands, width, 3, padding=1)
        self.head = torch.nn.Conv2d(width, num_bands, 1)

    def forward_levels(self, x_t, t, indices, *, output):
        hidden = (self.conv(x_t) + self.time(t)[:, :, None, None]).relu()
        return self.head(hidden) if output else None, [hidden] * len(indices)
"""

NETWORK = """\
import torch


class MyNet(torch.nn.Module):
    def __init__(self, in_channels, num_classes, patch_size, width=8):
        super().__init__()
        self.hidden = torch.nn.Linear(in_channels * patch_size**2, width)
        self.head = torch.nn.Linear(width, num_classes)

    def forward(self, image):
        return self.head(self.hidden(image.flatten(1)).relu())
"""


class Centred(torch.nn.Module):
    """Classifies by the centre pixel."""

    def __init__(self, in_channels: int, num_classes: int, patch_size: int) -> None:
        super().__init__()
        self.head = torch.nn.Linear(in_channels, num_classes)
        self.centre = patch_size // 2

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(image[:, :, self.centre, self.centre])
        return logits


SCENE: dict[str, Any] = {"height": 24, "width": 20, "bands": 16, "num_classes": 4}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's own, in a folder outside of the repository."""
    assert not tmp_path.is_relative_to(Path(__file__).parents[2])
    (tmp_path / "my_parts.py").write_text(DENOISER + "\n\n" + NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_parts")
    del sys.modules["my_parts"]


def pretraining_data() -> SimulatedSceneDataModule:
    return SimulatedSceneDataModule(
        **SCENE, task="pretrain", patch_size=8, batch_size=8, samples_per_epoch=32, holdout=0.2
    )


def save(trainer: L.Trainer, path: Path) -> dict[str, Any]:
    trainer.save_checkpoint(path)
    stored: dict[str, Any] = torch.load(path, weights_only=True)
    return stored


def test_a_denoiser_of_ones_own_is_short() -> None:
    assert len(DENOISER.splitlines()) <= 20


def brighter(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An augmentation of a user's own."""
    return images + torch.rand((), generator=generator)


@pytest.mark.parametrize("given", [brighter, Compose((Gain(0.1), brighter))])
def test_an_own_augmentation(
    given: Augmentation, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    weights = []
    for augmentation in (given, given, None):
        torch.manual_seed(0)
        module = FeatureClassifierModule(
            16, 4, patch_size=5, classifier=Centred, augmentation=augmentation
        )
        data = SimulatedSceneDataModule(**SCENE, split="10", patch_size=5, batch_size=8)
        trainer = quiet_trainer(max_epochs=1)
        trainer.fit(module, data)
        weights.append([weight.clone() for weight in module.parameters()])
    pairs = [zip(weights[0], others, strict=True) for others in weights[1:]]
    assert all(torch.equal(*pair) for pair in pairs[0]), "drawn from the named place"
    assert not all(torch.equal(*pair) for pair in pairs[1])

    pretraining = DiffusionPretrainModule(16, denoiser="PixelDenoiser", augmentation=given)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(pretraining, pretraining_data())
    save(trainer, tmp_path / "own.ckpt")
    with pytest.raises(ConfigurationError, match=r"augmentation was an object of class .*=\.\.\."):
        DiffusionPretrainModule.load_from_checkpoint(tmp_path / "own.ckpt")
    loaded = DiffusionPretrainModule.load_from_checkpoint(tmp_path / "own.ckpt", augmentation=given)
    assert loaded.augment is given


def test_own_augmentations_beside_those_of_the_library(
    quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    images, places = torch.rand(4, 16, 8, 8), (torch.Generator().manual_seed(3) for _ in range(3))
    together = build_augmentation({"own": brighter, "gain": 0.1})(images, next(places))
    place = next(places)
    assert torch.equal(together, brighter(Gain(0.1)(images, place), place)), "the library's first"
    views = build_two_views({"dihedral": 1.0, "own": brighter})(torch.zeros(1, 2, 4, 4), place)
    assert not torch.equal(*views), "each view has a draw of its own"

    given: dict[str, Any] = {"gain": 0.1, "own": brighter}
    contrast = {"instance": 0.1, "cluster": 0, "cell": 0, "augmentation": given}
    module = DiffusionPretrainModule(
        16, denoiser="PixelDenoiser", augmentation=given, contrast=contrast
    )
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, pretraining_data())
    save(trainer, tmp_path / "own.ckpt")
    parts: tuple[dict[str, Any], ...] = ({"augmentation": given}, {"contrast": contrast})
    for part in parts:
        with pytest.raises(ConfigurationError, match=r"augmentation\['own'\] was an object of"):
            DiffusionPretrainModule.load_from_checkpoint(tmp_path / "own.ckpt", **part)
    loaded = DiffusionPretrainModule.load_from_checkpoint(
        tmp_path / "own.ckpt", augmentation=given, contrast=contrast
    )
    assert loaded.extract_features(torch.zeros(4, 4, 16), timesteps=(5,)).array.shape[:2] == (4, 4)
    with pytest.raises(ConfigurationError, match="a name of its own, got 'gain'"):
        build_augmentation({"gain": brighter})


def angle(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A loss of a user's own: one minus the cosine of the spectral angle."""
    return 1 - torch.nn.functional.cosine_similarity(output, target).mean()


@pytest.mark.parametrize("own", [angle, torch.nn.SmoothL1Loss()])
def test_an_own_loss(
    own: Callable[..., torch.Tensor], quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    losses: dict[str, Any] = {"l1": 0.5, "own": own}
    module = DiffusionPretrainModule(16, denoiser="PixelDenoiser", losses=losses)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, pretraining_data())
    shown = {name: float(trainer.callback_metrics[f"val/{name}"]) for name in module.loss.names}
    assert shown["loss"] == pytest.approx(0.5 * shown["l1"] + shown["own"], rel=1e-5)
    save(trainer, tmp_path / "own.ckpt")
    loaded = DiffusionPretrainModule.load_from_checkpoint(tmp_path / "own.ckpt")
    assert loaded.extract_features(torch.zeros(4, 4, 16), timesteps=(5,)).array.shape[:2] == (4, 4)
    with pytest.raises(ConfigurationError, match=r"losses\['own'\] was an object of class"):
        quiet_trainer().validate(loaded, pretraining_data(), verbose=False)
    loaded = DiffusionPretrainModule.load_from_checkpoint(tmp_path / "own.ckpt", losses=losses)
    quiet_trainer().validate(loaded, pretraining_data(), verbose=False)
    with pytest.raises(ConfigurationError, match="a name of its own, got 'l2'"):
        DiffusionPretrainModule(16, denoiser="PixelDenoiser", losses={"l2": own})


@pytest.mark.parametrize("form", ["class", "object", "partial"])
def test_an_own_denoiser(
    own: Any, form: str, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    given = {
        "class": own.MyDenoiser,
        "object": own.MyDenoiser(16),
        "partial": partial(own.MyDenoiser, width=16),
    }[form]
    data = pretraining_data()
    module = DiffusionPretrainModule(16, denoiser=given, ema_decay=0.5, contrast={"cell": 4,
                                     "shift": 2})  # fmt: skip
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, data)
    stored = save(trainer, tmp_path / "own.ckpt")
    noted = stored["hyper_parameters"]["denoiser"]
    assert noted == {"foreign_class": "my_parts.MyDenoiser", "init_args": {"width": 16}}

    with pytest.raises(ConfigurationError, match=r"my_parts\.MyDenoiser.*denoiser=\.\.\."):
        DiffusionPretrainModule.load_from_checkpoint(tmp_path / "own.ckpt")
    narrow = partial(own.MyDenoiser, width=8)
    with pytest.raises(CheckpointError, match="with width=16, got width=8"):
        DiffusionPretrainModule.load_from_checkpoint(tmp_path / "own.ckpt", denoiser=narrow)
    loaded = DiffusionPretrainModule.load_from_checkpoint(
        tmp_path / "own.ckpt", denoiser=own.MyDenoiser
    )
    assert loaded.transform is not None
    features = loaded.extract_features(data.cube, timesteps=(5, 100), tile=7)
    assert features.array.shape == (24, 20, 2 * 16)
    expected = module.extract_features(data.cube, timesteps=(5, 100))
    torch.testing.assert_close(torch.as_tensor(features.array), torch.as_tensor(expected.array))


@pytest.mark.parametrize("task", ["pretrain", "classify"])
def test_a_class_that_needs_more_arguments_says_how_to_give_them(own: Any, task: str) -> None:
    class Extra(own.MyDenoiser if task == "pretrain" else own.MyNet):  # type: ignore[misc]
        def __init__(self, *sizes: int, kernel: int) -> None:
            super().__init__(*sizes)
            self.kernel = kernel

    def build(part: Any) -> Any:
        if task == "pretrain":
            return DiffusionPretrainModule(16, denoiser=part).denoiser
        return FeatureClassifierModule(16, 4, 3, classifier=part).classifier

    assert build(partial(Extra, kernel=3)).kernel == 3
    for given in (Extra, partial(Extra)):
        message = r"Extra can't be called with \d arg.* 'kernel'; .*functools\.partial.* init_args"
        with pytest.raises(ConfigurationError, match=message):
            build(given)
    with pytest.raises(
        ConfigurationError, match=r"<lambda> can't be called with \d arg.*: too many"
    ):
        build(lambda: None)


def test_an_own_network(own: Any, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path) -> None:
    data = SimulatedSceneDataModule(**SCENE, patch_size=3, batch_size=16, split="10")
    module = FeatureClassifierModule(16, 4, 3, classifier=own.MyNet(16, 4, 3))
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, data)
    save(trainer, tmp_path / "own.ckpt")
    with pytest.raises(ConfigurationError, match=r"my_parts\.MyNet.*classifier=\.\.\."):
        FeatureClassifierModule.load_from_checkpoint(tmp_path / "own.ckpt")
    loaded = FeatureClassifierModule.load_from_checkpoint(
        tmp_path / "own.ckpt", classifier=own.MyNet
    )
    image = torch.randn(2, 16, 3, 3)
    assert torch.equal(loaded.eval()(image), module.eval()(image))
    members = FeatureClassifierModule(16, 4, 3, classifier=own.MyNet, members=2)
    assert members(image).shape == (2, 4)


def test_an_own_optimiser_and_schedule(
    quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    halve = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    module = DiffusionPretrainModule(
        16,
        denoiser=partial(UNet3D, base_channels=2, depth=1),
        schedule=NoiseSchedule(50),
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.5),
        lr_scheduler=halve,
    )
    data = pretraining_data()
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, data)
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 4)  # once per epoch
    stored = save(trainer, tmp_path / "own.ckpt")
    assert stored["hyper_parameters"]["optimizer"] == {"foreign_class": "torch.optim.sgd.SGD"}

    loaded = DiffusionPretrainModule.load_from_checkpoint(tmp_path / "own.ckpt")
    assert loaded.hparams == module.hparams
    quiet_trainer().validate(loaded, data, verbose=False)
    with pytest.raises(ConfigurationError, match=r"trained with optimizer torch\.optim\.sgd\.SGD"):
        quiet_trainer(max_epochs=1).fit(loaded, data)
    loaded = DiffusionPretrainModule.load_from_checkpoint(
        tmp_path / "own.ckpt", optimizer=torch.optim.SGD, lr_scheduler=halve
    )
    quiet_trainer(max_epochs=1).fit(loaded, data)


def test_an_own_optimiser_goes_with_the_librarys_schedule(
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    module = FeatureClassifierModule(
        16, 4, 3, classifier="CNN1D", optimizer=partial(torch.optim.SGD, lr=0.1),
        lr_schedule="cosine",
    )  # fmt: skip
    data = SimulatedSceneDataModule(**SCENE, patch_size=3, batch_size=16, split="10")
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, data)
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("task", ["pretrain", "classify"])
def test_own_parts_in_yaml(own: Any, task: str, tmp_path: Path) -> None:
    part = (
        {"denoiser": {"class_path": "my_parts.MyDenoiser", "init_args": {"width": 12}},
         "schedule": {"class_path": "NoiseSchedule", "init_args": {"timesteps": 40}}}
        if task == "pretrain"
        else {"classifier": {"class_path": "my_parts.MyNet", "init_args": {"width": 12}}}
    )  # fmt: skip
    optimizer = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}}
    module = {"pretrain": "DiffusionPretrainModule", "classify": "FeatureClassifierModule"}[task]
    config = {
        "model": {"class_path": module, "init_args": {**part, "optimizer": optimizer}},
        "data": {
            "class_path": "SimulatedSceneDataModule",
            "init_args": {**SCENE, "patch_size": 5, "batch_size": 64, "split": 10},
        },
        "trainer": {
            "accelerator": "cpu", "max_steps": 2, "logger": False,
            "enable_progress_bar": False, "enable_model_summary": False,
            "default_root_dir": str(tmp_path),
        },
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    cli = SceneCLI(["fit", "--config", str(path)])
    assert isinstance(cli.trainer.optimizers[0], torch.optim.SGD)
    model = cli.model
    if task == "pretrain":
        assert isinstance(model, DiffusionPretrainModule)
        assert isinstance(model.denoiser, own.MyDenoiser)
        assert model.schedule.timesteps == 40
        assert model.hparams["denoiser"] == {
            "foreign_class": "my_parts.MyDenoiser",
            "init_args": {"width": 12},
        }
    else:
        assert isinstance(model, FeatureClassifierModule)
        assert isinstance(model.classifier, own.MyNet)
    shapes = {tuple(weight.shape) for weight in model.parameters()}
    assert (12,) in shapes
    assert model.hparams["optimizer"] == {"foreign_class": "torch.optim.sgd.SGD"}
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    stored = torch.load(checkpoint, weights_only=True)["hyper_parameters"]
    assert "_instantiator" not in stored
    assert "_class_path" not in stored


def test_a_network_in_yaml_is_told_the_timesteps_of_the_data() -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(FeatureClassifierModule, "model")
    settings = {"in_channels": 8, "num_classes": 3, "patch_size": 3, "timesteps": 4}
    network = {"class_path": "FusionClassifier", "init_args": {"dim": 16}}
    config = parser.parse_object(
        {"model": {"class_path": "FeatureClassifierModule",
                   "init_args": {**settings, "classifier": network}}}
    )  # fmt: skip
    module = parser.instantiate(config).model
    assert module.classifier.init_args["timesteps"] == 4
    assert module.hparams["classifier"]["init_args"]["dim"] == 16
    assert "timesteps" not in module.hparams["classifier"]["init_args"]


def test_a_librarys_part_in_yaml_makes_a_checkpoint_that_loads_by_itself(tmp_path: Path) -> None:
    cli = SceneCLI([
        "fit", "--model=DiffusionPretrainModule", "--model.denoiser=UNet2D",
        "--model.denoiser.channels=8", "--model.schedule.timesteps=30",
        "--data=SimulatedSceneDataModule",
        *(f"--data.{name}={value}" for name, value in SCENE.items()),
        "--data.patch_size=8", "--trainer.accelerator=cpu", "--trainer.max_steps=1",
        "--trainer.logger=false", "--trainer.enable_progress_bar=false",
        f"--trainer.default_root_dir={tmp_path}",
    ])  # fmt: skip
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    loaded = DiffusionPretrainModule.load_from_checkpoint(checkpoint)
    assert loaded.hparams == cli.model.hparams
    assert loaded.schedule.timesteps == 30
    assert loaded.denoiser.feature_info[-1].channels == 8
