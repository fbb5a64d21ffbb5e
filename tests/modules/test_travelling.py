"""The band transform goes with the module that learned with it."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch

from hsi_diffusion import (
    CustomSceneDataModule,
    DiffusionPretrainModule,
    NoiseSchedule,
    PretrainedFeaturesDataModule,
    SimulatedSceneDataModule,
    UNet3D,
    simulate_scene,
)
from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.patches import MNF

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import lightning as L

    from hsi_diffusion.modules import SceneDataModule

SETTINGS: dict[str, Any] = {
    "task": "pretrain", "patch_size": 6, "batch_size": 8, "samples_per_epoch": 16,
    "holdout": 0.2, "transform": partial(MNF, 4), "split": "5",
}  # fmt: skip


def first() -> SimulatedSceneDataModule:
    return SimulatedSceneDataModule(24, 20, 16, 3, **SETTINGS)


def second(bands: int = 16, **settings: Any) -> CustomSceneDataModule:
    """Another image of the sensor, as a data module of another class."""
    scene = simulate_scene(22, 18, bands, 3, seed=5)
    return CustomSceneDataModule(0.8 * scene.cube, scene.labels, **SETTINGS, **settings)


def build(**settings: Any) -> DiffusionPretrainModule:
    torch.manual_seed(0)
    return DiffusionPretrainModule(
        4,
        denoiser=partial(UNet3D, base_channels=2, depth=1),
        schedule=NoiseSchedule(50),
        prediction="x0",
        learning_rate=1e-2,
        **settings,
    )


@pytest.fixture
def fitted(quiet_trainer: Callable[..., L.Trainer]) -> tuple[DiffusionPretrainModule, L.Trainer]:
    module, data = build(), first()
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, data)
    assert module.transform is data.transform
    return module, trainer


def expected_cube(data: SceneDataModule) -> np.ndarray[Any, Any]:
    """The second image in the space of the first one's components."""
    return MNF(4).fit(first().scene.cube).transform(data.scene.cube)


@pytest.mark.parametrize("set_up", [False, True])
@pytest.mark.parametrize("task", ["validate", "test", "predict", "fit"])
def test_another_image_is_seen_through_the_modules_transform(
    fitted: tuple[DiffusionPretrainModule, L.Trainer],
    quiet_trainer: Callable[..., L.Trainer],
    task: str,
    set_up: bool,
) -> None:
    module, other = fitted[0], second()
    if set_up:
        other.setup()
    kept = module.transform
    getattr(quiet_trainer(max_epochs=1), task)(module, other)
    assert module.transform is other.transform is kept
    np.testing.assert_allclose(other.cube.numpy(), expected_cube(other), rtol=1e-4, atol=1e-4)


