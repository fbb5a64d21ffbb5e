"""How a classifier of a scene's pixels learns."""

from __future__ import annotations

# the annotations below are read at run time, by the program's parser
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable  # noqa: TC002
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn

from hsi_diffusion.hardware import AnyPrecision  # noqa: TC001
from hsi_diffusion.modules import LearningRateSchedule  # noqa: TC001
from hsi_diffusion.networks import SpectralTransformer
from hsi_diffusion.options import check_at_least, check_range
from hsi_diffusion.parts import check_functions
from hsi_diffusion.patches.augment import check_turned_patches
from hsi_diffusion.types import Padding  # noqa: TC001

NetworkFactory = Callable[[int, int, int], nn.Module]
"""Makes a patch network from (channels, classes, patch size): a class of
:mod:`hsi_diffusion.networks`, ``functools.partial`` of one, or a user's own."""

EstimatorFactory = Callable[[], BaseEstimator] | Callable[[], ClassifierMixin]
"""Makes a scikit-learn classifier; a pipeline or a search, too, which is no ClassifierMixin."""


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """How the pixels of a scene are classified, the same for diffusion features and raw bands.

    Attributes:
        network: Network that learns patches of the cube, made from (channels, classes, patch
            size); constructors that have ``timesteps`` and ``angles`` get these too. An object
            works too: every training starts from a copy of it.
        estimator: Makes a scikit-learn classifier of single pixels, instead of the network; an
            estimator works too, and is copied. A ``random_state`` that is None follows the
            seed.
        each: Fit one estimator to each timestep and level (to each separate reduction), and average
            their probabilities; False: one to all channels together.
        patch_size: Side of the network's patches in pixels.
        batch_size: Patches per step.
        steps: Optimiser steps.
        learning_rate: Highest learning rate.
        lr_schedule: ``"constant"`` or ``"cosine"``.
        warmup: Fraction of the steps over which the learning rate rises.
        weight_decay: Decoupled weight decay.
        optimizer: Makes the optimiser from the weights, instead of AdamW.
        lr_scheduler: Makes the learning-rate schedule from the optimiser, instead of
            ``lr_schedule``; it steps after every optimiser step.
        label_smoothing: Fraction of the target that is spread over all classes, in [0, 1).
        members: Networks that are trained, and whose probabilities are averaged.
        augmentation: Augmentations and their strengths; or, under a name of its own, a function
            ``(images, generator) -> images`` of yours, over (B, C, P, P).
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        gradient_clip: Largest norm of a gradient; 0 = unlimited.
        padding: How patches are filled outside the scene.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    network: NetworkFactory = SpectralTransformer
    estimator: EstimatorFactory | None = None
    each: bool = False
    patch_size: int = 13
    batch_size: int = 64
    steps: int = 1000
    learning_rate: float = 1e-3
    lr_schedule: LearningRateSchedule = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.0
    optimizer: OptimizerCallable | None = None
    lr_scheduler: LRSchedulerCallable | None = None
    label_smoothing: float = 0.0
    members: int = 1
    augmentation: dict[str, float | Callable[..., Any]] = field(default_factory=dict)
    precision: AnyPrecision = "float32"
    gradient_clip: float = 15.0
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name in ("patch_size", "batch_size", "steps"):
            check_at_least(1, **{f"classifier.{name}": getattr(self, name)})
        check_functions(
            self.augmentation, "classifier.augmentation", "(images, generator) -> images"
        )
        if self.estimator is None:
            check_turned_patches(self.patch_size, self.augmentation, "classifier.")
        clip = {"classifier.gradient_clip": self.gradient_clip}
        check_range("at least 0 and finite (0 = unlimited)", **clip)
