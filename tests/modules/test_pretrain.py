from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from hsi_diffusion import (
    DiffusionPretrainModule,
    NoiseSchedule,
    SimulatedSceneDataModule,
    UNet3D,
)
from hsi_diffusion.denoisers import Denoiser, FeatureLevel
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.modules.optimisation import ExponentialAverage, learning_rate_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import lightning as L

SMALL: dict[str, Any] = {
    "denoiser": partial(UNet3D, base_channels=2, depth=1),
    "schedule": NoiseSchedule(50),
}


@pytest.fixture
def data(small_scene: Callable[..., SimulatedSceneDataModule]) -> SimulatedSceneDataModule:
    return small_scene(
        task="pretrain", patch_size=8, batch_size=8, samples_per_epoch=32, holdout=0.1
    )


def build(**settings: Any) -> DiffusionPretrainModule:
    torch.manual_seed(0)
    return DiffusionPretrainModule(16, **{**SMALL, **settings})


@pytest.mark.parametrize("prediction", ["noise", "x0", "v"])
@pytest.mark.parametrize("losses", [{"l1": 1.0}, {"l1": 0.5, "l2": 0.5}])
def test_learns(
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    prediction: str,
    losses: dict[str, float],
) -> None:
    module = build(prediction=prediction, losses=losses, learning_rate=1e-2)
    trainer = quiet_trainer(max_epochs=1)
    (before,) = trainer.validate(module, data, verbose=False)
    quiet_trainer(max_epochs=12).fit(module, data)
    (after,) = trainer.validate(module, data, verbose=False)
    assert set(after) == {"val/loss", *(f"val/{name}" for name in losses)}
    assert after["val/loss"] < 0.9 * before["val/loss"]
    total = sum(weight * after[f"val/{name}"] for name, weight in losses.items())
    assert after["val/loss"] == pytest.approx(total, rel=1e-5)


def test_validation_noise_is_fixed_and_independent_of_the_batch(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    module = build()
    (first,) = quiet_trainer().validate(module, data, verbose=False)
    data.eval_batch_size = 1
    (second,) = quiet_trainer().validate(module, data, verbose=False)
    assert first["val/loss"] == pytest.approx(second["val/loss"], rel=1e-5)


# 4 steps make an epoch: after its end, in its middle, after its first and its last step
@pytest.mark.parametrize("steps_before", [4, 6, 8, 9])
@pytest.mark.parametrize("workers", [0, 1])
def test_resume_is_bit_exact(
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
    steps_before: int,
    workers: int,
) -> None:
    data.num_workers = workers
    settings: dict[str, Any] = {
        "ema_decay": 0.9,
        "lr_schedule": "cosine",
        "augmentation": {"dihedral": 1.0},
    }
    whole = build(**settings)
    keep = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    quiet_trainer(max_epochs=3, callbacks=[keep], enable_checkpointing=True).fit(whole, data)

    torch.manual_seed(99)  # what the global generators hold must not matter
    resumed = build(**settings)
    data.transform = type(data.transform)()
    quiet_trainer(max_epochs=3).fit(
        resumed, data, ckpt_path=tmp_path / f"step={steps_before}.ckpt", weights_only=True
    )
    pairs = zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(value, other) for (_, value), other in pairs)


@pytest.mark.parametrize(
    "length", [{"max_epochs": 3}, {"max_steps": 12, "max_epochs": -1}], ids=["epochs", "steps"]
)
@pytest.mark.parametrize("limit", [1.0, 3], ids=["whole", "limited"])
def test_resume_after_an_epoch_is_bit_exact(
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
    length: dict[str, int],
    limit: float,
) -> None:
    trainer = partial(quiet_trainer, **length, limit_train_batches=limit)
    whole = build(ema_decay=0.9)
    keep = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_epochs=1)
    trainer(callbacks=[keep], enable_checkpointing=True).fit(whole, data)
    first, second, *_ = sorted(tmp_path.glob("*.ckpt"), key=lambda path: len(path.name))
    again = ModelCheckpoint(tmp_path / "again", "{step}", save_top_k=-1, every_n_epochs=1)
    trainer(callbacks=[again], enable_checkpointing=True).fit(
        build(ema_decay=0.9), data, ckpt_path=first, weights_only=True
    )
    resumed = build(ema_decay=0.9)  # a second time, from what the resumed one has written
    trainer().fit(resumed, data, ckpt_path=tmp_path / "again" / second.name, weights_only=True)
    pairs = zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(value, other) for (_, value), other in pairs)


