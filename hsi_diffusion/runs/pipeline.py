"""A whole run: from a scene to its map, with the same classifier on raw bands beside it."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from hsi_diffusion.features import choose_by_validation
from hsi_diffusion.metrics import SCALARS
from hsi_diffusion.runs.building import build_pretraining
from hsi_diffusion.runs.candidates import choice_splits, feature_candidates
from hsi_diffusion.runs.checks import check_stages
from hsi_diffusion.runs.folder import (
    check_output,
    check_resumable,
    prepare_output,
    remove_if_only_begun,
)
from hsi_diffusion.runs.stages import (
    Workplace,
    band_space,
    build_propagation,
    build_scene_data,
    extract,
    load_pretrained,
    measure,
    predict_map,
    pretrain,
    remove_features,
    train_classifier,
    validate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.classifiers import LabelPropagation
    from hsi_diffusion.features import Choice, FeatureCube
    from hsi_diffusion.metrics import HSIMetrics
    from hsi_diffusion.modules import (
        DiffusionPretrainModule,
        FeatureDataModule,
        PatchDataModule,
        SceneDataModule,
    )
    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.candidates import FeatureCandidate
    from hsi_diffusion.runs.settings import RunSettings, SpaceSettings


Candidate = TypeVar("Candidate")

EPOCH_STEPS = 100
"""Steps between two validations, checkpoints and lines of the log."""


@dataclass(frozen=True)
class RunResult:
    """What a run found.

    Attributes:
        data: The scene, its split and its band transform.
        pretrained: The trained denoiser.
        features: What the classifier on diffusion features found.
        raw_bands: What the same classifier found on raw bands; None without a control.
        choice: The candidates (t, level) and what they reached on the validation pixels.
        raw_choice: The raw-band spaces, likewise; None without a control.
        folds: Folds of the cross-validation that they were compared by; 1 = the split's own
            validation part.
        seconds: Time of each stage.
    """

    data: SceneDataModule
    pretrained: DiffusionPretrainModule
    features: Classified
    raw_bands: Classified | None
    choice: Choice[FeatureCandidate]
    raw_choice: Choice[SpaceSettings] | None
    folds: int
    seconds: dict[str, float]


class Classified(NamedTuple):
    """What a final classifier found.

    Attributes:
        predicted: Classes 1..K of every pixel, shape (H, W).
        metrics: Counts of the test pixels.
        timestep_weights: How much it trusts each timestep at each pixel, shape (H, W, T); None for
            a classifier without a gate.
    """

    predicted: NDArray[np.int64]
    metrics: HSIMetrics
    timestep_weights: NDArray[np.float32] | None


class Stopwatch:
    """Time of each stage, with a line where it begins.

    Args:
        say: Called with the line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Time what happens inside the block as stage ``name``."""
        self._say(text)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def run(
    settings: RunSettings,
    folder: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> RunResult | None:
    """Pretrain, extract, choose, classify, do the control, and measure each once.

    Nothing but the last measurement looks at test pixels: (t, level) and the control's space are
    chosen by classifiers that learn from the training pixels and are compared on the validation
    pixels; the final classifiers then learn from both.

    Args:
        settings: Everything that decides the run.
        folder: Where its files go; ``config.yaml``, checkpoints, logs and features are written
            here, reports by :func:`~hsi_diffusion.runs.outputs.write_outputs`.
        overwrite: Replace an earlier run there.
        resume: Go on with the run there, which had the same settings: the pretraining from its last
            checkpoint, bit for bit, and feature files that are there are used again.
        progress: Show progress bars.
        say: Called with a line of text where a stage begins.

    Returns:
        The result, on the first process; None on the others of a distributed pretraining.
    """
    folder = Path(folder)
    # Lightning's own reading of the environment: the others of a machine are started by the first
    # one; torchrun or a cluster starts all of them, on one machine or on several
    starts = int(getattr(rank_zero_only, "rank", 0)) == 0
    if starts and resume:
        check_resumable(folder, settings)
    elif starts:
        check_output(folder, overwrite=overwrite, inputs=settings.inputs())
    place = _place(settings, folder, progress)
    watch = Stopwatch(say if starts else _say_nothing)
    with watch.stage("scene", f"Scene {settings.scene.name}, split {settings.split.kind}"):
        data = scene_data(settings)
    pretrained = _denoiser(data, settings, watch)
    check_stages(pretrained, data, settings, place)
    # nothing was written or removed until here, where nearly all that can be wrong has been found
    if starts and not resume:
        prepare_output(folder, overwrite=overwrite, inputs=settings.inputs())
    try:
        if starts and not resume:
            settings.save(folder / "config.yaml")
        return _compute(data, pretrained, settings, place, watch)
    except BaseException:
        if starts and not resume:
            remove_if_only_begun(folder)
        raise


def pretrain_alone(settings: RunSettings, folder: Path, *, progress: bool = True) -> None:
    """Only the pretraining of a run, for several runs to share.

    Args:
        settings: Of the runs; features and classifier play no part.
        folder: ``checkpoints/pretrain.ckpt`` is written here; one that is there is gone on with.
        progress: Show progress bars.
    """
    data = scene_data(settings)
    module = build_pretraining(data, settings.pretrain, settings.seed)
    pretrain(module, data, settings.pretrain, _place(settings, folder, progress))


def _place(settings: RunSettings, folder: Path, progress: bool) -> Workplace:
    return Workplace(
        folder=folder,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        logger=settings.logger,
        name=folder.name,
        config=settings.to_dict(),
        progress=progress,
    )


def _compute(
    data: SceneDataModule,
    pretrained: DiffusionPretrainModule,
    settings: RunSettings,
    place: Workplace,
    watch: Stopwatch,
) -> RunResult | None:
    """Everything that takes time; None on all but the first process."""
    stage = settings.pretrain
    if stage.checkpoint is None:
        threads = torch.get_num_threads()
        with watch.stage("pretraining", f"Pretraining without labels, {stage.steps} steps"):
            pretrained = pretrain(pretrained, data, stage, place)
        if not _is_first_process(threads):
            return None

    def cube_of(candidate: FeatureCandidate) -> FeatureCube:
        # from its file whenever it is asked for: all of them together may not fit into memory
        return extract(pretrained, data, settings, place, candidate)

    candidates = feature_candidates(settings.features)
    several = max(len(candidates), len(settings.raw_bands.spaces)) > 1
    folds = len(choice_splits(data, settings.choice)) if several else 1
    with watch.stage("features", f"Features, {len(candidates)} candidates (t, level)"):
        for candidate in candidates:
            cube_of(candidate)
    with watch.stage("choice", "Choice among them without test pixels"):
        graph = build_propagation(data, settings.classifier, place)
        choice = _choose(candidates, cube_of, data, settings, place, graph=graph)
    if settings.features.keep == "best":
        remove_features(pretrained, data, settings, place, but=choice.best)
    with watch.stage("classifier", f"Classifier on the features of {choice.best}"):
        final = _final_data(data, cube_of(choice.best), settings, graph)
        found = _classify(final, settings, place, stage="classifier")
    raw_choice = control = None
    if settings.raw_bands.spaces:
        with watch.stage("raw_bands", "Control: the same classifier on raw bands"):
            raw_choice, control = _control(data, settings, place, graph)
    return RunResult(
        data=data,
        pretrained=pretrained,
        features=found,
        raw_bands=control,
        choice=choice,
        raw_choice=raw_choice,
        folds=folds,
        seconds=watch.seconds,
    )


def scene_data(settings: RunSettings) -> SceneDataModule:
    """The run's scene, set up, with its split and the patches of the pretraining."""
    stage = settings.pretrain
    data = build_scene_data(
        settings,
        transform=stage.transform,
        components=stage.components,
        transform_options=stage.transform_options,
        task="pretrain",
        patch_size=stage.patch_size,
        batch_size=stage.batch_size,
        padding=stage.padding,
        # short epochs, so that validation and checkpoints come often enough
        samples_per_epoch=stage.batch_size
        * settings.devices
        * settings.num_nodes
        * min(EPOCH_STEPS, stage.steps),
    )
    data.prepare_data()
    data.setup()
    data.require_split()  # says what is missing before an hour of pretraining, not after
    return data


