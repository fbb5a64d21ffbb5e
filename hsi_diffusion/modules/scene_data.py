"""Base of the data modules of all scenes: load, split, transform, and hand out patches."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.modules.data import PatchDataModule
from hsi_diffusion.parts import plain_part
from hsi_diffusion.patches import (
    TRANSFORMS,
    BandTransform,
    MinMax,
    SplitSetting,
    TransformPart,
    build_transform,
    check_split_settings,
    scene_split,
    transform_from_state,
)
from hsi_diffusion.scenes import Scene

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion.scenes import SceneInfo

FitPixels = Literal["all", "train"]
"""Pixels whose spectra a transform is fitted on; neither choice looks at labels of test pixels."""


class SceneDataModule(PatchDataModule):
    """Patches of a scene.

    Args:
        split: ``"0.1"`` (fraction of every class), ``"10"`` (pixels per class), ``"blocks"``
            (spatially disjoint, with a guard band of ``guard`` pixels), ``"fixed"`` (the scene's
            published split, or the masks given), the path of a stored split (.npz), or a
            :class:`Split`. Numbers may be given as numbers: 0.1, 10. None: the scene's own, see
            :func:`~hsi_diffusion.patches.scene_split`.
        train_mask: For ``split="fixed"``: the training pixels, ``"FILE[:key]"`` or an array of
            shape (H, W).
        test_mask: Likewise the test pixels.
        guard: Pixels between training and test pixels, for ``split="blocks"`` only; None: the
            radius of ``split_patch_size``.
        split_patch_size: The largest patch that will be used on this split; None: ``patch_size``.
        val_fraction: Fraction of each class's training budget that becomes validation pixels.
        transform: The band transform: an object such as ``MNF(components=24)``, a class or function
            that makes one, the name of one of :data:`~hsi_diffusion.patches.TRANSFORMS`, or
            ``{"class_path": "MNF", "init_args": {"components": 24}}``. One that is fitted already
            is used as it is.
        fit_on: The transform sees the spectra of ``"all"`` pixels (no labels; usual in the field)
            or of the ``"train"`` pixels only.
        patch_size: Side P of the patches in pixels.
        seed: Rules the split and the order of the patches.
        **settings: Further arguments of :class:`~hsi_diffusion.modules.PatchDataModule`.
    """

    def __init__(
        self,
        *,
        split: SplitSetting | None = None,
        train_mask: str | Path | NDArray[Any] | None = None,
        test_mask: str | Path | NDArray[Any] | None = None,
        guard: int | None = None,
        split_patch_size: int | None = None,
        val_fraction: float = 0.2,
        transform: TransformPart = MinMax,
        fit_on: FitPixels = "all",
        patch_size: int = 16,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(patch_size=patch_size, seed=seed, **settings)
        if fit_on not in ("all", "train"):
            raise ConfigurationError(f"fit_on must be 'all' or 'train', got {fit_on!r}")
        check_split_settings(split, train_mask, test_mask, guard)
        self.split_settings = split
        self.train_mask = train_mask
        self.test_mask = test_mask
        self.guard = guard
        self.split_patch_size = split_patch_size or patch_size
        self.val_fraction = val_fraction
        self.fit_on = fit_on
        self.transform = build_transform(transform)
        self.hparams["transform"] = plain_part(self.transform, TRANSFORMS)
        self._transform_ready = False

    @abstractmethod
    def load(self) -> Scene:
        """Read or make the scene; called once."""

    @cached_property
    def scene(self) -> Scene:
        """The scene with its cube as published."""
        return self.load()

    @property
    def info(self) -> SceneInfo:
        """The scene's facts."""
        return self.scene.info

    @property
    def num_bands(self) -> int:
        """Channels of the patches: components, or the scene's bands."""
        if self.transform.fitted:
            return self.transform.num_components
        return min(self.transform.components or self.info.bands, self.info.bands)

    def setup(self, stage: str | None = None) -> None:
        """Load, split and transform; only the first call does anything.

        Where the Trainer's module keeps the transform that it was trained with, or the transform
        was given fitted, nothing is fitted.
        """
        del stage
        if self._transform_ready:
            return
        known = getattr(getattr(self.trainer, "lightning_module", None), "transform", None)
        known = known if isinstance(known, BandTransform) else self.transform
        if known.fitted:
            self.use_transform(known)
            return
        self._read()
        scene = self.scene
        if self.fit_on == "train":
            self.transform.fit(
                scene.cube,
                _mask(self.require_split().train, scene.labels.shape),
                source=f"training pixels of {scene.info.name}",
            )
        else:
            self.transform.fit(scene.cube, scene.valid, f"all pixels of {scene.info.name}")
        self._apply(self.transform)

    def use_transform(self, transform: BandTransform) -> None:
        """Take a fitted transform in place of one that is fitted here; loads the scene.

        Args:
            transform: The transform that a network was trained with, fitted on this scene or on
                another one of the same sensor.

        Raises:
            NotFittedError: The transform has not been fitted.
            ConfigurationError: It was fitted on another number of bands.
        """
        if transform.num_bands != self.info.bands:
            raise ConfigurationError(
                f"the transform was fitted on {transform.num_bands} bands "
                f"({transform.fitted_on}), but scene {self.info.name!r} has {self.info.bands}; "
                "take one that was fitted on a scene of the same sensor, or pretrain on this scene"
            )
        if self._transform_ready and transform is self.transform:
            return
        if not self._transform_ready:
            self._read()
        self._apply(transform)

    def state_dict(self) -> dict[str, Any]:
        """The fitted transform, and how many training batches were learned."""
        state = super().state_dict()
        if self._transform_ready:
            state["transform"] = self.transform.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Use a checkpoint's transform instead of one fitted here, and go on after its batches.

        Before ``setup``, this takes its place, and nothing is fitted at all.

        Raises:
            ConfigurationError: The checkpoint is one of a scene with another number of bands.
        """
        super().load_state_dict(state_dict)
        if "transform" not in state_dict:
            return
        self.use_transform(transform_from_state(state_dict["transform"]))

    def _read(self) -> None:
        self.labels = self.scene.labels
        self.valid = self.scene.valid
        self.split = scene_split(
            self.scene,
            self.split_settings,
            train_mask=self.train_mask,
            test_mask=self.test_mask,
            guard=self.guard,
            patch_size=self.split_patch_size,
            val_fraction=self.val_fraction,
            seed=self.seed,
        )

    def _apply(self, transform: BandTransform) -> None:
        """Take a fitted transform, and the cube that it makes."""
        self.transform = transform
        self.cube = torch.from_numpy(transform.transform(self.scene.cube))
        self._transform_ready = True


class LoadedSceneDataModule(SceneDataModule):
    """Patches of a scene that is in memory, such as one that a reader of the user's own made.

    Args:
        scene: The scene.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    def __init__(self, scene: Scene, **settings: Any) -> None:
        if not isinstance(scene, Scene):
            raise ConfigurationError(
                f"scene must be a Scene, got {scene!r}; for files use CustomSceneDataModule"
            )
        super().__init__(**settings)
        self._given = scene

    def load(self) -> Scene:
        """The scene as given."""
        return self._given


def _mask(pixels: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(math.prod(shape), dtype=np.bool_)
    mask[pixels] = True
    return mask.reshape(shape)