def test_the_average_counts_steps_and_not_batches(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    module = build(ema_decay=0.9)
    trainer = quiet_trainer(max_epochs=2, accumulate_grad_batches=2)
    trainer.fit(module, data)
    assert module.average is not None
    assert trainer.global_step == 4
    assert int(module.average.updates) == 4


def test_checkpoint_loads_with_weights_only(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    module = build(ema_decay=0.9, losses={"l2": 1.0})
    trainer = quiet_trainer(max_steps=2)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "pretrain.ckpt")
    stored = torch.load(tmp_path / "pretrain.ckpt", weights_only=True)
    assert stored["SimulatedSceneDataModule"]["transform"]
    loaded = DiffusionPretrainModule.load_from_checkpoint(
        tmp_path / "pretrain.ckpt", weights_only=True
    )
    assert loaded.hparams == module.hparams
    module.eval()
    loaded.eval()
    x = torch.randn(2, 16, 8, 8)
    t = torch.tensor([3, 40])
    assert torch.equal(loaded(x, t), module(x, t))


def test_features_come_from_the_average(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    module = build(ema_decay=0.9)
    quiet_trainer(max_epochs=1).fit(module, data)
    features = module.extract_features(data.cube, timesteps=(5, 20), levels=(0,))
    assert features.array.shape == (40, 36, 2 * 2 * 2 * 16)
    plain = copy.deepcopy(module)
    plain.average = None
    assert module.trained_denoiser is not module.denoiser
    assert plain.trained_denoiser is plain.denoiser
    other = plain.extract_features(data.cube, timesteps=(5, 20), levels=(0,))
    assert not torch.allclose(torch.as_tensor(features.array), torch.as_tensor(other.array))


def test_exponential_average_against_a_plain_loop() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(3, 2)
    network = torch.nn.Sequential(linear, torch.nn.BatchNorm1d(2))
    average = ExponentialAverage(network, 0.5)
    expected = linear.weight.detach().clone()
    for step in range(8):
        with torch.no_grad():
            linear.weight.add_(torch.randn(2, 3))
        average.update(network)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * linear.weight.detach()
    torch.testing.assert_close(average.network.state_dict()["0.weight"], expected)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    # 1.001 is 1 in bfloat16: the average would stand still
    with pytest.raises(ConfigurationError, match=r"needs weights in float32, but 0\.weight is"):
        average.bfloat16().update(network.bfloat16())


class Tied(torch.nn.Module):
    """Weights with two names, and buffers that no checkpoint holds."""

    mask: torch.Tensor
    moving: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 3)
        self.second = torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight
        mask = torch.tensor([0.0, -torch.inf, torch.inf])
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("moving", torch.zeros(3), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.second(self.first(x))
        return found


def test_the_average_takes_each_weight_once_and_every_buffer() -> None:
    network = Tied()
    average = ExponentialAverage(network, 0.5)
    weight, moving = network.first.weight.detach().clone(), network.moving.clone()
    for step in range(3):
        with torch.no_grad():
            network.first.weight.add_(1)
            network.moving.add_(2)
        average.update(network)
        decay = min(0.5, (1 + step) / (10 + step))
        weight = torch.lerp(network.first.weight.detach(), weight, decay)
        moving = torch.lerp(network.moving, moving, decay)
    averaged = average.network
    assert isinstance(averaged, Tied)
    torch.testing.assert_close(averaged.first.weight.detach(), weight)
    assert averaged.second.weight is averaged.first.weight
    torch.testing.assert_close(averaged.moving, moving)
    assert torch.equal(averaged.mask, network.mask)


def test_the_average_of_a_compiled_network_is_that_of_the_network() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    plain, compiled = ExponentialAverage(network, 0.9), ExponentialAverage(network, 0.9)
    weight = network.get_parameter("0.weight")
    with torch.no_grad():
        weight.add_(1)
        network.get_buffer("1.running_mean").add_(1)
    plain.update(network)
    compiled.update(cast("torch.nn.Module", torch.compile(network, backend="eager")))
    expected = plain.state_dict()
    assert not torch.equal(expected["network.0.weight"], weight)
    for name, value in compiled.state_dict().items():
        assert torch.equal(value, expected[name])


def test_a_network_may_be_compiled_before_the_training(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    modules = []
    for compiled in (False, True):
        module = build(ema_decay=0.9)
        if compiled:
            module.denoiser = torch.compile(module.denoiser, backend="eager")  # type: ignore[assignment]
        quiet_trainer(max_steps=2).fit(module, data)
        modules.append(module)
    first, second = (module.trained_denoiser.state_dict() for module in modules)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value)


@pytest.mark.parametrize(
    ("step", "schedule", "warmup", "expected"),
    [
        (0, "constant", 0.0, 1.0),
        (70, "constant", 0.0, 1.0),
        (0, "cosine", 0.0, 1.0),
        (50, "cosine", 0.0, 0.5),
        (100, "cosine", 0.0, 0.0),
        (0, "cosine", 0.2, 1 / 21),
        (60, "cosine", 0.2, 0.5),
    ],
)
def test_learning_rate_closed_form(
    step: int, schedule: Any, warmup: float, expected: float
) -> None:
    factor = learning_rate_factor(step, total=100, schedule=schedule, warmup=warmup)
    assert factor == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prediction": "noize"}, "prediction"),
        ({"lr_schedule": "step"}, "lr_schedule must be one of constant, cosine"),
        ({"warmup": 1.0}, "warmup"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0 and finite, got -0.1"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"denoiser": "UNet4D"}, "denoiser must be one of UNet3D"),
        ({"denoiser": UNet3D(8, 2, 1)}, "denoiser must be made for num_bands=16, got one for 8"),
        (
            {"denoiser": {"class_path": "UNet3D", "init_args": {"colour": 1}}},
            r"unknown setting denoiser\.colour",
        ),
        ({"schedule": "quadratic"}, "schedule must be one of NoiseSchedule"),
        (
            {"schedule": {"class_path": "NoiseSchedule", "init_args": {"timesteps": 0}}},
            "timesteps must be at least 1",
        ),
        ({"optimizer": "SGD"}, "optimizer must be a class or function"),
        (
            {"lr_scheduler": torch.optim.lr_scheduler.ConstantLR, "lr_schedule": "cosine"},
            "lr_scheduler takes the place of lr_schedule and warmup",
        ),
        ({"losses": {"l7": 1.0}}, "l7"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**settings)


@pytest.mark.parametrize("settings", [{"lr_schedule": "cosine"}, {"warmup": 0.1}])
def test_a_schedule_without_an_end_is_refused(
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    settings: dict[str, Any],
) -> None:
    module = build(**settings)
    with pytest.raises(ConfigurationError, match="max_steps"):
        quiet_trainer(max_epochs=-1).fit(module, data)


class Manual(DiffusionPretrainModule):
    """Steps by itself, as with several optimisers."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(16, denoiser="PixelDenoiser", **settings)
        self.automatic_optimization = False


def test_an_average_that_nothing_would_follow_is_refused(
    small_scene: Callable[..., SimulatedSceneDataModule], quiet_trainer: Callable[..., L.Trainer]
) -> None:
    with pytest.raises(ConfigurationError, match=r"ema_decay must be None .* got 0\.9"):
        quiet_trainer(max_steps=1).fit(Manual(ema_decay=0.9), small_scene(patch_size=5))


class Dropping(Denoiser):
    """A denoiser of a user's own, with dropout."""

    def __init__(self, num_bands: int) -> None:
        level = FeatureLevel("all", num_bands, radius=0)
        super().__init__(num_bands, feature_info=[level], radius=0)
        convolution = torch.nn.Conv2d(num_bands, num_bands, 1)
        self.layer = torch.nn.Sequential(convolution, torch.nn.Dropout())

    def forward_levels(
        self, x_t: torch.Tensor, t: torch.Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        hidden = self.layer(x_t)
        return hidden if output else None, [hidden] * len(indices)


def test_dropout_of_an_own_denoiser_follows_the_seed(
    small_scene: Callable[..., SimulatedSceneDataModule], quiet_trainer: Callable[..., L.Trainer]
) -> None:
    weights = []
    for elsewhere in (1, 2):
        torch.manual_seed(0)
        module = DiffusionPretrainModule(16, denoiser=Dropping, learning_rate=0.01)
        torch.manual_seed(elsewhere)
        quiet_trainer(max_steps=4).fit(module, small_scene(patch_size=5))
        weights.append(module.denoiser.state_dict()["layer.0.weight"].clone())
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
