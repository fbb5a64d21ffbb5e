"""A data module of diffusion features: those that a pretrained denoiser sees in a scene."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hsi_diffusion.denoisers import DenoiserPart  # noqa: TC001  # read by LightningCLI
from hsi_diffusion.diffusion import NoiseSchedulePart  # noqa: TC001
from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.features import (
    FeatureSettings,
    FeatureStore,
    FittedReduction,
    Reduction,
    compute_features,
    feature_channels,
    feature_settings,
)
from hsi_diffusion.modules.data import PatchDataModule
from hsi_diffusion.modules.pretrain import DiffusionPretrainModule
from hsi_diffusion.modules.scene_data import SceneDataModule  # noqa: TC001  # read by LightningCLI
from hsi_diffusion.options import settings_of

if TYPE_CHECKING:
    from hsi_diffusion.patches import BandTransform
    from hsi_diffusion.scenes import SceneInfo

    ReductionPart = Reduction | FittedReduction | Mapping[str, Any]
else:  # what a command line can offer
    ReductionPart = Reduction | Mapping[str, Any]


class PretrainedFeaturesDataModule(PatchDataModule):
    """Patches of the features of a pretrained denoiser, over the pixels and split of a scene.

    The scene's bands are transformed as they were for the pretraining; nothing is fitted but the
    reduction of the features, and not even that where it is given fitted, or where the Trainer's
    module keeps the one that it learned with. They are computed in ``setup``, by the Trainer's
    device.

    Args:
        scene: The data module of the scene, whose labels and split are used. Its patches and
            batches are not: what is set here counts.
        pretrained: Checkpoint of a :class:`~hsi_diffusion.modules.DiffusionPretrainModule`, or the
            module itself.
        features: Timesteps, levels and noise; None: the defaults of
            :class:`~hsi_diffusion.features.FeatureSettings`.
        reduction: How to reduce the channels; or a reduction that is fitted already, such as that
            of another image (``first.reduction``); None keeps them all.
        angles: Append the spectral angles between the scene and what the denoiser restores.
        store: Folder that keeps the features, so that the next run finds them; None keeps none.
        denoiser: The denoiser of a checkpoint, where it is not the library's; an argument of
            :class:`~hsi_diffusion.modules.DiffusionPretrainModule`. None: the checkpoint's.
        schedule: Likewise its noise schedule.
        **settings: Arguments of :class:`PatchDataModule`.

    Raises:
        ConfigurationError: A setting is unknown or outside what is allowed, or the patches are
            larger than those for which the scene's split into blocks keeps a distance.

    Attributes:
        reduction: How the channels are reduced; after ``setup`` the
            :class:`~hsi_diffusion.features.FittedReduction`. Give it to the data module of another
            image, so that its features lie on the same axes. None: they are not reduced.
    """

    def __init__(
        self,
        scene: SceneDataModule,
        pretrained: str | Path | DiffusionPretrainModule,
        *,
        features: FeatureSettings | Mapping[str, Any] | None = None,
        reduction: ReductionPart | None = None,
        angles: bool = False,
        store: str | Path | None = None,
        denoiser: DenoiserPart | None = None,
        schedule: NoiseSchedulePart = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.scene = scene
        self.pretrained = pretrained
        self.features = feature_settings(features)
        if isinstance(reduction, Mapping):
            reduction = settings_of(Reduction, reduction, "reduction")
        self.store = None if store is None else FeatureStore(Path(store))
        parts: dict[str, Any] = {"denoiser": denoiser, "schedule": schedule}
        self._parts = {name: part for name, part in parts.items() if part is not None}
        if self._parts and isinstance(pretrained, DiffusionPretrainModule):
            raise ConfigurationError(
                f"{' and '.join(self._parts)} must be None where pretrained is a module, which has "
                "its own; they are for a checkpoint"
            )
        self._groups = (1, angles)
        self._reduce_by(reduction)
        reserved = scene.split_patch_size
        if scene.split_settings == "blocks" and scene.guard is None and reserved < self.patch_size:
            raise ConfigurationError(
                f"split='blocks' of the scene keeps a distance for patches of {reserved} pixels, "
                f"but patch_size is {self.patch_size}; set split_patch_size={self.patch_size} in "
                "the scene"
            )

    @cached_property
    def module(self) -> DiffusionPretrainModule:
        """The pretrained module, read from its checkpoint where it was not given."""
        if isinstance(self.pretrained, DiffusionPretrainModule):
            return self.pretrained
        return DiffusionPretrainModule.load_from_checkpoint(
            self.pretrained, map_location="cpu", weights_only=True, **self._parts
        )

    @property
    def info(self) -> SceneInfo:
        """The scene's facts."""
        return self.scene.info

    @property
    def num_bands(self) -> int:
        """Channels D of the features."""
        angles = len(self.features.timesteps) if self.angles else 0
        if self.reduction is not None:
            return _settings(self.reduction).components * self.timesteps + angles
        return sum(feature_channels(self.module.trained_denoiser, self.features)) + angles

    def prepare_data(self) -> None:
        """Fetch what is missing of the scene, on one process."""
        self.scene.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Load the scene and compute its features; only the first call does anything."""
        del stage
        if "cube" in vars(self):
            return
        known = getattr(getattr(self.trainer, "lightning_module", None), "reduction", None)
        if isinstance(known, FittedReduction):
            self._reduce_by(known)
        self.scene.use_transform(self._transform())
        self.module.check_bands(self.scene.info)
        self.labels, self.split = self.scene.labels, self.scene.split
        self.valid = self.scene.valid
        self._compute()

    def use_reduction(self, reduction: FittedReduction) -> None:
        """Take a fitted reduction in place of one that is fitted here.

        Features that are there already are computed again, unless theirs is the same.

        Args:
            reduction: The reduction that a classifier learned with, fitted on this scene or on
                another one.

        Raises:
            ConfigurationError: It was fitted on features of another kind.
        """
        if isinstance(self.reduction, FittedReduction) and _same(self.reduction, reduction):
            return
        self._reduce_by(reduction)
        if "cube" in vars(self):
            self._compute()

    def _reduce_by(self, reduction: Reduction | FittedReduction | None) -> None:
        number = len(self.features.timesteps)
        mixed = reduction is not None and not _settings(reduction).per_timestep
        groups = 1 if mixed else number
        if isinstance(reduction, FittedReduction) and len(reduction.reducers) != groups:
            raise ConfigurationError(
                f"reduction must be fitted on features of {number} timesteps, as many as "
                f"features.timesteps, but was on {len(reduction.reducers)}: give the features of "
                "the data module that fitted it"
            )
        self.reduction = reduction
        self._groups = (groups, self._groups[1])

    def _compute(self) -> None:
        features = compute_features(
            self.module.trained_denoiser,
            self.module.schedule,
            self.scene.cube,
            self.features,
            reduction=self.reduction,
            angles=self.module.prediction if self.angles else None,
            valid=self.valid,
            store=self.store,
            device=None if self.trainer is None else self.trainer.strategy.root_device,
        )
        self.reduction = features.reduction
        self.cube = torch.from_numpy(features.array)

    def _transform(self) -> BandTransform:
        """The transform that the denoiser was trained with."""
        if self.module.transform is not None:
            return self.module.transform
        raise CheckpointError(
            "the pretrained module knows no band transform, so its features can't be computed as "
            "in its training; pretrain it with one of the data modules of this library"
        )


def _settings(reduction: Reduction | FittedReduction) -> Reduction:
    return reduction.settings if isinstance(reduction, FittedReduction) else reduction


def _same(one: FittedReduction, other: FittedReduction) -> bool:
    """Whether two reductions give the same."""
    first, second = one.tensors(), other.tensors()
    return (
        one.settings == other.settings
        and first.keys() == second.keys()
        and all(torch.equal(value, second[name]) for name, value in first.items())
    )