def _denoiser(
    data: SceneDataModule, settings: RunSettings, watch: Stopwatch
) -> DiffusionPretrainModule:
    """The denoiser, untrained or of an earlier run."""
    stage = settings.pretrain
    if stage.checkpoint is None:
        return build_pretraining(data, stage, settings.seed)
    with watch.stage("pretraining", f"Pretrained denoiser of {stage.checkpoint}"):
        return load_pretrained(stage.checkpoint, data)


def _is_first_process(threads: int) -> bool:
    """Take down a distributed pretraining; all but the first process have done their part.

    Args:
        threads: How many to compute with from now on. Lightning had shared them out among the
            processes.
    """
    if not dist.is_available() or not dist.is_initialized():
        return True
    first = dist.get_rank() == 0
    dist.barrier()
    dist.destroy_process_group()
    torch.set_num_threads(threads)
    return first


def _say_nothing(_: str) -> None:
    """For the processes that only help with the pretraining."""


def _classifier_data(
    data: SceneDataModule,
    cube: FeatureCube | NDArray[np.float32],
    settings: RunSettings,
    graph: LabelPropagation | None,
    *,
    pixels: NDArray[np.int64],
    split: Split | None = None,
    train_on: str,
) -> FeatureDataModule:
    """Patches to learn ``pixels`` from, and what their labels say of the others by propagation."""
    stage = settings.classifier
    prior = None if graph is None else graph.predict(data.labels, pixels, data.num_classes)
    return data.with_features(
        cube,
        split=split,
        prior=prior,
        patch_size=stage.patch_size,
        batch_size=stage.batch_size,
        padding=stage.padding,
        train_on=train_on,
        # a few labels make a tiny dataset: walk through it many times in one epoch
        samples_per_epoch=stage.batch_size * EPOCH_STEPS,
    )


