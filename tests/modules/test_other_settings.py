"""Weights fit more settings than those that they were trained with: the others are refused."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest

from hsi_diffusion import DiffusionPretrainModule, FeatureClassifierModule, NoiseSchedule, UNet3D
from hsi_diffusion.errors import CheckpointError
from hsi_diffusion.networks import CNN2D, SpectralTransformer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import lightning as L

    from hsi_diffusion import SimulatedSceneDataModule

DENOISER = partial(UNet3D, base_channels=2, depth=1)
NETWORK = partial(SpectralTransformer, dim=8, depth=1, heads=1, head_dim=4)


def pretraining(num_bands: int = 16, **settings: Any) -> DiffusionPretrainModule:
    return DiffusionPretrainModule(num_bands, **{"denoiser": DENOISER, **settings})


def classification(
    patch_size: int = 5, classifier: Any = NETWORK, **settings: Any
) -> FeatureClassifierModule:
    return FeatureClassifierModule(16, 4, patch_size, classifier=classifier, **settings)


@pytest.fixture
def data(small_scene: Callable[..., SimulatedSceneDataModule]) -> SimulatedSceneDataModule:
    return small_scene(patch_size=5)


def written(module: L.LightningModule, trainer: L.Trainer, data: Any, path: Path) -> Path:
    trainer.fit(module, data)
    trainer.save_checkpoint(path)
    return path


ZEROS = partial(DENOISER, band_padding="zeros")
COSINE = NoiseSchedule(kind="cosine")


@pytest.mark.parametrize(
    ("trained", "tested", "message"),
    [
        ({}, {"denoiser": ZEROS}, "denoiser .* with band_padding='repeat', got .*'zeros'"),
        ({"denoiser": ZEROS}, {}, "denoiser .* with band_padding='zeros', got .*'repeat'"),
        ({}, {"denoiser": ZEROS(16)}, "denoiser .* with band_padding='repeat', got .*'zeros'"),
        ({}, {"num_bands": 14}, "denoiser .* with num_bands=16, got num_bands=14"),
        ({}, {"denoiser": "UNet2D"}, "they are of a UNet3D, got a UNet2D; .* denoiser="),
        ({}, {"schedule": COSINE}, "schedule .* with kind='linear', got kind='cosine'"),
        ({"schedule": COSINE}, {}, "schedule .* with kind='cosine', got kind='linear'"),
        ({}, {"prediction": "v"}, "prediction must be 'noise', .* got 'v'"),
    ],
)
def test_a_denoiser_is_used_as_it_was_trained(
    trained: dict[str, Any],
    tested: dict[str, Any],
    message: str,
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    path = written(pretraining(**trained), quiet_trainer(max_steps=1), data, tmp_path / "a.ckpt")
    if tested or "denoiser" in trained:  # what is not given is taken from the checkpoint
        with pytest.raises(CheckpointError, match=message):
            DiffusionPretrainModule.load_from_checkpoint(path, **{"denoiser": DENOISER, **tested})
    for command in ("fit", "validate", "test", "predict"):
        with pytest.raises(CheckpointError, match=message):
            getattr(quiet_trainer(max_steps=2), command)(
                pretraining(**tested), data, ckpt_path=path, weights_only=True
            )
    # what is given in full is the same as what was left at its default, and the other way round
    usual = {"band_padding": "repeat", **trained.get("denoiser", DENOISER).keywords}
    same = {**trained, "denoiser": partial(UNet3D, time_channels=32, **usual)}
    quiet_trainer().test(pretraining(**same), data, ckpt_path=path, verbose=False)


@pytest.mark.parametrize(
    ("trained", "tested", "message"),
    [
        (NETWORK, partial(NETWORK, readout="centre"), "with readout='class', got readout='centre'"),
        (partial(NETWORK, readout="centre"), NETWORK, "with readout='centre', got readout='class'"),
        (NETWORK, CNN2D, "they are of a SpectralTransformer, got a CNN2D; "),
    ],
)
@pytest.mark.parametrize("members", [1, 2])
def test_a_network_is_used_as_it_was_trained(
    trained: Any,
    tested: Any,
    message: str,
    members: int,
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    module = classification(classifier=trained, members=members)
    path = written(module, quiet_trainer(max_steps=1), data, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=message):
        FeatureClassifierModule.load_from_checkpoint(path, classifier=tested)
    other = classification(classifier=tested, members=members)
    with pytest.raises(CheckpointError, match=message):
        quiet_trainer().test(other, data, ckpt_path=path, weights_only=True)
    same = classification(classifier=partial(trained, dropout=0), members=members)
    quiet_trainer().test(same, data, ckpt_path=path, verbose=False)


def test_patches_of_another_size_are_refused_though_the_weights_fit(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    module = classification(classifier=CNN2D)
    path = written(module, quiet_trainer(max_steps=1), data, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="with patch_size=5, got patch_size=7"):
        FeatureClassifierModule.load_from_checkpoint(path, patch_size=7)


def test_data_can_be_handed_to_processes_after_a_training(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    quiet_trainer(max_steps=1).fit(pretraining(lr_schedule="cosine"), data)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        assert processes.submit(attrgetter("num_classes"), data).result() == data.num_classes
