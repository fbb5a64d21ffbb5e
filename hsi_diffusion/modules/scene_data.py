"""What the data modules of all scenes share: load, split, transform, and hand out patches."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from hsi_diffusion.errors import ConfigurationError, SplitError
from hsi_diffusion.modules.data import PatchDataModule, Task
from hsi_diffusion.patches import (
    Split,
    build_transform,
    fixed_split,
    make_split,
    transform_from_state,
)
from hsi_diffusion.scenes import Scene, read_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion.patches import BandTransform
    from hsi_diffusion.scenes import SceneInfo

FitPixels = Literal["all", "train"]
"""Pixels whose spectra a transform is fitted on; neither choice looks at labels of test pixels."""


class SceneDataModule(PatchDataModule):
    """Patches of a scene.

    Args:
        task: ``"pretrain"`` or ``"classify"``, see :class:`~hsi_diffusion.modules.PatchDataModule`.
        split: ``"0.1"`` (fraction per class), ``"10"`` (pixels per class), ``"blocks"`` (spatially
            disjoint, with a guard band of ``guard`` pixels), ``"fixed"`` (the scene's published
            split, or the masks given), the path of a stored split (.npz), or a :class:`Split`.
            Numbers may be given as numbers: 0.1, 10.
        train_mask: For ``split="fixed"``: the training pixels, ``"FILE[:key]"`` or an array of
            shape (H, W).
        test_mask: Likewise the test pixels.
        guard: Pixels between training and test pixels, for ``split="blocks"`` only; None: the
            radius of ``split_patch_size``.
        split_patch_size: The largest patch that will be used on this split; None: ``patch_size``.
        val_fraction: Share of each class's training budget that becomes validation pixels.
        transform: ``"minmax"``, ``"standardise"``, ``"pca"``, ``"mnf"`` or ``"identity"``.
        components: Components that ``"pca"`` and ``"mnf"`` keep; None keeps all.
        transform_options: Further arguments of the transform, such as ``{"whiten": True}``.
        fit_on: The transform sees the spectra of ``"all"`` pixels (no labels; usual in the field)
            or of the ``"train"`` pixels only.
        patch_size: Side P of the patches in pixels.
        batch_size: Patches of a training batch, per process.
        seed: Rules the split and the order of the patches.
        **settings: Further arguments of :class:`~hsi_diffusion.modules.PatchDataModule`.
    """

    def __init__(
        self,
        *,
        task: Task = "classify",
        split: str | float | Path | Split | None = "0.1",
        train_mask: str | Path | NDArray[Any] | None = None,
        test_mask: str | Path | NDArray[Any] | None = None,
        guard: int | None = None,
        split_patch_size: int | None = None,
        val_fraction: float = 0.2,
        transform: str = "minmax",
        components: int | None = None,
        transform_options: dict[str, Any] | None = None,
        fit_on: FitPixels = "all",
        patch_size: int = 16,
        batch_size: int = 64,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(
            task=task, patch_size=patch_size, batch_size=batch_size, seed=seed, **settings
        )
        if fit_on not in ("all", "train"):
            raise ConfigurationError(f"fit_on must be 'all' or 'train', got {fit_on!r}")
        if (train_mask is None) != (test_mask is None):
            raise ConfigurationError("train_mask and test_mask go together: give both or neither")
        if train_mask is not None and split != "fixed":
            raise ConfigurationError(
                f"train_mask and test_mask need split='fixed', got split={split!r}"
            )
        if guard is not None and split != "blocks":
            kind = "one that is given" if isinstance(split, Split) else repr(split)
            raise ConfigurationError(
                f"guard is the distance that split='blocks' keeps; got guard={guard} with "
                f"split={kind}, which would not heed it: leave out guard, or take blocks"
            )
        self.split_settings = split
        self.train_mask = train_mask
        self.test_mask = test_mask
        self.guard = guard
        self.split_patch_size = split_patch_size or patch_size
        self.val_fraction = val_fraction
        self.fit_on = fit_on
        self.transform: BandTransform = build_transform(
            transform, components, **(transform_options or {})
        )
        self.components = components
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
        if self._transform_ready:  # that of a checkpoint may keep another number
            return self.transform.num_components
        return self.components or self.info.bands

    def setup(self, stage: str | None = None) -> None:
        """Load, split and transform; only the first call does anything."""
        del stage
        if self._transform_ready:
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
            self.transform.fit(scene.cube, source=f"all pixels of {scene.info.name}")
        self._apply(self.transform)

    def state_dict(self) -> dict[str, Any]:
        """The fitted transform, and how far the training is in its epoch."""
        state = super().state_dict()
        if self._transform_ready:
            state["transform"] = self.transform.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Use a checkpoint's transform instead of one fitted here, and go on in its epoch.

        Before ``setup``, this takes its place, and nothing is fitted at all.

        Raises:
            ConfigurationError: The checkpoint is one of a scene with another number of bands.
        """
        super().load_state_dict(state_dict)
        if "transform" not in state_dict:
            return
        transform = transform_from_state(state_dict["transform"])
        if transform.num_bands != self.info.bands:
            raise ConfigurationError(
                f"the checkpoint's transform was fitted on {transform.num_bands} bands, but scene "
                f"{self.info.name!r} has {self.info.bands}; take a checkpoint of this scene, or "
                "pretrain on it"
            )
        if not self._transform_ready:
            self._read()
        self._apply(transform)

    def _read(self) -> None:
        self.labels = self.scene.labels
        self.split = self._make_split(self.scene)

    def _apply(self, transform: BandTransform) -> None:
        """Take a fitted transform, and the cube that it makes."""
        self.transform = transform
        self.cube = torch.from_numpy(transform.transform(self.scene.cube))
        self._transform_ready = True

    def _make_split(self, scene: Scene) -> Split | None:
        split = self.split_settings
        if split is None or not scene.labels.any():
            return None
        if not isinstance(split, Split):
            split = str(split)
            if split.endswith(".npz"):
                split = _stored_split(split)
        if isinstance(split, Split):
            split.check_fits(scene.labels)
            return split
        options: dict[str, Any] = {"val_fraction": self.val_fraction, "seed": self.seed}
        if split == "fixed":
            train, test = self._fixed_masks(scene)
            return fixed_split(scene.labels, train, test, **options)
        return make_split(
            scene.labels, split, patch_size=self.split_patch_size, guard=self.guard, **options
        )

    def _fixed_masks(self, scene: Scene) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.train_mask is not None and self.test_mask is not None:
            shape = (scene.height, scene.width)
            train, test = (
                mask if isinstance(mask, np.ndarray) else read_mask(mask, shape)
                for mask in (self.train_mask, self.test_mask)
            )
            return train, test
        if scene.fixed_train is None or scene.fixed_test is None:
            raise SplitError(
                f"scene {scene.info.name!r} has no published split built in; give train_mask and "
                "test_mask (--train-mask, --test-mask), or another split: a fraction such as "
                "'0.1', pixels per class such as '10', or 'blocks'"
            )
        return scene.fixed_train, scene.fixed_test


def _stored_split(path: str) -> Split:
    try:
        return Split.load(path)
    except OSError as error:
        raise SplitError(
            f"can't read the stored split {path}: {error.strerror or error}; give the split.npz of "
            "an earlier run on this scene, or another split such as '0.1'"
        ) from error


def _mask(pixels: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(math.prod(shape), dtype=np.bool_)
    mask[pixels] = True
    return mask.reshape(shape)