def _final_data(
    data: SceneDataModule,
    cube: FeatureCube | NDArray[np.float32],
    settings: RunSettings,
    graph: LabelPropagation | None,
) -> FeatureDataModule:
    """To learn from training and validation pixels, once everything has been chosen."""
    pixels = data.require_split().labelled
    return _classifier_data(data, cube, settings, graph, pixels=pixels, train_on="labelled")


def _choose(
    candidates: Sequence[Candidate],
    cube_of: Callable[[Candidate], FeatureCube | NDArray[np.float32]],
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
    *,
    graph: LabelPropagation | None,
) -> Choice[Candidate]:
    """Compare cubes on the validation pixels, by short trainings on the training pixels."""
    # several networks steady a result; to compare candidates one is enough
    single = replace(settings.classifier, module={**settings.classifier.module, "members": 1})

    def score(candidate: Candidate) -> tuple[float, float]:
        if len(candidates) == 1:  # nothing to choose
            return math.nan, math.nan
        cube = cube_of(candidate)
        scores, pixels = [], []
        for split in choice_splits(data, settings.choice):
            trial = _classifier_data(
                data, cube, settings, graph, pixels=split.train, split=split, train_on="train"
            )
            module = train_classifier(
                trial, single, place, settings.seed, steps=settings.choice.steps
            )
            scores.append(validate(module, trial, single, place))
            pixels.append(len(split.val))
        accuracy, loss = np.average(scores, axis=0, weights=pixels)
        return float(accuracy), float(loss)

    return choose_by_validation(candidates, score)


def _classify(
    data: PatchDataModule, settings: RunSettings, place: Workplace, *, stage: str
) -> Classified:
    """Train the final classifier, draw its map, and measure it at the test pixels."""
    steps = settings.classifier.steps
    with place.logging(stage) as logger:
        module = train_classifier(
            data,
            settings.classifier,
            place,
            settings.seed,
            steps=steps,
            logger=logger,
            checkpoint=place.folder / "checkpoints" / f"{stage}.ckpt",
        )
        predicted = predict_map(module, data, settings.classifier, place, logger=logger)
        metrics = measure(predicted, data, data.require_split().test)
        if isinstance(logger, Logger):
            figures = metrics.compute()
            logger.log_metrics({f"test/{name}": figures[name].item() for name in SCALARS}, steps)
            logger.save()
    weights = module.timestep_weights(data.cube[:, :, -data.timesteps :]) if data.angles else None
    return Classified(predicted, metrics, None if weights is None else weights.cpu().numpy())


def _control(
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
    graph: LabelPropagation | None,
) -> tuple[Choice[SpaceSettings], Classified]:
    def cube_of(space: SpaceSettings) -> NDArray[np.float32]:
        return band_space(data, space)

    choice = _choose(settings.raw_bands.spaces, cube_of, data, settings, place, graph=graph)
    final = _final_data(data, cube_of(choice.best), settings, graph)
    return choice, _classify(final, settings, place, stage="raw_bands")
