"""A whole run: from a scene to its map, with the same classifier on raw bands beside it."""

from __future__ import annotations

import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only

from hsi_diffusion.runs.batches import share_of_step
from hsi_diffusion.runs.building import build_pretraining
from hsi_diffusion.runs.checks import check_stages
from hsi_diffusion.runs.classification import Classification, Outcome
from hsi_diffusion.runs.folder import (
    check_output,
    check_resumable,
    prepare_output,
    remove_if_only_begun,
)
from hsi_diffusion.runs.network_learner import EPOCH_STEPS
from hsi_diffusion.runs.stages import (
    build_scene_data,
    extract,
    feature_store,
    load_pretrained,
    pretrain,
    remove_features,
    restored,
)
from hsi_diffusion.runs.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hsi_diffusion.modules import DiffusionPretrainModule, SceneDataModule
    from hsi_diffusion.runs.candidates import FeatureCandidate
    from hsi_diffusion.runs.learner_base import Learner
    from hsi_diffusion.runs.settings import RunSettings


@dataclass(frozen=True)
class RunResult:
    """What a run found.

    Attributes:
        data: The scene, its split and its band transform.
        pretrained: The trained denoiser; None for a baseline.
        method: What the method found, on diffusion features or, for a baseline, on raw bands.
        control: What the same classifier found on raw bands; None without a control.
        folds: Folds of the cross-validation that candidates were compared by; 1 = the split's own
            validation part.
        seconds: Time of each stage.
        resumed: The run was stopped on its way, and ``seconds`` count only its last session.
    """

    data: SceneDataModule
    pretrained: DiffusionPretrainModule | None
    method: Outcome
    control: Outcome | None
    folds: int
    seconds: dict[str, float]
    resumed: bool = False


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
            checkpoint, on a CPU bit for bit, and feature files that are there are used again.
        progress: Show progress bars.
        say: Called with a line of text where a stage begins.

    Returns:
        The result, on the first process; None on the others, which help with a distributed
        pretraining and do nothing else.
    """
    folder = Path(folder)
    # Lightning's own reading of the environment: the others of a machine are started by the first
    # one; torchrun or a cluster starts all of them, on one machine or on several
    rank = process_rank()
    starts = rank == 0
    if not starts and not _pretrains_together(settings):
        _say_that_it_is_not_needed(rank, settings)
        return None
    if starts and resume:
        check_resumable(folder, settings)
    elif starts:
        check_output(folder, overwrite=overwrite, inputs=settings.inputs())
    place = _place(settings, folder, progress)
    watch = Stopwatch(say if starts else _say_nothing)
    data, pretrained = _checked(settings, place, watch)
    # nothing was written or removed until here, where nearly all that can be wrong has been found
    if starts and not resume:
        prepare_output(folder, overwrite=overwrite, inputs=settings.inputs())
    try:
        if starts and not resume:
            settings.save(folder / "config.yaml")
        return _compute(data, pretrained, settings, place, watch, resume=resume)
    except BaseException:
        if starts and not resume:
            remove_if_only_begun(folder)
        raise


def check(settings: RunSettings, folder: Path) -> None:
    """Find nearly all that can be wrong with a run in a second, without writing anything.

    Args:
        settings: Everything that decides the run.
        folder: Where it would write.

    Raises:
        HsiDiffusionError: The run can't be had.
    """
    _checked(settings, _place(settings, folder, progress=False), Stopwatch(_say_nothing))


def _checked(
    settings: RunSettings, place: Workplace, watch: Stopwatch
) -> tuple[SceneDataModule, DiffusionPretrainModule | None]:
    """The scene and the denoiser, with the settings of all stages checked against them."""
    with watch.stage("scene", f"Scene {settings.scene.name}, split {settings.split.kind}"):
        data = scene_data(settings)
    pretrained = None
    if settings.checkpoint is not None:
        with watch.stage("pretraining", f"Pretrained denoiser of {settings.checkpoint}"):
            pretrained = load_pretrained(settings.checkpoint, data)
    elif settings.pretrain is not None:
        pretrained = build_pretraining(data, settings.pretrain, settings.seed)
    check_stages(pretrained, data, settings, place)
    return data, pretrained


def pretrain_alone(settings: RunSettings, folder: Path, *, progress: bool = True) -> None:
    """Only the pretraining of a run, for several runs to share.

    Args:
        settings: Of the runs; features and classifier play no part.
        folder: ``checkpoints/pretrain.ckpt`` is written here; one that is there is gone on with.
        progress: Show progress bars.
    """
    stage = settings.require_pretrain()
    data = scene_data(settings)
    module = build_pretraining(data, stage, settings.seed)
    pretrain(module, data, stage, _place(settings, folder, progress), resume=True)


def _place(settings: RunSettings, folder: Path, progress: bool) -> Workplace:
    return Workplace(
        folder=folder,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        logger=settings.logger,
        name=folder.name,
        group=settings.group,
        config=settings.to_dict(),
        progress=progress,
        deterministic=settings.deterministic,
    )


def _compute(
    data: SceneDataModule,
    pretrained: DiffusionPretrainModule | None,
    settings: RunSettings,
    place: Workplace,
    watch: Stopwatch,
    *,
    resume: bool,
) -> RunResult | None:
    """Everything that takes time; None on all but the first process."""
    stage = settings.pretrain
    if stage is not None and pretrained is not None and stage.checkpoint is None:
        threads = torch.get_num_threads()
        with watch.stage("pretraining", f"Pretraining without labels, {stage.steps} steps"):
            pretrained = pretrain(pretrained, data, stage, place, resume=resume)
        if not _is_first_process(threads):
            return None
    classification = Classification(data, settings, place)
    if settings.classifier.propagation is not None:
        with watch.stage("graph", "Graph that labels are spread along"):
            classification.build_graph()
    control = None
    if pretrained is None:
        with watch.stage("raw_bands", "Classifier on raw bands"):
            method = classification.on_raw_bands()
    else:
        method = _on_features(classification, pretrained, watch)
        if settings.raw_bands.spaces:
            with watch.stage("raw_bands", "Control: the same classifier on raw bands"):
                control = classification.on_raw_bands()
    return RunResult(
        data=data,
        pretrained=pretrained,
        method=method,
        control=control,
        folds=len(classification.splits),
        seconds=watch.seconds,
        resumed=resume,
    )


def _on_features(
    classification: Classification, pretrained: DiffusionPretrainModule, watch: Stopwatch
) -> Outcome:
    """Choose diffusion features, and classify them."""
    data, settings, place = classification.data, classification.settings, classification.place
    candidates, spreading = classification.candidates, settings.classifier.propagation

    # a session that was killed can't tidy up, and its spool may be as large as all features
    feature_store(place).remove_leftovers()
    with watch.stage("features", f"Features, {len(candidates)} candidates (t, level)"):
        for candidate in candidates:
            extract(pretrained, data, settings, place, candidate)
        shared = None
        if spreading is not None and spreading.own == "restored":
            shared = classification.spread(restored(pretrained, data, settings, place))

    def learner_of(candidate: FeatureCandidate) -> Learner:
        # from its file whenever it is asked for: all of them together may not fit into memory
        features = extract(pretrained, data, settings, place, candidate)
        return classification.learner(features, shared or classification.spread_along(features))

    with watch.stage("choice", "Choice among them without test pixels"):
        choice = classification.choose(candidates, learner_of)
    if settings.features.keep != "all":
        remove_features(pretrained, data, settings, place, but=choice.best)
    with watch.stage("classifier", f"Classifier on the features of {choice.best}"):
        classified = learner_of(choice.best).learn("classifier")
    if settings.features.keep == "none":
        remove_features(pretrained, data, settings, place)
    return Outcome(choice, classified)


def scene_data(settings: RunSettings) -> SceneDataModule:
    """The run's scene, set up, with its split and the patches of the pretraining."""
    stage = settings.pretrain
    if stage is None:
        return labelled_scene(settings)
    share = share_of_step(stage, settings.devices * settings.num_nodes)
    data = build_scene_data(
        settings,
        transform=stage.transform,
        components=stage.components,
        transform_options=stage.transform_options,
        task="pretrain",
        patch_size=stage.patch_size,
        batch_size=share.batch_size,
        padding=stage.padding,
        # short epochs, so that validation and checkpoints come often enough
        samples_per_epoch=stage.batch_size * min(EPOCH_STEPS, stage.steps),
    )
    return _set_up(data)


