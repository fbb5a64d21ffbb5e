"""Typed settings of everything that a model learns from."""

from __future__ import annotations

import functools

# the annotations below are read at run time, by the program's parser
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable  # noqa: TC002

from hsi_diffusion.classifiers import ClassifierSettings
from hsi_diffusion.denoisers import Denoiser, UNet3D
from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings, NoiseMode, Reduction
from hsi_diffusion.features.request import whole_numbers
from hsi_diffusion.graphs import SpreadingSettings
from hsi_diffusion.hardware import AnyPrecision, Precision  # noqa: TC001
from hsi_diffusion.modules import ContrastSettings, LearningRateSchedule
from hsi_diffusion.options import check_at_least, check_range
from hsi_diffusion.parts import Recorded, check_functions
from hsi_diffusion.patches import MNF, BandTransform, ChannelScale, MinMax
from hsi_diffusion.types import Padding, PredictionKind  # noqa: TC001

DenoiserFactory = Callable[[int], Denoiser]
"""Makes a denoiser from the number of bands: a class, or ``functools.partial`` of one."""

ScheduleFactory = Callable[[], NoiseSchedule]
"""Makes a noise schedule."""

TransformFactory = Callable[[], BandTransform]
"""Makes a band transform, unfitted."""

Combine = Literal["none", "timesteps", "all"]
"""Which features make one candidate: one timestep and level; all timesteps of one level, side by
side; or all timesteps and levels, reduced together."""


def _maker(part: object, kind: type[Recorded], where: str) -> object:
    """What makes a part: of an object, its class with the arguments that it was made with."""
    if isinstance(part, kind):
        return functools.partial(type(part), **part.init_args) if part.init_args else type(part)
    if not callable(part) or isinstance(part, Recorded):
        raise ConfigurationError(
            f"{where} must be a {kind.__name__}, or a class or function that makes one, got a "
            f"{type(part).__name__}"
        )
    return part


