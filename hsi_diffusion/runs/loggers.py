"""Where the stages of a run are followed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import CSVLogger, WandbLogger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lightning.pytorch.loggers import Logger


@contextmanager
def stage_logger(
    kind: str,
    stage: str,
    *,
    folder: Path,
    name: str,
    config: Mapping[str, Any],
    group: str | None = None,
) -> Iterator[Logger | bool]:
    """The logger of one stage, for the time of that stage.

    In W&B each stage is a run of its own, in the group of the whole run or of several runs that
    belong together, and it ends with the stage. Its job type is the stage's name.
    The project is ``WANDB_PROJECT``, or ``hsi_diffusion``. Where the caller has a W&B run under
    way, all stages go there, and it is left open.

    Args:
        kind: ``"csv"``, ``"wandb"`` or ``"none"``.
        stage: Name of the stage.
        folder: The output folder of the whole run.
        name: Name of the whole run.
        config: The run's settings as plain data.
        group: Name of the group in W&B; None: that of the run.

    Yields:
        The logger; False for ``"none"``.
    """
    if kind == "csv":
        yield CSVLogger(folder, name="logs", version=_unused(folder / "logs", stage))
    elif kind == "wandb":
        logger = WandbLogger(
            project=os.environ.get("WANDB_PROJECT", "hsi_diffusion"),
            name=f"{name}-{stage}",
            group=group or name,
            job_type=stage,
            save_dir=folder,
            config=dict(config),
            reinit="create_new",
        )
        with _wandb_run(logger):
            yield logger
    else:
        yield False


def _unused(folder: Path, stage: str) -> str:
    """The stage's name, with a number behind it where an interrupted run has logged there."""
    names = (stage if number == 1 else f"{stage}-{number}" for number in count(1))
    return next(name for name in names if not (folder / name).exists())


@contextmanager
def _wandb_run(logger: WandbLogger) -> Iterator[None]:
    """End the logger's W&B run with the block, as failed if the block fails."""
    import wandb  # noqa: PLC0415  (a second to load, for nobody else)

    run = logger.experiment
    if run is wandb.run:  # the caller's; one made with reinit="create_new" never stands there
        yield
        return
    try:
        yield
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()
