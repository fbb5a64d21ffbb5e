"""The modules and requests that a run's settings name, built but not yet used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError
from hsi_diffusion.features import FeatureSettings, Reduction
from hsi_diffusion.modules import DiffusionPretrainModule, FeatureClassifierModule
from hsi_diffusion.options import check_options
from hsi_diffusion.runs.hardware import resolve_precision
from hsi_diffusion.seeding import seeded_layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from hsi_diffusion.modules import PatchDataModule, SceneDataModule
    from hsi_diffusion.runs.candidates import FeatureCandidate
    from hsi_diffusion.runs.settings import ClassifierSettings, PretrainSettings, RunSettings

Built = TypeVar("Built")


def build_pretraining(
    data: SceneDataModule, settings: PretrainSettings, seed: int
) -> DiffusionPretrainModule:
    """The untrained denoiser.

    Args:
        data: The scene's patches.
        settings: Its arguments.
        seed: Rules initial weights, noise and timesteps.

    Raises:
        ConfigurationError: A setting is unknown or outside what is allowed.
    """
    with seeded_layers("initial-weights", "pretrain", seed):
        return _build(
            DiffusionPretrainModule,
            {"num_bands": data.num_bands, "seed": seed},
            settings.module,
            "pretrain.module",
        )


def build_classification(
    channels: int,
    data: PatchDataModule,
    settings: ClassifierSettings,
    seed: int,
    *,
    timesteps: int = 1,
    angles: bool = False,
) -> FeatureClassifierModule:
    """The untrained classifier.

    Args:
        channels: Channels of its patches.
        data: The scene, for its classes.
        settings: Its arguments.
        seed: Rules initial weights, augmentation and dropout.
        timesteps: In how many groups the channels lie.
        angles: Whether one spectral angle per timestep stands behind them.

    Raises:
        ConfigurationError: A setting is unknown or outside what is allowed.
    """
    given = {
        "in_channels": channels,
        "num_classes": data.num_classes,
        "patch_size": settings.patch_size,
        "timesteps": timesteps,
        "angles": angles,
        "class_names": data.info.class_names,
        "seed": seed,
    }
    with seeded_layers("initial-weights", "classifier", seed):
        return _build(FeatureClassifierModule, given, settings.module, "classifier.module")


def feature_request(
    settings: RunSettings, candidate: FeatureCandidate, device: torch.device
) -> tuple[FeatureSettings, Reduction | None]:
    """Which features a candidate means, and how they are reduced.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """
    features = settings.features
    reduction = (
        Reduction(
            features.components,
            scale=features.scale,
            whiten=features.whiten,
            per_timestep=features.combine == "timesteps",
        )
        if features.components
        else None
    )
    request = FeatureSettings(
        timesteps=candidate.timesteps,
        levels=candidate.levels,
        noise=features.noise,
        draws=features.draws,
        seed=settings.seed,
        tile=features.tile,
        precision=resolve_precision(features.precision, device),
    )
    return request, reduction


def _build(
    kind: type[Built], given: Mapping[str, Any], options: Mapping[str, Any], where: str
) -> Built:
    """``kind`` with the options that a configuration holds under the setting ``where``."""
    check_options(kind, options, where, given=given)
    try:
        return kind(**given, **options)
    except HsiDiffusionError:
        raise
    # "abc" where a number should be, deeper down: fails in the first comparison, wherever that is
    except TypeError as error:
        raise ConfigurationError(f"a value in {where} has the wrong type: {error}") from error