@dataclass(frozen=True, kw_only=True)
class BandSpace:
    """A space of the bands.

    Attributes:
        transform: Band transform, fitted on all pixels of the scene without labels; an object
            works too, whose arguments make another one for each fit.
        blur: Standard deviation in pixels of a spatial Gaussian blur after the transform;
            0 = none.
        neighbours: Number of nearest neighbours with which every pixel is averaged afterwards; 0 =
            none.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    transform: TransformFactory = MinMax
    blur: float = 0.0
    neighbours: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible widths and counts."""
        made = _maker(self.transform, BandTransform, "transform of a space")
        object.__setattr__(self, "transform", made)
        check_range("at least 0 and finite (pixels; 0 = no blur)", blur=self.blur)
        check_at_least(0, neighbours=self.neighbours)

    def __str__(self) -> str:
        """Describe it for reports: transform, components, blur and neighbours."""
        transform = self.transform()
        components = getattr(transform, "components", None)
        parts = [transform.name if components is None else f"{transform.name}-{components}"]
        if self.blur:
            parts.append(f"blur {self.blur:g}")
        if self.neighbours:
            parts.append(f"{self.neighbours} neighbours")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """How a denoiser learns an image without labels.

    Attributes:
        denoiser: Makes the network from the number of components; of an object, a copy is trained.
            None: no pretraining, the classifier learns from raw bands.
        transform: Band transform of its input, fitted on all pixels without labels; an object
            works too, whose arguments make another one for each fit.
        schedule: Noise schedule; likewise.
        prediction: What the network predicts: ``"noise"``, ``"x0"`` or ``"v"``.
        losses: Weight of each part of the loss: ``"l1"``, ``"l2"``, ``"lae"``; or, under a name of
            its own, a function ``(output, target) -> scalar`` of yours.
        contrast: Contrast between views, added to the denoising loss; none if both weights are 0.
        augmentation: Augmentations of the patches and their strengths; or, under a name of its own,
            a function ``(images, generator) -> images`` of yours, over (B, C, P, P).
        learning_rate: Highest learning rate.
        lr_schedule: ``"constant"`` or ``"cosine"``.
        warmup: Fraction of the steps over which the learning rate rises.
        weight_decay: Decoupled weight decay.
        optimizer: Makes the optimiser from the weights, instead of AdamW.
        lr_scheduler: Makes the learning-rate schedule from the optimiser, instead of
            ``lr_schedule``; it steps after every optimiser step.
        ema_decay: Decay of the moving average of the weights, from which features are taken; None:
            no average.
        steps: Optimiser steps.
        patch_size: Side of the patches in pixels.
        batch_size: Patches per step, of all processes together.
        micro_batch_size: Patches that one process computes at once; a larger part of a step is
            computed in equal portions, and gradients are accumulated. None: all at once.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        gradient_clip: Largest norm of a gradient; 0 = unlimited.
        padding: How patches are filled outside the scene.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    denoiser: DenoiserFactory | None = UNet3D
    transform: TransformFactory = MinMax
    schedule: ScheduleFactory = NoiseSchedule
    prediction: PredictionKind = "noise"
    losses: dict[str, float | Callable[..., Any]] = field(default_factory=lambda: {"l1": 1.0})
    contrast: ContrastSettings = ContrastSettings(instance=0.0, cluster=0.0)  # noqa: RUF009
    augmentation: dict[str, float | Callable[..., Any]] = field(default_factory=dict)
    learning_rate: float = 1e-4
    lr_schedule: LearningRateSchedule = "constant"
    warmup: float = 0.0
    weight_decay: float = 0.0
    optimizer: OptimizerCallable | None = None
    lr_scheduler: LRSchedulerCallable | None = None
    ema_decay: float | None = None
    steps: int = 1000
    patch_size: int = 16
    batch_size: int = 256
    micro_batch_size: int | None = None
    precision: AnyPrecision = "auto"
    gradient_clip: float = 0.0
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name, kind in (("transform", BandTransform), ("schedule", NoiseSchedule)):
            object.__setattr__(self, name, _maker(getattr(self, name), kind, f"pretrain.{name}"))
        for name in ("steps", "patch_size", "batch_size", "micro_batch_size"):
            value = getattr(self, name)
            if value is not None:
                check_at_least(1, **{f"pretrain.{name}": value})
        check_functions(self.losses, "pretrain.losses", "(output, target) -> scalar")
        for where, given in (
            ("pretrain.augmentation", self.augmentation),
            ("pretrain.contrast.augmentation", self.contrast.augmentation),
        ):
            check_functions(given, where, "(images, generator) -> images")
        clip = {"pretrain.gradient_clip": self.gradient_clip}
        check_range("at least 0 and finite (0 = unlimited)", **clip)


@dataclass(frozen=True, slots=True)
class FeatureCandidate:
    """Features that a classifier could learn from.

    Attributes:
        timesteps: Steps t of the noise schedule.
        levels: Numbers of the denoiser's feature levels.
    """

    timesteps: tuple[int, ...]
    levels: tuple[int, ...]

    def __str__(self) -> str:
        """For reports: "t = 50, 100, level 2"."""
        timesteps, levels = (", ".join(map(str, part)) for part in (self.timesteps, self.levels))
        return f"t = {timesteps}, {'level' if len(self.levels) == 1 else 'levels'} {levels}"


@dataclass(frozen=True, kw_only=True)
class FeatureStageSettings:
    """Which features are tried, and how they are reduced.

    Attributes:
        timesteps: Candidates for the timestep t.
        levels: Candidates for the feature level (layer).
        noise: ``"none"``, ``"fixed"`` or ``"mean"``; see
            :class:`~hsi_diffusion.features.FeatureSettings`.
        draws: Noise draws that ``"mean"`` averages over.
        tile: Side of the tiles in pixels.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        combine: What makes one candidate: ``"none"``, one timestep and level; ``"timesteps"``, all
            timesteps of one level, each reduced by itself; ``"all"``, everything at once, reduced
            together.
        angles: Add the spectral angle between the scene and its restoration by the denoiser, one
            channel per timestep, for a classifier that weights timesteps by it. It is computed in
            the denoiser's input space, not between reflectance spectra. Needs
            ``combine="timesteps"``.
        components: Principal components that each reduction keeps; 0 keeps all channels.
        scale: How channels are scaled before the reduction: ``"minmax"``, ``"standard"`` or
            ``"none"``.
        whiten: Give every component unit variance.
        keep: Which feature files stay in the run's folder: ``"best"`` (those of the chosen
            candidate), ``"all"`` or ``"none"``.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    timesteps: tuple[int, ...] = (5, 10, 50, 100, 200, 400)
    levels: tuple[int, ...] = (0, 1, 2)
    noise: NoiseMode = "fixed"
    draws: int = 8
    tile: int = 160
    precision: AnyPrecision = "auto"
    combine: Combine = "none"
    angles: bool = False
    components: int = 0
    scale: ChannelScale = "none"
    whiten: bool = False
    keep: Literal["best", "all", "none"] = "best"

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name in ("timesteps", "levels"):
            numbers = whole_numbers(f"features.{name}", getattr(self, name))
            object.__setattr__(self, name, numbers)
        if self.angles and self.combine != "timesteps":
            raise ConfigurationError(
                "features.angles needs features.combine=timesteps, so that every timestep has an "
                f"angle and features of its own, got combine={self.combine!r}"
            )

    def candidates(self) -> tuple[FeatureCandidate, ...]:
        """All that ``combine`` makes of the timesteps and levels."""
        if self.combine == "none":
            return tuple(
                FeatureCandidate((t,), (level,)) for t in self.timesteps for level in self.levels
            )
        if self.combine == "timesteps":
            return tuple(FeatureCandidate(self.timesteps, (level,)) for level in self.levels)
        return (FeatureCandidate(self.timesteps, self.levels),)

    def request(
        self, candidate: FeatureCandidate, precision: Precision, seed: int
    ) -> FeatureSettings:
        """Feature settings of a candidate."""
        return FeatureSettings(
            timesteps=candidate.timesteps,
            levels=candidate.levels,
            noise=self.noise,
            draws=self.draws,
            seed=seed,
            tile=self.tile,
            precision=precision,
        )

    def reduction(self) -> Reduction | None:
        """How the channels of a candidate are reduced; None: not at all."""
        if not self.components:
            return None
        return Reduction(
            self.components,
            scale=self.scale,
            whiten=self.whiten,
            per_timestep=self.combine == "timesteps",
        )


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings:
    """How candidates are compared, features and spaces of raw bands alike, without test pixels.

    Attributes:
        steps: Training steps of the network that compares them.
        folds: Folds of the cross-validation inside the label budget that takes the place of the
            split's validation pixels where these are few; 1: always the validation pixels. Splits
            that test land apart from the labels (blocks, fields, polygons, images) use theirs,
            however few: in random folds, pixels of one field would validate each other.
        small: Number of validation pixels below which cross-validation is used.
        score: Score an only candidate as well. A run then always has a figure that settings can be
            chosen by, in a sweep for example.
    """

    steps: int = 100
    folds: int = 3
    small: int = 100
    score: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_at_least(1, **{"choice.steps": self.steps, "choice.folds": self.folds})


