"""What could go wrong in a later stage of a run, found before the first one computes anything."""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hsi_diffusion.errors import ConfigurationError, SceneError, SplitError
from hsi_diffusion.features.compute import check_components
from hsi_diffusion.features.request import check_request, feature_blocks
from hsi_diffusion.patches import build_transform
from hsi_diffusion.patches.gather import check_patch_settings
from hsi_diffusion.runs.building import build_classification, feature_request
from hsi_diffusion.runs.candidates import choice_splits, feature_candidates
from hsi_diffusion.runs.learners import check_learner
from hsi_diffusion.runs.spreading import check_propagation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hsi_diffusion.modules import DiffusionPretrainModule, SceneDataModule
    from hsi_diffusion.runs.settings import RunSettings, SpaceSettings
    from hsi_diffusion.runs.workplace import Workplace


def check_stages(
    module: DiffusionPretrainModule | None,
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
) -> None:
    """Check the settings of all stages against the scene, its split and each other.

    Everything that a setting can break is built or asked for once, in a fraction of a second; a
    user hears of a typing error now, and not after an hour of pretraining.

    Args:
        module: The denoiser, trained or not; None for a baseline.
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
    if settings.pretrain is not None and settings.checkpoint is None:
        with _setting("pretrain"):
            data.train_dataloader()
            data.val_dataloader()
        place.make_trainer(precision=settings.pretrain.precision, devices=place.devices)
    cubes = _check_spaces(data, settings)
    if module is not None:
        cubes |= _check_features(module, data, settings, place)
    classifier = settings.classifier
    if classifier.propagation is not None:
        with _setting("classifier.propagation"):
            check_propagation(classifier.propagation)
        with _setting("classifier.propagation.space"):
            _check_space(classifier.propagation.space, data)
    if classifier.estimator is not None:
        with _setting("classifier.estimator"):
            check_learner(classifier, settings.seed)
        return
    with _setting("classifier"):
        check_patch_settings(classifier.patch_size, classifier.padding)
        if classifier.batch_size < 1:
            raise ConfigurationError(f"batch_size must be at least 1, got {classifier.batch_size}")
    for channels, timesteps, angles in sorted(cubes):
        build_classification(
            channels, data, classifier, settings.seed, timesteps=timesteps, angles=angles
        )
    place.make_trainer(precision=classifier.precision)


def _check_wandb() -> None:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return
    import wandb  # noqa: PLC0415  (a second to load, for nobody else)

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
    candidates = () if settings.pretrain is None else feature_candidates(settings.features)
    spread = settings.classifier.propagation
    choices = [len(candidates), len(settings.raw_bands.spaces)]
    if spread is not None:
        choices += [len(spread.own_shares), 1 + len(spread.other_alphas)]
    if max(choices) > 1:
        choice_splits(data, settings.choice)


def _check_features(
    module: DiffusionPretrainModule, data: SceneDataModule, settings: RunSettings, place: Workplace
) -> set[tuple[int, int, bool]]:
    """Check every candidate; what their cubes hold: channels, groups of them, spectral angles."""
    found = set()
    for candidate in feature_candidates(settings.features):
        with _setting("features"):
            request, reduction = feature_request(settings, candidate, place.device)
            # a checkpoint may bring a transform with another number of components
            shape = tuple(data.cube.shape)
            check_request(module.trained_denoiser, module.schedule, shape, request)
            blocks = feature_blocks(module.trained_denoiser, request)
            channels = sum(block.channels for block in blocks)
            if reduction is not None:
                parts = len(request.timesteps) if reduction.per_timestep else 1
                pixels = data.shape[0] * data.shape[1]
                check_components(reduction, channels=channels // parts, pixels=pixels)
                channels = reduction.components * parts
            # a reduction of all together leaves no groups of channels, see FeatureCube.timesteps
            mixed = reduction is not None and not reduction.per_timestep
            timesteps = 1 if mixed else len(request.timesteps)
            angles = settings.features.angles
        found.add((channels + timesteps * angles, timesteps, angles))
    return found


def _check_spaces(data: SceneDataModule, settings: RunSettings) -> set[tuple[int, int, bool]]:
    """Check every space of raw bands; what their cubes hold, see above."""
    found = set()
    for space in settings.raw_bands.spaces:
        with _setting("raw_bands.spaces"):
            _check_space(space, data)
        found.add((space.components or data.info.bands, 1, False))
    return found


def _check_space(space: SpaceSettings, data: SceneDataModule) -> None:
    build_transform(space.transform, space.components, **space.transform_options)
    bands, pixels = data.info.bands, data.shape[0] * data.shape[1]
    if (space.components or 0) > bands:
        raise ConfigurationError(
            f"components must be at most the number of bands, {bands}, got {space.components}"
        )
    if not 0 <= space.blur < math.inf:
        raise ConfigurationError(
            f"blur must be a width in pixels, at least 0 (0 = no blur), got {space.blur}"
        )
    if not 0 <= space.neighbours < pixels:
        raise ConfigurationError(
            f"neighbours must be at least 0 (0 = none) and below the number of pixels, {pixels}, "
            f"got {space.neighbours}"
        )


@contextmanager
def _setting(name: str) -> Iterator[None]:
    """Name the section of the settings in a message of the part that refused a value."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from error
