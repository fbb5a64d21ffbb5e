"""Base of all data modules: loaders over one cube, its label map and its split."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.parsing import collect_init_args
from torch.utils.data import DataLoader

from hsi_diffusion.errors import ConfigurationError, NotSetUpError, SceneError, SplitError
from hsi_diffusion.features import FeatureCube, FeatureSettings, Reduction
from hsi_diffusion.modules.loader import TrainLoader
from hsi_diffusion.options import check_at_least
from hsi_diffusion.patches import (
    EvaluationSampler,
    PatchDataset,
    SeededSampler,
    collate_batch,
    pretraining_pixels,
)
from hsi_diffusion.types import Padding, TrainingTask

if TYPE_CHECKING:
    from types import FrameType

    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.patches import Split
    from hsi_diffusion.scenes import SceneInfo
    from hsi_diffusion.types import PatchBatch


class PatchDataModule(L.LightningDataModule, ABC):
    """Patches of one scene, for learning, for measuring, and for its map.

    ==========  ==============================================  ================================
    loader      task="pretrain"                                  task="classify"
    ==========  ==============================================  ================================
    train       all pixels, no labels (but for held-out ones)    labelled training pixels
    val         held-out patches, see ``pretraining_pixels``     validation pixels of the split
    test        test pixels of the split                         test pixels of the split
    predict     every pixel                                      every pixel
    ==========  ==============================================  ================================

    Which training patches come next follows from the seed and the number of batches before, so a
    training goes on exactly where it was interrupted; evaluation gives every pixel once over all
    processes. Both samplers do this on any number of processes, so the Trainer's
    ``use_distributed_sampler`` makes no difference. Batches are dicts, see
    :class:`~hsi_diffusion.types.PatchBatch`.

    A subclass sets :attr:`cube`, :attr:`labels` and :attr:`split` in ``setup``. All arguments are
    kept in ``hparams`` as plain data, without arrays and other objects.

    Args:
        task: What the training batches are for, ``"pretrain"`` or ``"classify"``; None: what the
            Lightning module trains for (its attribute ``task``), and ``"classify"`` without one.
        patch_size: Side P of the patches in pixels.
        batch_size: Patches of a training batch, per process.
        eval_batch_size: Patches of any other batch, per process.
        train_on: ``"train"`` learns from the training pixels and validates on the validation
            pixels; ``"labelled"`` learns from both, once everything has been chosen, and has no
            validation. Only for ``task="classify"``.
        samples_per_epoch: Patches of one training epoch over all processes; None means each once.
        holdout: Fraction of the scene that pretraining holds out for its validation loss.
        padding: What patches see outside the scene.
        seed: Rules everything random here.
        num_workers: Loader processes. Gathering is a few index operations, so 0 is usually best.
    """

    cube: Tensor
    """float32, shape (H, W, C), on the CPU; there after ``setup``."""

    labels: NDArray[np.int64]
    """Shape (H, W); 0 is unlabelled; there after ``setup``."""

    split: Split | None
    """Which pixels are for what; None for a scene without labels; there after ``setup``."""

    valid: NDArray[np.bool_] | None = None
    """The pixels that hold data, shape (H, W); None: all. Others are in no batch as its centre."""

    def __init__(
        self,
        *,
        task: TrainingTask | None = None,
        patch_size: int = 16,
        batch_size: int = 64,
        eval_batch_size: int = 512,
        train_on: Literal["train", "labelled"] = "train",
        samples_per_epoch: int | None = None,
        holdout: float = 0.05,
        padding: Padding = "reflect",
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if task is not None and task not in get_args(TrainingTask):
            raise ConfigurationError(f"task must be 'pretrain' or 'classify', got {task!r}")
        if train_on not in ("train", "labelled"):
            raise ConfigurationError(f"train_on must be 'train' or 'labelled', got {train_on!r}")
        check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        self._task = task
        self.patch_size = patch_size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.train_on = train_on
        self.samples_per_epoch = samples_per_epoch
        self.holdout = holdout
        self.padding: Padding = padding
        self.seed = seed
        self.num_workers = num_workers
        self._train_loader: TrainLoader | None = None
        self._loader_of: L.Trainer | None = None
        self._place: dict[str, int] | None = None
        self._groups = (1, False)
        self._note_hyperparameters(inspect.currentframe())

    if not TYPE_CHECKING:  # a type checker would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Say what to do where somebody walks through the loaders by hand."""
            kind = type(self).__name__
            if name in ("cube", "labels", "split"):
                raise NotSetUpError(
                    f"{kind} has {name} and its loaders only after setup: call setup() first; a "
                    "Trainer does it by itself"
                )
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")

    @property
    @abstractmethod
    def info(self) -> SceneInfo:
        """The scene's facts, known before ``setup``."""

    @property
    @abstractmethod
    def num_bands(self) -> int:
        """Channels C of the patches, known before ``setup``."""

    @property
    def task(self) -> TrainingTask:
        """What the training batches are for."""
        if self._task is not None:
            return self._task
        module = getattr(self.trainer, "lightning_module", None)
        return "pretrain" if getattr(module, "task", None) == "pretrain" else "classify"

    @property
    def timesteps(self) -> int:
        """In how many equal groups the channels lie, one per timestep of diffusion features."""
        return self._groups[0]

    @property
    def angles(self) -> bool:
        """Whether one spectral angle per timestep stands behind the features."""
        return self._groups[1]

    @property
    def num_classes(self) -> int:
        """Number of classes K, known before ``setup``."""
        return self.info.num_classes

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the scene."""
        return self.info.height, self.info.width

    def train_dataloader(self) -> DataLoader[PatchBatch]:
        """Patches to learn from, in a new order after each walk through them.

        A last batch of a single patch is left out: BatchNorm can't learn from it.
        """
        if self.task == "pretrain":
            index, _ = self.pretraining_pixels
        else:
            split = self.require_split()
            index = split.train if self.train_on == "train" else split.labelled
        dataset = self._dataset(index, labelled=self.task == "classify")
        sampler = SeededSampler(dataset, seed=self.seed, samples_per_epoch=self.samples_per_epoch)
        left_over = len(sampler) % self.batch_size
        loader = TrainLoader(
            dataset,
            self.batch_size,
            sampler=sampler,
            drop_last=left_over == 1 and len(sampler) > 1,
            **self._loader_settings(),
        )
        trainer = self.trainer
        if trainer is not None:
            if self._train_loader is not None and self._loader_of is trainer:  # it reloads
                loader.load_state_dict(self._train_loader.state_dict())
            elif self._place is not None and trainer.ckpt_path:
                loader.load_state_dict(self._place)
        loader.trainer = self._loader_of = trainer
        self._train_loader = loader
        return loader

    def val_dataloader(self) -> DataLoader[PatchBatch] | list[Any]:
        """Patches to choose by; an empty list where there are none."""
        if self.task == "pretrain":
            _, index = self.pretraining_pixels
        elif self.train_on == "labelled":
            return []
        else:
            index = self.require_split().val
        return self._evaluation(index, labelled=self.task == "classify") if len(index) else []

    def test_dataloader(self) -> DataLoader[PatchBatch]:
        """The test pixels, each exactly once."""
        return self._evaluation(self.require_split().test, labelled=True)

    def predict_dataloader(self) -> DataLoader[PatchBatch]:
        """Every pixel of the scene that holds data, each exactly once, without labels."""
        pixels = np.arange(self.shape[0] * self.shape[1])
        return self._evaluation(self._with_data(pixels), labelled=False)

    def state_dict(self) -> dict[str, Any]:
        """How many training batches were learned."""
        loader = self._train_loader
        return {} if loader is None else {"train_loader": loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, if a Trainer resumes from a checkpoint."""
        self._place = state_dict.get("train_loader")
        self._train_loader = None

    def with_features(
        self,
        features: Tensor | NDArray[np.float32] | FeatureCube,
        **settings: Any,
    ) -> FeatureDataModule:
        """The same scene, labels and split with another cube over the same pixels.

        Args:
            features: Diffusion features, or any other cube, float32, shape (H, W, D); not copied.
            **settings: Arguments of :class:`PatchDataModule` to change (``patch_size=11``, ...);
                the task becomes ``"classify"`` unless given.

        Returns:
            A data module that is ready for a Trainer.

        Raises:
            SceneError: The features don't cover the scene's pixels.
        """
        self.setup("fit")
        data = FeatureDataModule(
            features,
            self.labels,
            self.split,
            self.info,
            **{
                "patch_size": self.patch_size,
                "batch_size": self.batch_size,
                "eval_batch_size": self.eval_batch_size,
                "padding": self.padding,
                "seed": self.seed,
                "num_workers": self.num_workers,
                **settings,
            },
        )
        data.valid = self.valid
        return data

    @cached_property
    def pretraining_pixels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Centres of the patches that pretraining learns from, and of those held out."""
        return pretraining_pixels(
            self.shape, self.patch_size, holdout=self.holdout, seed=self.seed, valid=self.valid
        )

    def _with_data(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        return pixels if self.valid is None else pixels[self.valid.ravel()[pixels]]

    def require_split(self) -> Split:
        """The split.

        Raises:
            SplitError: The scene has no labels.
        """
        if self.split is None:
            if self.labels.any():
                raise SplitError("split is None, so there are no training and test pixels")
            raise SplitError(
                f"scene {self.info.name!r} has no labels (all of its pixels are 0, unlabelled), so "
                "it can be pretrained on and mapped but not split; give labels (--labels) to train "
                "or test a classifier, with classes numbered from 1"
            )
        return self.split

    def _dataset(self, index: NDArray[np.int64], *, labelled: bool) -> PatchDataset:
        labels = self.labels if labelled else None
        return PatchDataset(self.cube, index, labels, self.patch_size, self.padding)

    def _evaluation(self, index: NDArray[np.int64], *, labelled: bool) -> DataLoader[PatchBatch]:
        dataset = self._dataset(index, labelled=labelled)
        return DataLoader(
            dataset,
            batch_size=self.eval_batch_size,
            sampler=EvaluationSampler(dataset),
            collate_fn=collate_batch,
            **self._loader_settings(),
        )

    def _loader_settings(self) -> dict[str, Any]:
        trainer = self.trainer
        on_card = trainer is not None and trainer.strategy.root_device.type == "cuda"
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": on_card,
        }

    def _note_hyperparameters(self, frame: FrameType | None) -> None:
        """Keep the arguments of all constructors as plain data.

        Not by ``save_hyperparameters``, which copies whole cubes.
        """
        if frame is not None:
            for given in collect_init_args(frame, [], classes=(L.LightningDataModule,)):
                self.hparams.update({name: _plain(value) for name, value in given.items()})


class FeatureDataModule(PatchDataModule):
    """Patches of any cube over a scene's pixels, such as diffusion features.

    Args:
        features: Features as :func:`~hsi_diffusion.features.compute_features` gives them, or any
            float32 cube of shape (H, W, D); not copied.
        labels: Shape (H, W), 0 = unlabelled, classes 1..K.
        split: Which pixels are for what; None for a scene without labels.
        info: The scene's facts.
        task: As for :class:`PatchDataModule`.
        **settings: Further arguments of :class:`PatchDataModule`.

    Raises:
        SceneError: The features are not float32, or don't cover the pixels of the label map.
        SplitError: The split is one of a scene of another size.
    """

    def __init__(
        self,
        features: Tensor | NDArray[np.float32] | FeatureCube,
        labels: NDArray[np.int64],
        split: Split | None,
        info: SceneInfo,
        *,
        task: TrainingTask | None = "classify",
        **settings: Any,
    ) -> None:
        super().__init__(task=task, **settings)
        if isinstance(features, FeatureCube):
            self._groups = (features.timesteps, features.angles)
            features = features.array
        self.cube = torch.as_tensor(features)
        if self.cube.ndim != 3 or tuple(self.cube.shape[:2]) != labels.shape:
            raise SceneError(
                f"features must have shape {(*labels.shape, 'D')} like the label map, got "
                f"{tuple(self.cube.shape)}"
            )
        if self.cube.dtype != torch.float32:
            raise SceneError(
                f"features must be float32, got {self.cube.dtype}; convert them with .float() or "
                "astype('float32')"
            )
        if split is not None and split.shape != labels.shape:
            raise SplitError(
                f"the split is one of a scene of {split.shape} pixels, but the label map has "
                f"{labels.shape}"
            )
        if not self.cube.isfinite().all():
            raise SceneError("features must be finite, but some values are nan or infinite")
        self.labels = labels
        self.split = split
        self._info = info

    @property
    def info(self) -> SceneInfo:
        """The scene's facts."""
        return self._info

    @property
    def num_bands(self) -> int:
        """Channels D of the features."""
        return int(self.cube.shape[2])


def _plain(value: Any) -> Any:
    """The value as plain data; of an object that is none, a note that it was one."""
    if isinstance(value, np.generic):  # before float, which some of them are as well
        return value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, FeatureSettings | Reduction):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return f"object of class {type(value).__name__}, which is not stored: give it again"
