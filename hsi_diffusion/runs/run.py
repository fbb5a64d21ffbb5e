"""A whole run: from a scene to its map, with the same classifier on raw bands beside it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import remove_temporaries
from hsi_diffusion.metrics import HSIMetrics
from hsi_diffusion.models import SceneClassifier, Stopwatch
from hsi_diffusion.modules.runtime import Runtime
from hsi_diffusion.runs.folder import (
    check_output,
    check_resumable,
    prepare_output,
    remove_if_only_begun,
)
from hsi_diffusion.runs.inputs import read_pretrained, read_scene, read_split
from hsi_diffusion.runs.loggers import RunLogger, check_logger
from hsi_diffusion.runs.outputs import write_outputs
from hsi_diffusion.runs.result import Outcome, RunResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import RunSettings
    from hsi_diffusion.scenes import Scene


def run(
    settings: RunSettings,
    folder: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> RunResult | None:
    """Fit a model and its control, measure each once, and write everything into a folder.

    Nothing but the last measurement looks at test pixels, see
    :meth:`~hsi_diffusion.models.SceneClassifier.fit`.

    Args:
        settings: Everything that decides the run.
        folder: Where its files go, the model in ``model/``.
        overwrite: Replace an earlier run there.
        resume: Go on with the run there, which had the same settings: the pretraining from its last
            checkpoint, and feature files that are there are used again.
        progress: Show progress bars.
        say: Called with a line of text when a stage begins.

    Returns:
        The result, on the first process; None on the others, which help with a distributed
        pretraining and do nothing else.
    """
    folder = Path(folder)
    # Lightning's own reading of the environment: the others of a machine are started by the first
    # one; torchrun or a cluster starts all of them, on one machine or on several
    rank = process_rank()
    first = rank == 0
    pretrains = settings.pretrains and settings.pretrained is None
    if not first and not (pretrains and settings.devices * settings.nodes > 1):
        if rank == 1 and pretrains:  # one line for all of them
            warnings.warn(
                "several processes were started, but the settings pretrain on one (devices and "
                "nodes are 1), so the first one works alone; give --devices N, the processes per "
                "machine, and --nodes M to pretrain on all of them",
                stacklevel=2,
            )
        return None
    if first and resume:
        check_resumable(folder, settings)
    elif first:
        check_output(folder, overwrite=overwrite, inputs=settings.inputs())
    watch = Stopwatch(say) if first else Stopwatch()
    planned = _plan(settings, folder, watch, progress=progress)
    # nothing was written or removed until here, where nearly all that can be wrong has been found
    if first and resume:
        remove_temporaries(folder)
    elif first:
        prepare_output(folder, overwrite=overwrite, inputs=settings.inputs())
    try:
        if first and not resume:
            settings.save(folder / "config.yaml")
        return _compute(planned, settings, folder, resume=resume)
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second out of the first
        raise  # what is there can be resumed, if only from its beginning
    except BaseException:
        if first and not resume:
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
    _plan(settings, folder, Stopwatch(), progress=False)


def pretrain_alone(settings: RunSettings, folder: Path, *, progress: bool = True) -> None:
    """Do only the pretraining of a run, for several runs to use.

    Args:
        settings: Settings of the runs; features and classifier play no part.
        folder: ``checkpoints/pretrain.ckpt`` is written here; one that is there is gone on with.
        progress: Show progress bars.
    """
    scene, config = read_scene(settings), settings.to_dict()
    name = f"pretraining-{folder.name}"
    with RunLogger(settings.logger, folder, name, config, settings.group) as logger:
        runtime = replace(_runtime(settings, folder, progress=progress), loggers=logger.stage)
        model = SceneClassifier(settings, seed=settings.seed, runtime=runtime)
        model.pretrain(scene, read_split(settings, scene), resume=True)


def _plan(
    settings: RunSettings, folder: Path, watch: Stopwatch, *, progress: bool
) -> tuple[SceneClassifier, Scene, Split]:
    """Read the scene, and check the settings of all stages against it."""
    with watch.stage("scene", f"Scene {settings.scene_name}, split {settings.split_kind}"):
        scene = read_scene(settings)
        split = read_split(settings, scene)
    runtime = _runtime(settings, folder, progress=progress)
    model = SceneClassifier(settings, seed=settings.seed, runtime=runtime, watch=watch)
    if settings.pretrained is not None:
        with watch.stage("pretraining", f"Pretrained denoiser of {settings.pretrained}"):
            model.pretrained = read_pretrained(
                settings.pretrained, scene, settings.pretrain.denoiser
            )
    model.check(scene, split)
    if settings.pretrains and settings.raw_bands:
        SceneClassifier(settings.without_pretraining(), runtime=runtime).check(scene, split)
    check_logger(settings.logger)
    return model, scene, split


def _compute(
    planned: tuple[SceneClassifier, Scene, Split],
    settings: RunSettings,
    folder: Path,
    *,
    resume: bool,
) -> RunResult | None:
    """Everything that takes time; None on all but the first process."""
    model, scene, split = planned
    config = settings.to_dict()
    with RunLogger(settings.logger, folder, folder.name, config, settings.group) as logger:
        model.runtime = replace(model.runtime, loggers=logger.stage)
        if settings.pretrains and model.pretrained is None:
            threads = torch.get_num_threads()
            model.pretrain(scene, split, resume=resume)
            if not _is_first_process(threads):
                return None
        model.fit(scene, split)
        method = _measured(model, scene, split)
        control = None
        if settings.pretrains and settings.raw_bands:
            other = SceneClassifier(
                settings.without_pretraining(),
                seed=settings.seed,
                runtime=model.runtime,
                stage="control",
            )
            with model.watch.stage("raw_bands", "Control: the same classifier on raw bands"):
                other.fit(scene, split, graph=model.graph)
            control = _measured(other, scene, split)
        result = RunResult(settings, scene, split, method, control, model.watch.seconds, resume)
        try:
            model.save(folder / "model")
        except ConfigurationError as error:  # an estimator of the user's that has no file format
            warnings.warn(f"the model is not saved: {error}", stacklevel=2)
        write_outputs(result, folder, logger)
    return result


def _measured(model: SceneClassifier, scene: Scene, split: Split) -> Outcome:
    """Figures of merit of a model on the test pixels."""
    prediction = model.predict(scene)
    predicted = prediction.classes
    metrics = HSIMetrics(scene.num_classes)
    metrics.update(
        torch.from_numpy(predicted.ravel()[split.test] - 1),
        torch.from_numpy(scene.labels.ravel()[split.test] - 1),
    )
    return Outcome(model, predicted, metrics, prediction.probabilities.max(axis=2))


def _runtime(settings: RunSettings, folder: Path, *, progress: bool) -> Runtime:
    return Runtime(
        folder=folder,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        progress=progress,
        figures=settings.figures,
        deterministic=settings.deterministic,
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
