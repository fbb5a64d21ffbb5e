"""A whole run: from a scene to its map, with the same classifier on raw bands beside it."""

from __future__ import annotations

import math
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch.loggers import Logger

from hsi_diffusion.features import choose_by_validation
from hsi_diffusion.metrics import SCALARS
from hsi_diffusion.patches import build_transform
from hsi_diffusion.runs.building import build_pretraining
from hsi_diffusion.runs.checks import check_stages
from hsi_diffusion.runs.folder import check_output, prepare_output, remove_if_only_begun
from hsi_diffusion.runs.stages import (
    Workplace,
    build_scene_data,
    extract,
    load_pretrained,
    measure,
    predict_map,
    pretrain,
    train_classifier,
    validate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from hsi_diffusion.features import Choice
    from hsi_diffusion.metrics import HSIMetrics
    from hsi_diffusion.modules import (
        DiffusionPretrainModule,
        FeatureDataModule,
        PatchDataModule,
        SceneDataModule,
    )
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
        predicted: Classes 1..K of every pixel by the diffusion features, shape (H, W).
        metrics: Counts of the test pixels by the diffusion features.
        raw_metrics: Likewise by the raw bands.
        choice: The candidates (t, level) and what they reached on the validation pixels.
        raw_choice: The raw-band spaces, likewise.
        seconds: Time of each stage.
    """

    data: SceneDataModule
    pretrained: DiffusionPretrainModule
    predicted: NDArray[np.int64]
    metrics: HSIMetrics
    raw_metrics: HSIMetrics
    choice: Choice[tuple[int, int]]
    raw_choice: Choice[SpaceSettings]
    seconds: dict[str, float]


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
        progress: Show progress bars.
        say: Called with a line of text where a stage begins.

    Returns:
        The result, on the first process; None on the others of a distributed pretraining.
    """
    folder = Path(folder)
    starts = int(os.environ.get("LOCAL_RANK", "0")) == 0  # the others are started by the first one
    if starts:
        check_output(folder, overwrite=overwrite, inputs=settings.inputs())
    place = Workplace(
        folder=folder,
        accelerator=settings.accelerator,
        devices=settings.devices,
        logger=settings.logger,
        name=folder.name,
        config=settings.to_dict(),
        progress=progress,
    )
    watch = Stopwatch(say if starts else _say_nothing)
    with watch.stage("scene", f"Scene {settings.scene.name}, split {settings.split.kind}"):
        data = _scene_data(settings)
    pretrained = _denoiser(data, settings, watch)
    check_stages(pretrained, data, settings, place)
    # nothing was written or removed until here, where nearly all that can be wrong has been found
    if starts:
        prepare_output(folder, overwrite=overwrite, inputs=settings.inputs())
    try:
        if starts:
            settings.save(folder / "config.yaml")
        return _compute(data, pretrained, settings, place, watch)
    except BaseException:
        if starts:
            remove_if_only_begun(folder)
        raise


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

    def cube_of(candidate: tuple[int, int]) -> NDArray[np.float32]:
        # from its file whenever it is asked for: all of them together may not fit into memory
        return extract(pretrained, data, settings, place, candidate)

    candidates = [(t, i) for t in settings.features.timesteps for i in settings.features.levels]
    with watch.stage("features", f"Features, {len(candidates)} candidates (t, level)"):
        for candidate in candidates:
            cube_of(candidate)
    with watch.stage("choice", "Choice of (t, level) by the validation pixels"):
        choice = _choose(candidates, cube_of, data, settings, place)
    with watch.stage("classifier", f"Classifier on the features of (t, level) = {choice.best}"):
        final = _classifier_data(data, cube_of(choice.best), settings, train_on="labelled")
        predicted, metrics = _classify(final, settings, place, stage="classifier")
    with watch.stage("raw_bands", "Control: the same classifier on raw bands"):
        raw_choice, raw_metrics = _control(data, settings, place)
    return RunResult(
        data=data,
        pretrained=pretrained,
        predicted=predicted,
        metrics=metrics,
        raw_metrics=raw_metrics,
        choice=choice,
        raw_choice=raw_choice,
        seconds=watch.seconds,
    )


def _scene_data(settings: RunSettings) -> SceneDataModule:
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
        samples_per_epoch=stage.batch_size * settings.devices * min(EPOCH_STEPS, stage.steps),
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
    data: SceneDataModule, cube: NDArray[np.float32], settings: RunSettings, train_on: str
) -> FeatureDataModule:
    stage = settings.classifier
    return data.with_features(
        cube,
        patch_size=stage.patch_size,
        batch_size=stage.batch_size,
        padding=stage.padding,
        train_on=train_on,
        # a few labels make a tiny dataset: walk through it many times in one epoch
        samples_per_epoch=stage.batch_size * EPOCH_STEPS,
    )


def _choose(
    candidates: Sequence[Candidate],
    cube_of: Callable[[Candidate], NDArray[np.float32]],
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
) -> Choice[Candidate]:
    """Compare cubes on the validation pixels, by short trainings on the training pixels."""

    def score(candidate: Candidate) -> tuple[float, float]:
        if len(candidates) == 1:  # nothing to choose
            return math.nan, math.nan
        trial = _classifier_data(data, cube_of(candidate), settings, train_on="train")
        module = train_classifier(
            trial, settings.classifier, place, settings.seed, steps=settings.features.choose_steps
        )
        return validate(module, trial, settings.classifier, place)

    return choose_by_validation(candidates, score)


def _classify(
    data: PatchDataModule, settings: RunSettings, place: Workplace, *, stage: str
) -> tuple[NDArray[np.int64], HSIMetrics]:
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
    return predicted, metrics


def _control(
    data: SceneDataModule, settings: RunSettings, place: Workplace
) -> tuple[Choice[SpaceSettings], HSIMetrics]:
    def cube_of(space: SpaceSettings) -> NDArray[np.float32]:
        transform = build_transform(space.transform, space.components, **space.transform_options)
        cube = data.scene.cube
        return transform.fit(cube, source=f"all pixels of {data.info.name}").transform(cube)

    choice = _choose(settings.raw_bands.spaces, cube_of, data, settings, place)
    final = _classifier_data(data, cube_of(choice.best), settings, train_on="labelled")
    return choice, _classify(final, settings, place, stage="raw_bands")[1]