_NOISE_SCALED = BandSpace(transform=functools.partial(MNF, components=24, scale="noise"))


@dataclass(frozen=True, kw_only=True)
class PropagationSettings(SpreadingSettings):
    """How labels and probabilities are spread over the image along graphs.

    Attributes:
        space: Space of the bands in which the scene's graph compares pixels. The method and its
            control use the same graph, which does not depend on the denoiser.
        label_weight: See :class:`~hsi_diffusion.graphs.SpreadingSettings`; 0: nothing is spread.
    """

    space: BandSpace = _NOISE_SCALED
    label_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        try:
            super().__post_init__()
        except ConfigurationError as error:
            raise ConfigurationError(f"spreading.{error}") from error

    @property
    def active(self) -> bool:
        """Whether anything is spread."""
        return self.label_weight > 0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model learns: pretraining, features, classifier, and the control on raw bands.

    Attributes:
        pretrain: How the denoiser learns.
        features: Which features are tried.
        choice: How features, and spaces of raw bands, are compared.
        classifier: How the classifier learns.
        spreading: How labels and probabilities are spread over the image.
        raw_bands: Spaces of the raw bands that the control, the same classifier without diffusion,
            learns from; without pretraining, those of the method. With several, the validation
            pixels choose; with none there is no control.

    Raises:
        ConfigurationError: Nothing is left to learn from.
    """

    pretrain: PretrainSettings = field(default_factory=PretrainSettings)
    features: FeatureStageSettings = field(default_factory=FeatureStageSettings)
    choice: ChoiceSettings = field(default_factory=ChoiceSettings)
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    spreading: PropagationSettings = field(default_factory=PropagationSettings)
    raw_bands: tuple[BandSpace, ...] = (BandSpace(),)

    def __post_init__(self) -> None:
        """Refuse a recipe without anything to learn from."""
        if not self.pretrains and not self.raw_bands:
            raise ConfigurationError(
                "without pretraining (pretrain.denoiser: null) the classifier learns from raw "
                "bands: give raw_bands at least one space, such as '[{transform: MinMax}]'"
            )

    @property
    def pretrains(self) -> bool:
        """Whether there is a denoiser."""
        return self.pretrain.denoiser is not None

    def without_pretraining(self) -> Self:
        """The control: the same classifier on raw bands."""
        return replace(self, pretrain=replace(self.pretrain, denoiser=None))
