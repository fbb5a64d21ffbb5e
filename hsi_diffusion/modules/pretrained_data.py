"""A data module of diffusion features: those that a pretrained denoiser sees in a scene."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.features import (
    FeatureSettings,
    FeatureStore,
    Reduction,
    compute_features,
    feature_channels,
    feature_settings,
)
from hsi_diffusion.modules.data import PatchDataModule
from hsi_diffusion.modules.pretrain import DiffusionPretrainModule
from hsi_diffusion.modules.scene_data import SceneDataModule  # noqa: TC001  # read by LightningCLI
from hsi_diffusion.options import check_options

if TYPE_CHECKING:
    from hsi_diffusion.patches import BandTransform
    from hsi_diffusion.scenes import SceneInfo


class PretrainedFeaturesDataModule(PatchDataModule):
    """Patches of the features of a pretrained denoiser, over the pixels and split of a scene.

    The scene's bands are transformed as they were for the pretraining; nothing is fitted but the
    reduction of the features. They are computed in ``setup``, by the Trainer's device.

    Args:
        scene: The data module of the scene, whose labels and split are used. Its patches and
            batches are not: what is set here counts.
        pretrained: Checkpoint of a :class:`~hsi_diffusion.modules.DiffusionPretrainModule`, or the
            module itself.
        features: Timesteps, levels and noise; None: the defaults of
            :class:`~hsi_diffusion.features.FeatureSettings`.
        reduction: How to reduce the channels; None keeps them all.
        angles: Append the spectral angles between the scene and what the denoiser restores.
        store: Folder that keeps the features, so that the next run finds them; None keeps none.
        **settings: Arguments of :class:`PatchDataModule`.

    Raises:
        ConfigurationError: A setting is unknown or outside what is allowed, or the patches are
            larger than those for which the scene's split into blocks keeps a distance.
    """

    def __init__(
        self,
        scene: SceneDataModule,
        pretrained: str | Path | DiffusionPretrainModule,
        *,
        features: FeatureSettings | Mapping[str, Any] | None = None,
        reduction: Reduction | Mapping[str, Any] | None = None,
        angles: bool = False,
        store: str | Path | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.scene = scene
        self.pretrained = pretrained
        features = feature_settings(features)
        if isinstance(reduction, Mapping):
            check_options(Reduction, reduction, "reduction")
            reduction = Reduction(**reduction)
        self.features = features
        self.reduction = reduction
        self.store = None if store is None else FeatureStore(Path(store))
        number = len(features.timesteps)
        mixed = reduction is not None and not reduction.per_timestep
        self._groups = (1 if mixed else number, angles)
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
            self.pretrained, map_location="cpu", weights_only=True
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
            return self.reduction.components * self.timesteps + angles
        return sum(feature_channels(self.module.trained_denoiser, self.features)) + angles

    def prepare_data(self) -> None:
        """Fetch what is missing of the scene, on one process."""
        self.scene.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Load the scene and compute its features; only the first call does anything."""
        del stage
        if "cube" in vars(self):
            return
        self.scene.use_transform(self._transform())
        self.module.check_bands(self.scene.info)
        self.labels, self.split = self.scene.labels, self.scene.split
        self.valid = self.scene.valid
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
        self.cube = torch.from_numpy(features.array)

    def _transform(self) -> BandTransform:
        """The transform that the denoiser was trained with."""
        if self.module.transform is not None:
            return self.module.transform
        raise CheckpointError(
            "the pretrained module knows no band transform, so its features can't be computed as "
            "in its training; pretrain it with one of the data modules of this library"
        )
