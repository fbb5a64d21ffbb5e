"""Figures and maps, for whichever logger is there, on the first process."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from hsi_diffusion.diffusion import reconstruct
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features.tiles import evaluating
from hsi_diffusion.modules.data import PatchDataModule
from hsi_diffusion.modules.pretrain import DiffusionPretrainModule
from hsi_diffusion.modules.scene_data import SceneDataModule
from hsi_diffusion.reports import (
    classification_map,
    reconstruction_images,
    reconstruction_spectra,
    save_both,
    save_figure,
)
from hsi_diffusion.scenes import default_palette
from hsi_diffusion.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning.pytorch.loggers import Logger
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def log_figure(trainer: L.Trainer, name: str, figure: Figure) -> None:
    """Give a figure to the Trainer's loggers; only the first process does anything.

    Args:
        trainer: Its loggers and its step are used.
        name: Name of the figure.
        figure: The figure.
    """
    if not trainer.is_global_zero:
        return
    for logger in trainer.loggers:
        give_figure(logger, name, figure, trainer.global_step)


def give_figure(logger: Logger, name: str, figure: Figure, step: int) -> None:
    """Give a figure to a logger.

    W&B and TensorBoard take it as an image; beside a CSV log it becomes ``figures/NAME.png``. Other
    loggers have no place for images.

    Args:
        logger: The logger.
        name: Name of the figure.
        figure: The figure.
        step: Training steps before it.
    """
    if isinstance(logger, WandbLogger):
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        logger.log_image(name, [Image.open(buffer)])
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(name, figure, global_step=step)
    elif isinstance(logger, CSVLogger):
        save_figure(figure, Path(logger.log_dir) / "figures" / f"{name}.png")


class ReconstructionFigures(L.Callback):
    """Show what a pretrained denoiser restores from several timesteps, when the training ends.

    Two figures, as SpectralDiff's Figs. 9-11: ``reconstruction`` holds the scene in false colour,
    noised and restored; ``reconstruction_spectra`` the spectra of the middle pixel, in reading
    order, of the three largest classes there (or of three pixels where nothing is labelled). Both
    are in the scene's own units, through the inverse of the band transform.

    Args:
        timesteps: Where the restoration starts; those beyond the schedule are left out.
        side: Largest side of the part of the scene that is shown, cut from its middle.
        folder: Also write both figures here, as PNG and PDF.

    Raises:
        ConfigurationError: When a training begins that is not one of a
            :class:`~hsi_diffusion.modules.DiffusionPretrainModule` on a scene.
    """

    def __init__(
        self,
        timesteps: Sequence[int] = (5, 50, 100, 200, 400),
        *,
        side: int = 160,
        folder: str | Path | None = None,
    ) -> None:
        self.timesteps = tuple(timesteps)
        self.side = side
        self.folder = None if folder is None else Path(folder)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse what could not be drawn, before the training and not after it."""
        _pretraining(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw, log and write.

        Not in ``on_fit_end``: the module is on the CPU again by then, where the network of a
        graphics card's preset is slow, and the other processes wait for it.
        """
        module, data = _pretraining(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        with trainer.precision_plugin.forward_context():  # in the precision of the training
            figures = self.draw(module, data)
        for name, figure in figures.items():
            log_figure(trainer, name, figure)
            if self.folder is not None:
                save_both(figure, self.folder / f"{name}.png")

    def draw(self, module: DiffusionPretrainModule, data: SceneDataModule) -> dict[str, Figure]:
        """Both figures by name; the module is used in evaluation mode and left as it was."""
        rows, columns = (_middle(length, self.side) for length in data.shape)
        part = data.cube[rows, columns].permute(2, 0, 1)[None].to(module.device)
        noised, restored = {}, {}
        with evaluating(module), torch.inference_mode():
            for t in self.timesteps:
                if t >= module.schedule.timesteps:
                    continue
                pair = reconstruct(
                    module,
                    module.schedule,
                    part,
                    t,
                    prediction=module.prediction,
                    generator=generator("reconstruction", module.seed, t, device=module.device),
                )
                noised[t] = _to_bands(data, pair.noisy)
                restored[t] = _to_bands(data, pair.clean)
        clean = _to_bands(data, part)
        pixels = _typical_pixels(data.labels[rows, columns])
        places = [(row + rows.start, column + columns.start) for row, column in pixels]
        names = [
            data.info.class_names[data.labels[p] - 1] if data.labels[p] else f"pixel {p}"
            for p in places
        ]
        return {
            "reconstruction": reconstruction_images(
                clean,
                noised,
                restored,
                data.info,
                None if data.valid is None else data.valid[rows, columns],
            ),
            "reconstruction_spectra": reconstruction_spectra(
                clean, noised, restored, pixels, data.info, names=names
            ),
        }


class ClassificationMap(L.Callback):
    """Put the predictions of ``Trainer.predict`` together to a map, and log it.

    Works on any number of processes; each of them then has the whole map.

    Args:
        folder: Also write the map here as ``classification_map.png``.

    Attributes:
        predicted: After a prediction: classes 1..K, int64, shape (H, W); 0 where nothing was
            predicted.
    """

    predicted: NDArray[np.int64]

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start with an empty map."""
        del pl_module
        height, width = _patch_data(trainer).shape
        self._found = torch.zeros(height * width, dtype=torch.int64)

    def on_predict_batch_end(  # noqa: PLR0917  (Lightning's signature)
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the batch into the map."""
        del trainer, pl_module, batch, batch_idx, dataloader_idx
        index = outputs["index"].cpu()
        real = index >= 0
        self._found[index[real]] = outputs["prediction"].cpu()[real] + 1

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Join the processes' parts, which have no pixel in common; log and write the map."""
        found = self._found.to(pl_module.device)
        joined = trainer.strategy.reduce(found, reduce_op="sum")
        data = _patch_data(trainer)
        self.predicted = torch.as_tensor(joined).cpu().numpy().reshape(data.shape)
        if not trainer.is_global_zero or not (trainer.loggers or self.folder):
            return
        # an image without labels knows no classes, and the model does
        names = tuple(pl_module.hparams.get("class_names") or data.info.class_names)
        number = int(pl_module.hparams.get("num_classes", len(names)))
        info = data.info
        if number > info.num_classes:
            info = replace(
                info,
                class_names=names or tuple(f"Class {label + 1}" for label in range(number)),
                class_ids=tuple(range(1, number + 1)),
                palette=default_palette(number),
            )
        truth = data.labels if data.labels.any() else None
        figure = classification_map(self.predicted, info, truth=truth)
        log_figure(trainer, "classification_map", figure)
        if self.folder is not None:
            save_figure(figure, self.folder / "classification_map.png")


def _pretraining(
    trainer: L.Trainer, module: L.LightningModule
) -> tuple[DiffusionPretrainModule, SceneDataModule]:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(module, DiffusionPretrainModule) or not isinstance(data, SceneDataModule):
        raise ConfigurationError(
            "ReconstructionFigures belongs to Trainer.fit(DiffusionPretrainModule, "
            f"SceneDataModule), got {type(module).__name__} and {type(data).__name__}"
        )
    return module, data


def _patch_data(trainer: L.Trainer) -> PatchDataModule:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, PatchDataModule):
        raise ConfigurationError(
            "ClassificationMap needs to know the scene: call Trainer.predict with one of this "
            f"library's data modules, got {type(data).__name__}"
        )
    return data


def _middle(size: int, side: int) -> slice:
    start = max(0, (size - side) // 2)
    return slice(start, min(size, start + side))


def _to_bands(data: SceneDataModule, images: torch.Tensor) -> NDArray[np.float32]:
    return data.transform.inverse(images[0].permute(1, 2, 0).float().cpu().numpy())


def _typical_pixels(labels: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The middle pixel, in reading order, of each of the three largest classes."""
    classes, counts = np.unique(labels[labels > 0], return_counts=True)
    height, width = labels.shape
    if not len(classes):
        return [(height // 2, round(width * place)) for place in (0.25, 0.5, 0.75)]
    pixels = []
    for label in classes[np.argsort(-counts, kind="stable")][:3]:
        rows, columns = np.nonzero(labels == label)
        pixels.append((int(rows[len(rows) // 2]), int(columns[len(columns) // 2])))
    return pixels
