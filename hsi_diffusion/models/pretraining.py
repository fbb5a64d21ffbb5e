"""Training the denoiser of a model on a scene."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from hsi_diffusion.errors import CheckpointError, ConfigurationError, reason
from hsi_diffusion.modules import (
    DiffusionPretrainModule,
    LoadedSceneDataModule,
    ReconstructionFigures,
)
from hsi_diffusion.seeding import seeded_layers

if TYPE_CHECKING:
    from pathlib import Path

    from hsi_diffusion.modules.runtime import Runtime
    from hsi_diffusion.patches import BandTransform, Split
    from hsi_diffusion.recipes import PretrainSettings
    from hsi_diffusion.scenes import Scene

EPOCH_STEPS = 100
"""Steps between two validations, checkpoints and lines of the log."""

SHOWN = 64
"""Side in pixels of the part of a scene whose reconstructions are drawn; on a card twice that."""

STAGE = "pretrain"
"""Name of the training in logs, and of its checkpoint."""


class StepShare(NamedTuple):
    """What one process does of an optimiser step.

    Attributes:
        batch_size: Patches that it computes at once.
        parts: So many times, with one optimiser step for all of them (gradient accumulation).
    """

    batch_size: int
    parts: int


def share_of_step(settings: PretrainSettings, processes: int) -> StepShare:
    """What each process does of a step, which has the same patches on any number of them.

    Args:
        settings: With the patches of a step, and how many of them fit into a card at once.
        processes: How many pretrain together.

    Returns:
        As few parts of equal size as ``micro_batch_size`` allows.

    Raises:
        ConfigurationError: The patches can't be shared out evenly.
    """
    own, left_over = divmod(settings.batch_size, processes)
    if left_over:
        raise ConfigurationError(
            f"pretrain.batch_size counts the patches of all {processes} processes together and "
            f"must be a multiple of {processes}, got {settings.batch_size}; give "
            f"{processes * (own + 1)}, or other --devices"
        )
    largest = min(own, settings.micro_batch_size or own)
    parts = next(n for n in range(1, own + 1) if own % n == 0 and own // n <= largest)
    return StepShare(own // parts, parts)


def build_pretraining(
    settings: PretrainSettings, num_components: int, seed: int
) -> DiffusionPretrainModule:
    """The untrained denoiser of as many channels as its band transform gives.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """
    names = (
        "prediction losses contrast augmentation learning_rate lr_schedule warmup weight_decay "
        "optimizer lr_scheduler ema_decay"
    )
    options = {name: getattr(settings, name) for name in names.split()}
    denoiser = settings.denoiser
    if denoiser is None:
        raise ConfigurationError(
            "this recipe has no pretraining (pretrain.denoiser: null), and here it needs one: name "
            "a method that pretrains, such as spectraldiff"
        )
    if isinstance(denoiser, nn.Module):  # every training starts from the weights that were given
        denoiser = copy.deepcopy(denoiser)
    with seeded_layers("initial-weights", "pretrain", seed):
        return DiffusionPretrainModule(
            num_components,
            denoiser=denoiser,
            schedule=settings.schedule(),
            seed=seed,
            **options,
        )


def pretraining_data(
    scene: Scene,
    transform: BandTransform,
    settings: PretrainSettings,
    runtime: Runtime,
    split: Split | None,
    *,
    seed: int,
) -> LoadedSceneDataModule:
    """The scene's patches, in the space of a fitted transform.

    Of an image that is too small for it nothing is held out: nothing is chosen by the validation
    loss, which is only shown.
    """
    data = LoadedSceneDataModule(
        scene,
        task="pretrain",
        split=split,
        patch_size=settings.patch_size,
        batch_size=share_of_step(settings, runtime.processes).batch_size,
        padding=settings.padding,
        # short epochs, so that validation and checkpoints come often enough
        samples_per_epoch=settings.batch_size * min(EPOCH_STEPS, settings.steps),
        seed=seed,
    )
    data.use_transform(transform)
    try:
        _ = data.pretraining_pixels  # drawn once, and kept for the loaders
    except ConfigurationError:
        data.hparams["holdout"] = data.holdout = 0.0
        warnings.warn(
            f"{scene.name} is too small to hold out patches of {settings.patch_size} x "
            f"{settings.patch_size} pixels, so that the pretraining has no validation loss; "
            "smaller ones (pretrain.patch_size) leave some",
            stacklevel=2,
        )
    return data


def pretrain(
    module: DiffusionPretrainModule,
    data: LoadedSceneDataModule,
    settings: PretrainSettings,
    runtime: Runtime,
    *,
    resume: bool = False,
) -> DiffusionPretrainModule:
    """Train the denoiser on the scene's patches, and give it back in evaluation mode.

    With ``resume`` it goes on from the checkpoint that an interrupted training left in the
    runtime's folder, if it got that far; several processes have to see the same folder.
    """
    checkpoint = runtime.checkpoint(STAGE)
    # not by the file alone: one process may still see what another is about to replace
    resumed = checkpoint if resume and checkpoint is not None and checkpoint.is_file() else None
    done = 0 if resumed is None else _check_checkpoint(resumed, module)
    parts = share_of_step(settings, runtime.processes).parts
    logger = runtime.logger(STAGE)
    figures = []
    if runtime.figures and (logger or runtime.folder is not None):
        # on a processor the whole scene, five times, would take as long as many steps
        side = SHOWN if runtime.device.type == "cpu" else 2 * SHOWN
        figures.append(ReconstructionFigures(folder=runtime.folder, side=side))
    trainer = runtime.make_trainer(
        steps=settings.steps,
        accumulate=parts,
        precision=settings.precision,
        gradient_clip=settings.gradient_clip,
        logger=logger,
        checkpoint=checkpoint,
        together=True,
        callbacks=figures,
    )
    trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
    if done >= settings.steps:  # killed after the last step, maybe before its figures
        for callback in figures:
            callback.on_train_end(trainer, module)
    # Lightning stops before it validates
    if settings.steps * parts % trainer.num_training_batches:
        trainer.validate(module, data, verbose=False)
    return module.eval()


def _check_checkpoint(path: Path, module: DiffusionPretrainModule) -> int:
    """Optimiser steps of the training that a checkpoint holds.

    Raises:
        CheckpointError: It is damaged, or not one of this module.
    """
    what = "delete it to start the pretraining again"
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        steps, weights = int(stored["global_step"]), stored["state_dict"]
        found = {name: tuple(value.shape) for name, value in weights.items()}
    # torch.load and what follows raise almost anything on other files and damaged ones
    except Exception as error:
        raise CheckpointError(
            f"{path} can't be read as the checkpoint of a pretraining, or is cut short "
            f"({reason(error)}); {what}"
        ) from error
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if found != wanted:
        name = min(set(found.items()) ^ set(wanted.items()))[0]
        raise CheckpointError(
            f"{path} is the checkpoint of another network: {name} has shape "
            f"{found.get(name, 'nothing')}, but here {wanted.get(name, 'nothing')}; {what}"
        )
    return steps
