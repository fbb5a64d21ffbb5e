"""What a run reads: its scene, its split, and a denoiser that was trained before."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.errors import CheckpointError, ConfigurationError, SplitError, reason
from hsi_diffusion.modules import DiffusionPretrainModule
from hsi_diffusion.patches import scene_split
from hsi_diffusion.runs.settings import OWN
from hsi_diffusion.scenes import CATALOGUE, load_custom_scene, load_scene, simulate_scene

if TYPE_CHECKING:
    from pathlib import Path

    from hsi_diffusion.patches import Split
    from hsi_diffusion.recipes import DenoiserFactory
    from hsi_diffusion.runs.settings import RunSettings
    from hsi_diffusion.scenes import Scene


def read_scene(settings: RunSettings) -> Scene:
    """The run's scene."""
    if settings.cube is not None:
        return load_custom_scene(
            settings.cube,
            name=settings.scene_name,
            train_labels=settings.train_mask,
            test_labels=settings.test_mask,
            **{name: getattr(settings, name) for name in OWN},
        )
    if settings.scene in CATALOGUE:
        return load_scene(str(settings.scene), settings.root, download=settings.download)
    size = settings.simulated
    return simulate_scene(size.height, size.width, size.bands, size.num_classes, seed=size.seed)


def read_split(settings: RunSettings, scene: Scene) -> Split:
    """Which of the scene's pixels are for what.

    Raises:
        SplitError: The scene has no labels, or no test pixels are left.
    """
    own = settings.cube is not None  # whose masks came with the scene, on its grid
    split = scene_split(
        scene,
        settings.split_kind,
        train_mask=None if own else settings.train_mask,
        test_mask=None if own else settings.test_mask,
        guard=settings.guard,
        # one split for all stages: its guard must fit the classifier's patches
        patch_size=settings.classifier.patch_size,
        val_fraction=settings.val_fraction,
        seed=settings.seed,
    )
    if split is None:
        raise SplitError(
            f"scene {scene.name!r} has no labels (all of its pixels are 0, unlabelled), so no "
            "classifier can be trained or tested; give labels (--labels), with classes from 1"
        )
    if not len(split.test):
        raise SplitError("the split has no test pixels to measure at; leave some out of training")
    labels = scene.labels.ravel()
    unknown = np.setdiff1d(labels[split.test], labels[split.labelled])
    if len(unknown):
        names = ", ".join(scene.info.class_names[number - 1] for number in unknown)
        warnings.warn(
            f"no pixel of {names} is learned, so that all of their test pixels will be wrong; do "
            "the label files call one class by two names?",
            stacklevel=2,
        )
    return split


def read_pretrained(
    path: str | Path, scene: Scene, denoiser: DenoiserFactory | None
) -> DiffusionPretrainModule:
    """A trained denoiser with its band transform, from the checkpoint of a pretraining.

    ``denoiser`` makes the network where the checkpoint says that it is not the library's.

    Raises:
        CheckpointError: The file is no such checkpoint.
        ConfigurationError: It was trained on a scene with another number of bands.
        SceneError: Or on one with other wavelengths.
    """
    try:
        module = _load(path, denoiser)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CheckpointError(
            f"there is no checkpoint file {path}; give the checkpoints/pretrain.ckpt of an earlier "
            "run"
        ) from error
    # torch.load and what follows raise almost anything on other files and damaged ones
    except Exception as error:
        raise CheckpointError(
            f"{path} is not the checkpoint of a pretraining, or is cut short; give the "
            f"checkpoints/pretrain.ckpt of an earlier run ({reason(error)})"
        ) from error
    transform = module.transform
    if transform is None:
        raise CheckpointError(
            f"{path} holds no band transform; pretrain with one of the library's data modules"
        )
    if transform.num_bands != scene.bands:
        raise ConfigurationError(
            f"the denoiser of {path} was trained on {transform.num_bands} bands, but scene "
            f"{scene.name!r} has {scene.bands}; take a checkpoint of this scene, or pretrain on it"
        )
    module.check_bands(scene.info)
    if not transform.fitted_on.endswith(f" of {scene.name})"):
        warnings.warn(
            f"the denoiser of {path} was trained on another scene: {transform.fitted_on}; it is "
            f"used on {scene.name} with the bands scaled as there",
            stacklevel=2,
        )
    return module.eval()


def _load(path: str | Path, denoiser: DenoiserFactory | None) -> DiffusionPretrainModule:
    try:
        return DiffusionPretrainModule.load_from_checkpoint(path, map_location="cpu")
    except ConfigurationError:  # a denoiser of the user's own
        return DiffusionPretrainModule.load_from_checkpoint(
            path, map_location="cpu", denoiser=denoiser
        )
