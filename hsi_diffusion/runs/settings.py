"""Everything that decides a run, as plain data that a YAML file holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml

from hsi_diffusion.errors import ConfigurationError

# the annotations below are read at run time, by from_plain
from hsi_diffusion.features import ChannelScale, NoiseMode  # noqa: TC001
from hsi_diffusion.files import write_text
from hsi_diffusion.runs.plain import from_plain, to_plain
from hsi_diffusion.scenes import parse_location
from hsi_diffusion.types import Padding  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Mapping

AnyPrecision = Literal["auto", "float32", "bfloat16"]
"""``"auto"`` is bfloat16 where the hardware computes it, float32 elsewhere."""

LoggerName = Literal["csv", "wandb", "none"]

Combine = Literal["none", "timesteps", "all"]
"""Which features make one candidate: one timestep and level; all timesteps of one level, side by
side; or all timesteps and levels, reduced together."""


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """Which scene.

    Attributes:
        name: A scene of the catalogue, ``"simulated"``, or ``"custom"``.
        root: Folder of a catalogue scene's files.
        download: Fetch missing files of a catalogue scene.
        cube: Of a custom scene, ``"FILE[:key]"``.
        labels: Likewise its label map.
        height: Rows of a simulated scene.
        width: Columns of a simulated scene.
        bands: Bands of a simulated scene.
        num_classes: Classes of a simulated scene.
        scene_seed: Names a simulated scene.
    """

    name: str = "simulated"
    root: str = "data"
    download: bool = False
    cube: str | None = None
    labels: str | None = None
    height: int = 145
    width: int = 145
    bands: int = 200
    num_classes: int = 16
    scene_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """Which pixels are for what; see :class:`~hsi_diffusion.modules.SceneDataModule`."""

    kind: str = "0.1"
    train_mask: str | None = None
    test_mask: str | None = None
    guard: int | None = None
    val_fraction: float = 0.2


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """How the denoiser learns the scene.

    Attributes:
        transform: Band transform of its input.
        components: Components that PCA or MNF keep.
        transform_options: Further arguments of the transform.
        patch_size: Side of its patches in pixels.
        batch_size: Patches per step, of all processes together.
        micro_batch_size: Patches that one process computes at once; where its share of a step is
            larger, the step is taken in equal parts. What a network learns from the patches of a
            batch together, BatchNorm's statistics and the contrasts, it then learns within each
            part. None: its whole share.
        steps: Optimiser steps.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        gradient_clip: Largest norm of a gradient; 0 = unlimited.
        padding: What patches see outside the scene.
        module: Further arguments of :class:`~hsi_diffusion.modules.DiffusionPretrainModule`.
        checkpoint: A ``pretrain.ckpt`` to use instead of training; its band transform comes along.
    """

    transform: str = "minmax"
    components: int | None = None
    transform_options: dict[str, Any] = field(default_factory=dict)
    patch_size: int = 16
    batch_size: int = 256
    micro_batch_size: int | None = None
    steps: int = 1000
    precision: AnyPrecision = "auto"
    gradient_clip: float = 0.0
    padding: Padding = "reflect"
    module: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureStageSettings:
    """Which features are tried, and how they are reduced.

    Attributes:
        timesteps: Candidates for t.
        levels: Candidates for the feature level (layer).
        noise: ``"none"``, ``"fixed"`` or ``"mean"``; see
            :class:`~hsi_diffusion.features.FeatureSettings`.
        draws: Noise draws that ``"mean"`` averages over.
        tile: Side of the tiles in pixels.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        combine: What makes one candidate: ``"none"``, one timestep and level; ``"timesteps"``, all
            timesteps of one level, each reduced by itself; ``"all"``, everything at once, reduced
            together.
        angles: Add the spectral angle between the scene and what the denoiser restores, one channel
            per timestep; for a classifier that weighs timesteps by them. It is taken in the
            denoiser's input space (``pretrain.transform``: centred vectors with PCA or MNF), not
            between reflectance spectra. Needs ``combine="timesteps"``.
        components: Principal components that are kept, of each reduction; 0 keeps all channels.
        scale: How channels are scaled before: ``"minmax"``, ``"standard"`` or ``"none"``.
        whiten: Give every component unit variance.
        keep: Which feature files stay in the run's folder: ``"best"``, those of the candidate that
            was chosen, ``"all"`` or ``"none"``.
    """

    timesteps: tuple[int, ...] = (5, 10, 50, 100, 200, 400)
    levels: tuple[int, ...] = (0, 1, 2)
    noise: NoiseMode = "fixed"
    draws: int = 8
    tile: int = 128
    precision: AnyPrecision = "auto"
    combine: Combine = "none"
    angles: bool = False
    components: int = 0
    scale: ChannelScale = "none"
    whiten: bool = False
    keep: Literal["best", "all", "none"] = "best"


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings:
    """How candidates are compared, features and spaces of raw bands alike, without test pixels.

    Attributes:
        steps: Training steps of the classifier that compares them.
        folds: Folds of the cross-validation inside the label budget that takes the place of the
            split's validation part where that is small; 1: always the validation part. A split into
            blocks always keeps its part: pixels of one block would validate each other.
        small: Fewer validation pixels than this are small.
    """

    steps: int = 100
    folds: int = 3
    small: int = 100


@dataclass(frozen=True, kw_only=True)
class SpaceSettings:
    """One space of raw bands.

    Attributes:
        transform: Band transform.
        components: Components that PCA or MNF keep.
        transform_options: Further arguments of the transform, such as ``{"whiten": True}``.
        blur: Width (standard deviation) in pixels of a Gaussian blur along the scene, after the
            transform; 0 = none. See :func:`~hsi_diffusion.patches.gaussian_blur`.
        neighbours: Average every pixel with so many pixels of the likest spectra, after that; 0 =
            none. See :class:`~hsi_diffusion.classifiers.SpectralGraph`.
    """

    transform: str = "minmax"
    components: int | None = None
    transform_options: dict[str, Any] = field(default_factory=dict)
    blur: float = 0.0
    neighbours: int = 0

    def __str__(self) -> str:
        """For reports: the transform, how many components of it, and what came after."""
        parts = [
            self.transform if self.components is None else f"{self.transform}-{self.components}"
        ]
        if self.blur:
            parts.append(f"blur {self.blur:g}")
        if self.neighbours:
            parts.append(f"{self.neighbours} neighbours")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class PropagationSettings:
    """How labels are spread, see :class:`~hsi_diffusion.classifiers.LabelPropagation`.

    What arrives is joined with a network's answers by ``classifier.module.prior_weight``, and with
    an estimator's by :meth:`~hsi_diffusion.classifiers.JointPropagation.with_answers`.

    Attributes:
        space: Space of the bands in which pixels are compared. This graph is that of the scene, one
            for the method and its control: it owes nothing to the denoiser.
        neighbours: Likest pixels that a pixel is joined to.
        spatial: Weight of the pixels around it.
        width: Of the weights.
        alpha: Share of a pixel's scores that comes from its neighbours.
        other_alphas: Tried in its place, and taken where validation pixels speak for one, see
            :meth:`~hsi_diffusion.classifiers.JointPropagation.choose_alpha`.
        iterations: How often the scores are passed on.
        own: What the method's own graphs are made of: ``"restored"``, the scene as the denoiser
            restores it, a graph for each timestep of the features; ``"classified"``, the features
            that are classified. The control's is always that of the raw bands that it classifies.
        own_shares: What weight these graphs may have beside the scene's. Cross-validation inside
            the label budget, or the validation pixels, choose among several, see
            :meth:`~hsi_diffusion.classifiers.JointPropagation.choose_share`; ``[0]`` does without.
        own_width: Of the weights of these graphs.
        answer_weight: Power of an estimator's smoothed answers in the product.
        answer_alpha: Share of a pixel's answer that comes from its neighbours.
        answer_iterations: How often the answers are passed on.
    """

    space: SpaceSettings = SpaceSettings(
        transform="mnf", components=24, transform_options={"scale": "noise"}
    )
    neighbours: int = 5
    spatial: float = 3.0
    width: float = 2.0
    alpha: float = 0.99
    other_alphas: tuple[float, ...] = ()
    iterations: int = 200
    own: Literal["restored", "classified"] = "restored"
    own_shares: tuple[float, ...] = (0.0, 0.25, 0.5)
    own_width: float = 1.0
    answer_weight: float = 1.0
    answer_alpha: float = 0.95
    answer_iterations: int = 100


@dataclass(frozen=True, kw_only=True)
class EstimatorSettings:
    """A classical classifier of single pixels.

    Attributes:
        name: Such as ``"svm"``, see :func:`~hsi_diffusion.classifiers.build_estimator`; or
            ``"label_propagation"``, :class:`~hsi_diffusion.classifiers.LabelPropagation` alone.
        options: Its arguments.
        each: Fit one to each timestep and level (to each separate reduction), and average their
            answers; the graphs of ``propagation.own: classified`` are then as many. False: one, to
            all channels side by side.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    each: bool = False


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """How a classifier learns, the same for diffusion features and for raw bands.

    Attributes:
        estimator: A classical classifier of single pixels in the place of a network, for which the
            other settings but ``propagation`` have no meaning; None: a network.
        patch_size: Side of its patches in pixels.
        batch_size: Patches per step.
        steps: Optimiser steps of the final training.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        gradient_clip: Largest norm of a gradient; 0 = unlimited.
        padding: What patches see outside the scene.
        propagation: Spread the labels over the scene, and join what arrives with the classifier's
            answers; ``{}`` takes the defaults, None does without.
        module: Further arguments of :class:`~hsi_diffusion.modules.FeatureClassifierModule`.
    """

    estimator: EstimatorSettings | None = None
    patch_size: int = 13
    batch_size: int = 64
    steps: int = 1000
    precision: AnyPrecision = "float32"
    gradient_clip: float = 15.0
    padding: Padding = "reflect"
    propagation: PropagationSettings | None = None
    module: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RawBandsSettings:
    """The control: the same classifier without diffusion. In a run without pretraining, the method.

    Attributes:
        spaces: Spaces of the bands; with several, the validation pixels choose; with none there is
            no control.
    """

    spaces: tuple[SpaceSettings, ...] = (SpaceSettings(),)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """A whole run: scene, split, pretraining, features, classifier and its control.

    Or, with ``pretrain=None``, a baseline: the classifier on raw bands is then the method.

    Attributes:
        method: Name of the method.
        preset: Name of the preset that it started from.
        seed: Rules everything random but the simulated scene itself.
        logger: ``"csv"``, ``"wandb"`` or ``"none"``.
        group: Name under which W&B shows this run and others together; None: by itself.
        accelerator: Lightning's name of the hardware.
        devices: Processes per machine that pretrain together (DDP); everything else runs on one.
        num_nodes: Machines that pretrain together.
        deterministic: On graphics cards, take PyTorch's deterministic algorithms, so that a run can
            be repeated; it warns where there is none. Without, a card may be faster.
        scene: Which scene.
        split: Which pixels are for what.
        pretrain: How the denoiser learns the scene; None: there is none.
        features: Which features are tried.
        choice: How features, and spaces of raw bands, are compared.
        classifier: How the classifier learns.
        raw_bands: The control.
    """

    method: str = "spectraldiff"
    preset: str = "quick"
    seed: int = 0
    logger: LoggerName = "csv"
    group: str | None = None
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    deterministic: bool = True
    scene: SceneSettings = field(default_factory=SceneSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    pretrain: PretrainSettings | None = field(default_factory=PretrainSettings)
    features: FeatureStageSettings = field(default_factory=FeatureStageSettings)
    choice: ChoiceSettings = field(default_factory=ChoiceSettings)
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    raw_bands: RawBandsSettings = field(default_factory=RawBandsSettings)

    def __post_init__(self) -> None:
        """Refuse what no stage would understand."""
        pretrain = self.pretrain
        counts = {
            "pretrain.steps": 1 if pretrain is None else pretrain.steps,
            "classifier.steps": self.classifier.steps,
            "choice.steps": self.choice.steps,
            "choice.folds": self.choice.folds,
            "devices": self.devices,
            "num_nodes": self.num_nodes,
            "features.timesteps": len(self.features.timesteps),
            "features.levels": len(self.features.levels),
        }
        for name, count in counts.items():
            if count < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {count}")
        for name, clip in (
            ("pretrain.gradient_clip", 0.0 if pretrain is None else pretrain.gradient_clip),
            ("classifier.gradient_clip", self.classifier.gradient_clip),
        ):
            if not clip >= 0:
                raise ConfigurationError(f"{name} must be at least 0 (0 = unlimited), got {clip}")
        if self.features.angles and self.features.combine != "timesteps":
            raise ConfigurationError(
                "features.angles needs features.combine=timesteps, so that every timestep has an "
                f"angle and features of its own, but combine is {self.features.combine!r}"
            )
        if self.pretrain is None and not self.raw_bands.spaces:
            raise ConfigurationError(
                "without pretraining (pretrain: null) the classifier learns from raw bands: give "
                "raw_bands.spaces at least one space, such as '[{transform: minmax}]'"
            )
        estimator = self.classifier.estimator
        alone = estimator is not None and estimator.name == "label_propagation"
        if alone and estimator is not None and estimator.each:
            raise ConfigurationError(
                "classifier.estimator.each averages the answers of estimators, and "
                "label_propagation gives none: leave it out"
            )
        if alone and self.classifier.propagation is not None:
            raise ConfigurationError(
                "classifier.propagation joins the answers of a classifier: leave it out where "
                "classifier.estimator is label_propagation (--set classifier.propagation=null)"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build settings from plain data.

        Raises:
            ConfigurationError: A key is unknown or a value has the wrong type.
        """
        return from_plain(cls, data)

    def require_pretrain(self) -> PretrainSettings:
        """How the denoiser learns the scene.

        Raises:
            ConfigurationError: There is none.
        """
        if self.pretrain is None:
            raise ConfigurationError(
                f"method {self.method} has no pretraining (pretrain: null), and here it needs one: "
                "name a method that pretrains, such as spectraldiff"
            )
        return self.pretrain

    @property
    def checkpoint(self) -> str | None:
        """A trained denoiser to use instead of training one."""
        return None if self.pretrain is None else self.pretrain.checkpoint

    def inputs(self) -> list[Path]:
        """The files and folders that the run reads."""
        scene, split = self.scene, self.split
        own = (scene.cube, scene.labels) if scene.name == "custom" else ()
        stored = split.kind if split.kind.endswith(".npz") else None
        located = [*own, split.train_mask, split.test_mask]
        paths = [parse_location(text)[0] for text in located if text is not None]
        paths += [Path(text) for text in (stored, self.checkpoint) if text is not None]
        return paths if scene.name in ("simulated", "custom") else [*paths, Path(scene.root)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data: dicts, lists, numbers, strings."""
        return to_plain(self)

    def save(self, path: str | Path) -> None:
        """Write the settings as YAML."""
        write_text(path, yaml.safe_dump(self.to_dict(), sort_keys=False))


def default_folder(settings: RunSettings) -> Path:
    """Where a run goes when nobody says where: ``runs/SCENE-METHOD-SPLIT-seedN``."""
    scene = settings.scene
    name = Path(scene.cube).stem if scene.name == "custom" and scene.cube else scene.name
    split = Path(settings.split.kind).stem if settings.split.kind.endswith(".npz") else None
    parts = (name, settings.method, split or settings.split.kind, f"seed{settings.seed}")
    return Path("runs") / "-".join(parts)