def labelled_scene(settings: RunSettings) -> SceneDataModule:
    """The run's scene, set up, with its split; its cube is the bands from -1 to 1."""
    classifier = settings.classifier
    sizes = {"patch_size": classifier.patch_size, "batch_size": classifier.batch_size}
    return _set_up(build_scene_data(settings, task="classify", **sizes))


def _set_up(data: SceneDataModule) -> SceneDataModule:
    data.prepare_data()
    data.setup()
    data.require_split()  # says what is missing before an hour of pretraining, not after
    return data


def _pretrains(settings: RunSettings) -> bool:
    """Whether a run trains a denoiser of its own."""
    return settings.pretrain is not None and settings.checkpoint is None


def _pretrains_together(settings: RunSettings) -> bool:
    """Whether several processes have something to do: they share a pretraining, and no more."""
    return _pretrains(settings) and settings.devices * settings.num_nodes > 1


def _say_that_it_is_not_needed(rank: int, settings: RunSettings) -> None:
    """Tell who started several processes for a pretraining on one; one line for all of them."""
    if rank == 1 and _pretrains(settings):
        warnings.warn(
            "several processes were started, but the settings pretrain on one (devices and "
            "num_nodes are 1), so the first one works alone; give --devices N, the processes per "
            "machine, and --nodes M to pretrain on all of them",
            stacklevel=2,
        )


def _is_first_process(threads: int) -> bool:
    """Take down a distributed pretraining; all but the first process have done their part.

    Args:
        threads: How many to compute with from now on. Lightning had shared them out among the
            processes.
    """
    if not dist.is_available() or not dist.is_initialized():
        # torchrun's other processes, where a finished pretraining was only read
        return process_rank() == 0
    first = dist.get_rank() == 0
    dist.barrier()
    dist.destroy_process_group()
    torch.set_num_threads(threads)
    return first


def process_rank() -> int:
    """Number of this process among those that were started together, as Lightning reads it."""
    return int(getattr(rank_zero_only, "rank", 0))


def _say_nothing(_: str) -> None:
    """For the processes that only help with the pretraining."""
