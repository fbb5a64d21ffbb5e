from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import lightning as L
import numpy as np
import pytest
import torch
import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.strategies import Strategy
from matplotlib.figure import Figure
from PIL import Image

from hsi_diffusion import (
    DiffusionPretrainModule,
    FeatureClassifierModule,
    NoiseSchedule,
    SimulatedSceneDataModule,
    UNet3D,
)
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.modules import ClassificationMap, ReconstructionFigures, log_figure
from hsi_diffusion.networks import SpectralTransformer
from hsi_diffusion.patches import MNF

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hsi_diffusion.modules import SceneDataModule

SMALL: dict[str, Any] = {
    "denoiser": partial(UNet3D, base_channels=2, depth=1),
    "schedule": NoiseSchedule(100),
}


def test_reconstructions_are_drawn_in_the_units_of_the_scene(
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    data = small_scene(task="pretrain", patch_size=8, transform=MNF(8))
    module = DiffusionPretrainModule(8, **SMALL, prediction="x0")
    callback = ReconstructionFigures(timesteps=(5, 50, 400), side=32, folder=tmp_path / "out")
    logger = CSVLogger(tmp_path, name="logs", version="first")
    quiet_trainer(max_steps=2, callbacks=[callback], logger=logger).fit(module, data)
    for name in ("reconstruction", "reconstruction_spectra"):
        for suffix in ("png", "pdf"):
            assert (tmp_path / "out" / f"{name}.{suffix}").stat().st_size > 5_000
        assert (tmp_path / "logs" / "first" / "figures" / f"{name}.png").is_file()

    spectra = callback.draw(module, data)["reconstruction_spectra"]
    # one row per chosen pixel, one column per timestep of the schedule; t = 400 is beyond it
    assert len(spectra.axes) == 3 * 2
    (*_, clean) = spectra.axes[0].lines  # drawn last, over the others
    values = np.asarray(clean.get_ydata(), dtype=float)
    whole = data.transform.inverse(data.cube.numpy())
    distance = np.abs(np.sort(whole, axis=2) - np.sort(values)).max(axis=2)
    assert distance.min() < 1e-3 * np.abs(values).max()


def test_figures_are_drawn_while_the_module_is_on_its_device(
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []
    teardown = Strategy.teardown

    class Noting(ReconstructionFigures):
        def draw(self, module: DiffusionPretrainModule, data: SceneDataModule) -> dict[str, Figure]:
            happened.append("drawn")
            assert not module.trained_denoiser.training
            return super().draw(module, data)

    def note(strategy: Strategy) -> None:
        happened.append("moved to the CPU")
        teardown(strategy)

    monkeypatch.setattr(Strategy, "teardown", note)
    module = DiffusionPretrainModule(16, **SMALL, ema_decay=0.9)
    data = small_scene(task="pretrain", patch_size=8)
    callback = Noting(timesteps=(5,), side=16)
    quiet_trainer(max_steps=1, callbacks=[callback]).fit(module, data)
    assert happened == ["drawn", "moved to the CPU"]
    assert not module.trained_denoiser.training, "an average is never trained"


def test_drawing_teaches_the_network_nothing(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    data = small_scene(task="pretrain", patch_size=8)
    data.setup()
    module = DiffusionPretrainModule(16, **SMALL)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    callback = ReconstructionFigures(timesteps=(5, 50), side=16)

    def shown() -> list[list[float]]:
        (axes, *_) = callback.draw(module, data)["reconstruction_spectra"].axes
        return [np.asarray(line.get_ydata(), dtype=float).tolist() for line in axes.lines]

    while_training = shown()
    assert module.training
    assert module.denoiser.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    module.eval()
    assert shown() == while_training


def test_spectra_are_those_of_the_largest_classes_that_are_shown(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    data = small_scene(task="pretrain", patch_size=8)
    data.setup()
    module = DiffusionPretrainModule(16, **SMALL)
    shown = np.zeros(data.shape, bool)
    shown[12:28, 10:26] = True  # the middle of 40 x 36 pixels
    labels = np.where(shown, data.labels, 0)
    callback = ReconstructionFigures(timesteps=(5,), side=16)
    figure = callback.draw(module, data)["reconstruction_spectra"]
    largest = np.argsort(-np.bincount(labels.ravel())[1:], kind="stable")[:3] + 1
    for axes, label in zip(figure.axes, largest, strict=True):
        places = np.argwhere(labels == label)
        row, column = places[len(places) // 2]
        assert axes.get_ylabel() == data.info.class_names[label - 1]
        (*_, clean) = axes.lines
        expected = data.transform.inverse(data.cube[row, column][None].numpy())[0]
        np.testing.assert_allclose(np.asarray(clean.get_ydata(), dtype=float), expected, rtol=1e-5)


def test_figures_need_the_right_modules(quiet_trainer: Callable[..., L.Trainer]) -> None:
    trainer = quiet_trainer()
    with pytest.raises(ConfigurationError, match="ReconstructionFigures belongs to"):
        ReconstructionFigures().on_fit_start(trainer, L.LightningModule())
    with pytest.raises(ConfigurationError, match="data modules"):
        ClassificationMap().on_predict_start(trainer, L.LightningModule())


def test_the_map_holds_every_pixel(
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    data = small_scene()
    torch.manual_seed(0)
    module = FeatureClassifierModule(
        16, 4, 5, classifier=partial(SpectralTransformer, heads=1, head_dim=8)
    )
    callback = ClassificationMap(folder=tmp_path)
    trainer = quiet_trainer(callbacks=[callback])
    batches = cast("list[dict[str, torch.Tensor]]", trainer.predict(module, data))
    expected = torch.cat([batch["prediction"] for batch in batches]).numpy() + 1
    assert (callback.predicted.ravel() == expected).all()
    assert (tmp_path / "classification_map.png").is_file()


def test_wandb_offline_takes_figures_and_scalars(
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="test", save_dir=tmp_path)
    data = small_scene()
    module = FeatureClassifierModule(
        16, 4, 5, classifier=partial(SpectralTransformer, heads=1, head_dim=8)
    )
    trainer = quiet_trainer(max_steps=2, logger=logger, log_every_n_steps=1)
    trainer.fit(module, data)
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([0, 1], [1, 0])
    log_figure(trainer, "a_figure", figure)
    summary = dict(logger.experiment.summary)
    wandb.finish()
    assert summary["trainer/global_step"] >= 1
    assert 0 <= summary["val/overall_accuracy"] <= 1
    assert "train/loss" in summary
    (image,) = tmp_path.rglob("media/images/a_figure*.png")
    assert Image.open(image).size == (300, 300)
    assert list(tmp_path.rglob("*.wandb"))