def test_nothing_is_fitted(
    fitted: tuple[DiffusionPretrainModule, L.Trainer],
    quiet_trainer: Callable[..., L.Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = second()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a transform was fitted")

    monkeypatch.setattr(type(other.transform), "fit", refuse)
    quiet_trainer().predict(fitted[0], other)


@pytest.mark.parametrize("by", ["load_from_checkpoint", "ckpt_path"])
def test_a_checkpoint_brings_it(
    fitted: tuple[DiffusionPretrainModule, L.Trainer],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
    by: str,
) -> None:
    module, trainer = fitted
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    other, path = second(), None
    if by == "ckpt_path":
        loaded, path = build(), tmp_path / "last.ckpt"
    else:
        loaded = DiffusionPretrainModule.load_from_checkpoint(tmp_path / "last.ckpt")
    trainer = quiet_trainer()
    found = cast("Any", trainer.predict(loaded, other, ckpt_path=path))
    assert loaded.transform is not None
    np.testing.assert_allclose(other.cube.numpy(), expected_cube(other), rtol=1e-4, atol=1e-4)
    expected = cast("Any", quiet_trainer().predict(module, second()))
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one["restored"], two["restored"], rtol=1e-4, atol=1e-4)


def test_a_scene_of_another_sensor_is_refused(
    fitted: tuple[DiffusionPretrainModule, L.Trainer], quiet_trainer: Callable[..., L.Trainer]
) -> None:
    with pytest.raises(ConfigurationError, match=r"fitted on 16 bands .* has 12"):
        quiet_trainer().predict(fitted[0], second(bands=12))
    waves = np.linspace(400, 2490, 16).tolist()
    message = (
        r"wavelengths of 480 pixels \(all pixels of simulated\), on which this denoiser .* 14 b"
    )
    for task in ("predict", "fit"):
        with pytest.raises(SceneError, match=message):
            getattr(quiet_trainer(), task)(fitted[0], second(wavelengths=waves))
    scene = second(wavelengths=waves)
    features = PretrainedFeaturesDataModule(scene, fitted[0], features={"timesteps": [5]})
    with pytest.raises(SceneError, match=message):
        features.setup()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"features": {"timestep": [5]}},
            r"features\.timestep; .* did you mean features\.timesteps",
        ),
        ({"features": {"tile": "8"}}, r"features\.tile must be of type int, got '8'"),
        ({"reduction": {"component": 3}}, r"reduction\.component; .* reduction\.components"),
        ({"reduction": {"whiten": True}}, r"reduction\.components must be given"),
    ],
)
def test_wrong_settings_of_features_are_named(settings: dict[str, Any], message: str) -> None:
    module = build()
    with pytest.raises(ConfigurationError, match=message):
        PretrainedFeaturesDataModule(first(), module, **settings)
    if "features" in settings:
        for ask in (module.extract_features, module.restore):
            with pytest.raises(ConfigurationError, match=message):
                ask(torch.zeros(4, 4, 4), **settings["features"])


def test_the_test_is_the_denoising_loss_on_the_test_pixels(
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    module, data = build(losses={"l1": 0.5, "l2": 0.5}), first()
    (figures,) = quiet_trainer().test(module, data, verbose=False)
    assert set(figures) == {"test/loss", "test/l1", "test/l2"}
    (again,) = quiet_trainer().test(module, data, verbose=False)
    assert again == figures
    data.eval_batch_size = 7
    (small,) = quiet_trainer().test(module, data, verbose=False)
    assert small["test/loss"] == pytest.approx(figures["test/loss"], rel=1e-5)


@pytest.mark.parametrize("prediction", ["x0", "noise"])
def test_prediction_is_the_restored_spectrum(
    quiet_trainer: Callable[..., L.Trainer], prediction: Any
) -> None:
    torch.manual_seed(0)
    module = DiffusionPretrainModule(
        4, denoiser=partial(UNet3D, base_channels=2, depth=1), schedule=NoiseSchedule(50),
        prediction=prediction,
    )  # fmt: skip
    data = first()
    batches = cast("Any", quiet_trainer().predict(module, data))
    index = torch.cat([batch["index"] for batch in batches])
    restored = torch.cat([batch["restored"] for batch in batches])
    assert index.tolist() == list(range(24 * 20))
    assert restored.shape == (24 * 20, 4)
    # a pixel from the middle, by hand
    module.eval()
    pixel = 12 * 20 + 10
    patch = data.cube[9:15, 7:13].permute(2, 0, 1)[None]
    scale = module.schedule.alpha_bar(5) ** 0.5
    with torch.no_grad():
        output = module.denoiser(scale * patch, torch.tensor([5]))[0, :, 3, 3]
    if prediction == "noise":
        noise = (1 - module.schedule.alpha_bar(5)) ** 0.5
        output = (scale * data.cube[12, 10] - noise * output) / scale
    torch.testing.assert_close(restored[pixel], output, rtol=1e-4, atol=1e-5)


def test_an_average_is_no_reason_to_warn(quiet_trainer: Callable[..., L.Trainer]) -> None:
    module, data = build(ema_decay=0.9), first()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*in eval mode.*")
        quiet_trainer(max_steps=1, num_sanity_val_steps=1).fit(module, data)
        module.extract_features(data.cube, timesteps=(5,))
        assert not module.trained_denoiser.training
        quiet_trainer(max_steps=1).fit(module, data)
    assert not module.trained_denoiser.training
    assert not any(weight.requires_grad for weight in module.trained_denoiser.parameters())
