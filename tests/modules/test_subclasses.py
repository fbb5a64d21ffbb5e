"""Lightning modules of a user's own, which derive from the library's, and Lightning's Tuner."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.tuner.tuning import Tuner

from hsi_diffusion import DiffusionPretrainModule, FeatureClassifierModule, UNet2D
from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import lightning as L

    from hsi_diffusion import SimulatedSceneDataModule


class MyPretraining(DiffusionPretrainModule):
    """Passes on whatever it is given, as a subclass does that adds a method."""

    def __init__(self, num_bands: int, **kw: Any) -> None:
        super().__init__(num_bands, **kw)


class MyClassifier(FeatureClassifierModule):
    """Likewise."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)


def pretraining(**settings: Any) -> MyPretraining:
    return MyPretraining(16, denoiser=partial(UNet2D, channels=4), **settings)


def classification(**settings: Any) -> MyClassifier:
    return MyClassifier(16, 4, 5, classifier="CNN2D", **settings)


both = pytest.mark.parametrize("build", [pretraining, classification])


@pytest.fixture
def data(small_scene: Callable[..., SimulatedSceneDataModule]) -> SimulatedSceneDataModule:
    return small_scene(patch_size=5)


@both
def test_a_subclass_is_trained_saved_and_loaded(
    build: Callable[..., Any],
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    module, trainer = build(learning_rate=0.01, seed=3), quiet_trainer(max_steps=2)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    loaded = type(module).load_from_checkpoint(tmp_path / "own.ckpt")
    assert type(loaded) is type(module)
    assert loaded.hparams == module.hparams
    weights = module.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
    changed = type(module).load_from_checkpoint(tmp_path / "own.ckpt", seed=4)
    assert (loaded.seed, changed.seed) == (3, 4)
    quiet_trainer(max_steps=3).fit(changed, data, ckpt_path=tmp_path / "own.ckpt")


class Rates(Callback):
    """Notes the learning rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@both
def test_the_rate_that_lightning_finds_is_used(
    build: Callable[..., Any],
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    module = build(learning_rate=0.5)
    finder = Tuner(quiet_trainer(max_steps=8, enable_checkpointing=True)).lr_find(
        module, data, min_lr=1e-4, max_lr=1e-1, num_training=30, early_stop_threshold=None
    )
    assert finder is not None
    found = finder.suggestion()
    assert found is not None
    assert found != 0.5
    rates = Rates()
    trainer = quiet_trainer(max_steps=2, callbacks=[rates])
    trainer.fit(module, data)
    assert rates.seen == [found, found]
    assert module.learning_rate == module.hparams["learning_rate"] == found
    trainer.save_checkpoint(tmp_path / "tuned.ckpt")
    assert type(module).load_from_checkpoint(tmp_path / "tuned.ckpt").learning_rate == found
    with pytest.raises(ConfigurationError, match="learning_rate must be above 0 and finite, got 0"):
        module.learning_rate = 0
    assert module.learning_rate == module.hparams["learning_rate"] == found


@both
def test_a_rate_without_effect_on_an_own_optimiser_is_told(
    build: Callable[..., Any],
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    module = build(optimizer=partial(torch.optim.SGD, lr=0.01))
    with pytest.warns(UserWarning, match="has no effect on the optimiser of your own") as told:
        finder = Tuner(quiet_trainer(max_steps=8, enable_checkpointing=True)).lr_find(
            module, data, min_lr=1e-4, max_lr=1e-1, num_training=30, early_stop_threshold=None
        )
    assert finder is not None
    assert any(f"lr={finder.suggestion():.3g})" in str(one.message) for one in told)
    rates = Rates()
    quiet_trainer(max_steps=1, callbacks=[rates]).fit(module, data)
    assert rates.seen == [0.01]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build().learning_rate = 0.1
