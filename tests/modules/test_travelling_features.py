"""What was fitted on a scene goes with the classifier that learned there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import pytest
import torch

from hsi_diffusion import (
    CustomSceneDataModule,
    DiffusionPretrainModule,
    FeatureClassifierModule,
    NoiseSchedule,
    PretrainedFeaturesDataModule,
    Reduction,
    SimulatedSceneDataModule,
    UNet2D,
    simulate_scene,
)
from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.features import FittedReduction
from hsi_diffusion.patches import MNF, transform_from_state
from tests.processes import start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hsi_diffusion.modules import PatchDataModule, SceneDataModule

SETTINGS: dict[str, Any] = {"patch_size": 3, "split": "5", "transform": partial(MNF, 4)}


def first() -> SimulatedSceneDataModule:
    return SimulatedSceneDataModule(24, 20, 16, 3, **SETTINGS)


def second(**settings: Any) -> CustomSceneDataModule:
    """Another image of the sensor."""
    scene = simulate_scene(22, 18, 16, 3, image=1)
    names = scene.info.class_names
    given = SETTINGS | {"class_names": names} | settings
    return CustomSceneDataModule(0.8 * scene.cube, scene.labels, **given)


@pytest.fixture(scope="module")
def pretrained() -> DiffusionPretrainModule:
    torch.manual_seed(0)
    module = DiffusionPretrainModule(
        4, denoiser=partial(UNet2D, channels=4), schedule=NoiseSchedule(50), prediction="x0"
    )
    data = first()
    data.setup()
    module.learns(data)
    return module


def features(
    scene: SceneDataModule, pretrained: Any, **settings: Any
) -> PretrainedFeaturesDataModule:
    given = {"features": {"timesteps": (5, 20)}, "reduction": Reduction(3), "patch_size": 3}
    return PretrainedFeaturesDataModule(scene, pretrained, **{**given, **settings})


def classifier(channels: int) -> FeatureClassifierModule:
    torch.manual_seed(0)
    return FeatureClassifierModule(channels, 3, 3, classifier="CNN2D")


@pytest.mark.parametrize("per_timestep", [False, True])
def test_a_fitted_reduction_is_offered_and_taken(
    pretrained: DiffusionPretrainModule, per_timestep: bool
) -> None:
    one = features(first(), pretrained, reduction=Reduction(3, per_timestep=per_timestep))
    channels = one.num_bands
    one.setup()
    fitted = one.reduction
    assert isinstance(fitted, FittedReduction)
    assert one.num_bands == one.cube.shape[2] == channels == (6 if per_timestep else 3)
    other = features(second(), pretrained, reduction=fitted)
    assert (other.num_bands, other.timesteps) == (channels, one.timesteps)
    other.setup()
    assert other.reduction is fitted
    scene = second()
    scene.use_transform(first_transform(pretrained))
    raw = pretrained.extract_features(scene.cube, timesteps=(5, 20)).array
    np.testing.assert_allclose(other.cube.numpy(), fitted(raw), atol=1e-5)
    own = features(second(), pretrained, reduction=fitted.settings)
    own.setup()
    assert not torch.allclose(own.cube, other.cube, atol=0.1)


def first_transform(pretrained: DiffusionPretrainModule) -> Any:
    assert pretrained.transform is not None
    return pretrained.transform


def test_a_reduction_of_other_timesteps_is_refused(pretrained: DiffusionPretrainModule) -> None:
    one = features(first(), pretrained, reduction=Reduction(3, per_timestep=True))
    one.setup()
    with pytest.raises(ConfigurationError, match=r"features of 1 timesteps.*but was on 2: give"):
        features(second(), pretrained, reduction=one.reduction, features={"timesteps": (5,)})


@pytest.mark.parametrize("by", ["module", "load_from_checkpoint", "ckpt_path"])
@pytest.mark.parametrize("set_up", [False, True])
@pytest.mark.parametrize("of", ["bands", "features"])
def test_another_image_is_seen_as_the_first_one(
    of: str,
    set_up: bool,
    by: str,
    pretrained: DiffusionPretrainModule,
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    def data(scene: SceneDataModule, **settings: Any) -> Any:
        return scene if of == "bands" else features(scene, pretrained, **settings)

    one: PatchDataModule = data(first())
    module = classifier(one.num_bands)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, one)
    kept = module.transform if of == "bands" else module.reduction
    assert kept is getattr(one, "transform" if of == "bands" else "reduction")
    assert (module.transform is None) == (of == "features")
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    if by == "load_from_checkpoint":
        module = FeatureClassifierModule.load_from_checkpoint(path)
    elif by == "ckpt_path":
        module = classifier(one.num_bands)
    given = {"transform": kept} if of == "bands" else {}
    expected = data(second(**given), **({"reduction": kept} if of == "features" else {}))
    expected.setup()
    for task in ("test", "validate", "predict", "fit"):
        other = data(second())
        if set_up:
            other.setup()
            assert not torch.allclose(other.cube, expected.cube, atol=1e-3)
        more = {"ckpt_path": path} if by == "ckpt_path" else {}
        getattr(quiet_trainer(max_steps=1), task)(module, other, **more)
        torch.testing.assert_close(other.cube, expected.cube)


def test_features_are_not_computed_again_for_the_same_reduction(
    pretrained: DiffusionPretrainModule,
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    one = features(first(), pretrained)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(classifier(3), one)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    cube = one.cube
    module = FeatureClassifierModule.load_from_checkpoint(tmp_path / "last.ckpt")
    quiet_trainer().test(module, one, verbose=False)
    assert one.cube is cube


def test_raw_patches_of_another_sensor_are_refused(
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    waves = np.linspace(400, 2400, 16)
    module = classifier(4)
    quiet_trainer(max_steps=1).fit(module, second(wavelengths=waves.tolist()))
    other = second(wavelengths=(waves + 10).tolist())
    with pytest.raises(SceneError, match=r"on which this classifier was fitted, but 16 bands"):
        quiet_trainer().test(module, other, verbose=False)


def train_in_forked_processes(path: Path) -> None:
    """Trains both modules in processes that end, and saves what the main one has of them then."""
    settings: dict[str, Any] = {
        "accelerator": "cpu", "devices": 2, "strategy": "ddp_fork", "max_steps": 1,
        "enable_checkpointing": False, "enable_progress_bar": False, "logger": False,
        "enable_model_summary": False, "num_sanity_val_steps": 0, "default_root_dir": path.parent,
    }  # fmt: skip
    torch.manual_seed(0)
    denoiser = DiffusionPretrainModule(4, denoiser=partial(UNet2D, channels=4))
    scene = second(wavelengths=np.linspace(400, 2400, 16).tolist())
    L.Trainer(**settings).fit(denoiser, scene)
    module = classifier(3)
    before = module.state_dict().keys()
    L.Trainer(**settings).fit(module, features(scene, denoiser))
    assert module.state_dict().keys() == before
    transform = first_transform(denoiser).state_dict()
    torch.save([transform, denoiser.wavelengths, module.fitted_state()], path)


def test_what_processes_that_ended_have_fitted_is_in_the_main_one(tmp_path: Path) -> None:
    path = tmp_path / "main.pt"
    process = start(train_in_forked_processes, path)
    process.join(timeout=120)
    assert process.exitcode == 0
    transform, wavelengths, state = torch.load(path, weights_only=True)
    scene = second()
    scene.setup()
    found = transform_from_state(transform).transform(scene.scene.cube)
    np.testing.assert_allclose(found, scene.cube, rtol=1e-4, atol=1e-4)
    assert wavelengths == pytest.approx(np.linspace(400, 2400, 16))
    assert state["reduction"]["settings"]["components"] == 3
    module = classifier(3)
    module.take_fitted(state)
    assert module.reduction is not None
    assert module.reduction.settings == Reduction(3)


def test_weights_alone_bring_no_transform(quiet_trainer: Callable[..., L.Trainer]) -> None:
    module, other = classifier(4), classifier(4)
    quiet_trainer(max_steps=1).fit(module, first())
    other.load_state_dict(module.state_dict())
    assert module.transform is not None
    assert other.transform is None


class Own(UNet2D):
    """A denoiser of a user's own."""


class OwnSchedule(NoiseSchedule):
    """A noise schedule of a user's own."""


def test_a_checkpoint_of_ones_own_parts_is_read_with_them(
    quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    parts: dict[str, Any] = {"denoiser": partial(Own, channels=4), "schedule": OwnSchedule(40)}
    module = DiffusionPretrainModule(4, **parts)
    trainer, path = quiet_trainer(max_steps=1), tmp_path / "own.ckpt"
    trainer.fit(module, first())
    trainer.save_checkpoint(path)
    for name, part in parts.items():
        with pytest.raises(ConfigurationError, match=rf"give the object, {name}="):
            features(first(), path, **parts | {name: None}).setup()
        with pytest.raises(ConfigurationError, match=f"{name} must be None where pretrained is a"):
            features(first(), module, **{name: part})
    data = features(first(), path, **parts)
    data.setup()
    expected = features(first(), module)
    expected.setup()
    assert torch.equal(data.cube, expected.cube)
