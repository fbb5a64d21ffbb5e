"""What could go wrong in a later stage of a run, found before the first one computes anything."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import wandb

from hsi_diffusion.errors import ConfigurationError, SceneError, SplitError
from hsi_diffusion.features.compute import check_components
from hsi_diffusion.features.extract import check_request
from hsi_diffusion.patches import build_transform
from hsi_diffusion.patches.gather import check_patch_settings
from hsi_diffusion.runs.building import build_classification, feature_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hsi_diffusion.modules import DiffusionPretrainModule, SceneDataModule
    from hsi_diffusion.runs.settings import RunSettings
    from hsi_diffusion.runs.stages import Workplace


def check_stages(
    module: DiffusionPretrainModule, data: SceneDataModule, settings: RunSettings, place: Workplace
) -> None:
    """Check the settings of all stages against the scene, its split and each other.

    Everything that a setting can break is built or asked for once, in a fraction of a second; a
    user hears of a typing error now, and not after an hour of pretraining.

    Args:
        module: The denoiser, trained or not.
        data: The scene, set up.
        settings: Everything that decides the run.
        place: Where it computes.

    Raises:
        SceneError: There is nothing to tell apart.
        SplitError: The split lacks test or validation pixels that the run needs.
        ConfigurationError: A setting is outside what is allowed.
    """
    _check_labels(data, settings)
    if settings.logger == "wandb":
        _check_wandb()
    if settings.pretrain.checkpoint is None:
        with _setting("pretrain"):
            data.train_dataloader()
            data.val_dataloader()
        place.make_trainer(precision=settings.pretrain.precision, devices=place.devices)
    channels = _check_features(module, data, settings, place)
    classifier = settings.classifier
    with _setting("classifier"):
        check_patch_settings(classifier.patch_size, classifier.padding)
        if classifier.batch_size < 1:
            raise ConfigurationError(f"batch_size must be at least 1, got {classifier.batch_size}")
    for number in sorted(channels | _check_spaces(data, settings)):
        build_classification(number, data, classifier, settings.seed)
    place.make_trainer(precision=classifier.precision)


def _check_wandb() -> None:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return
    try:
        wandb.login()
    except wandb.errors.Error as error:
        raise ConfigurationError(
            f"logger 'wandb' can't be used: {error} Or set WANDB_MODE=offline, or take another "
            "logger (--logger csv)"
        ) from error


def _check_labels(data: SceneDataModule, settings: RunSettings) -> None:
    split = data.require_split()
    if data.num_classes < 2:
        raise SceneError(
            f"scene {data.info.name!r} has a single class, so there is nothing to tell apart; in "
            "the label map 0 means unlabelled: number the classes from 1, and give two or more"
        )
    if not len(split.test):
        raise SplitError("the split has no test pixels to measure at; leave some out of training")
    features, spaces = settings.features, settings.raw_bands.spaces
    candidates = max(len(features.timesteps) * len(features.levels), len(spaces))
    if candidates > 1 and not len(split.val):
        raise SplitError(
            "the split has no validation pixels to choose by: give more pixels per class, a "
            "split.val_fraction above 0, or a single candidate (features.timesteps, "
            "features.levels, raw_bands.spaces)"
        )


def _check_features(
    module: DiffusionPretrainModule, data: SceneDataModule, settings: RunSettings, place: Workplace
) -> set[int]:
    """Check every candidate (t, level); the numbers of channels that they have."""
    found = set()
    for timestep in settings.features.timesteps:
        for level in settings.features.levels:
            with _setting("features"):
                request, reduction = feature_request(settings, (timestep, level), place.device)
                # a checkpoint may bring a transform with another number of components
                shape = tuple(data.cube.shape)
                check_request(module.trained_denoiser, module.schedule, shape, request)
                channels = module.trained_denoiser.feature_info[level].channels
                if reduction is not None:
                    pixels = data.shape[0] * data.shape[1]
                    check_components(reduction, channels=channels, pixels=pixels)
                    channels = reduction.components
            found.add(channels)
    return found


def _check_spaces(data: SceneDataModule, settings: RunSettings) -> set[int]:
    """Check every space of raw bands; the numbers of channels that they have."""
    found = set()
    bands = data.info.bands
    for space in settings.raw_bands.spaces:
        with _setting("raw_bands.spaces"):
            build_transform(space.transform, space.components, **space.transform_options)
            if (space.components or 0) > bands:
                raise ConfigurationError(
                    f"components must be at most the number of bands, {bands}, got "
                    f"{space.components}"
                )
        found.add(space.components or bands)
    return found


@contextmanager
def _setting(name: str) -> Iterator[None]:
    """Name the section of the settings in a message of the part that refused a value."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from error
