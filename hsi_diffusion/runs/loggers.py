"""Where the stages of a run are followed."""

from __future__ import annotations

import os
from argparse import Namespace
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from hsi_diffusion.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lightning.pytorch.loggers import Logger


class StageWandbLogger(WandbLogger):
    """Keeps the hyperparameters of a stage's module apart from the settings of the whole run.

    Both know a ``classifier``, which is a section here and the name of a network there: side by
    side in one config, the one that comes later would take the other's place.
    """

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log them under ``module``, the name of that section in the settings too."""
        named = vars(params) if isinstance(params, Namespace) else params
        super().log_hyperparams({"module": dict(named)})


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
    belong together, and it ends with the stage. Its job type is the stage's name. Its config holds
    the run's settings by the names that they have in ``config.yaml``, and under ``module`` the
    hyperparameters of the stage's module, with all defaults.
    The project is ``WANDB_PROJECT``, or ``hsi_diffusion``. Where the caller has a W&B run under
    way, all stages go there, and it is left open.

    The ids of the W&B runs are kept in the folder, so that a stage that is gone on with, or begun
    again, after an interruption is the same run in W&B, offline too.

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
        kept = folder / "wandb" / f"{stage}.id"
        logger = StageWandbLogger(
            project=os.environ.get("WANDB_PROJECT", "hsi_diffusion"),
            name=f"{name}-{stage}",
            group=group or name,
            job_type=stage,
            save_dir=folder,
            id=kept.read_text(encoding="utf-8") if kept.is_file() else None,
            resume="allow",
            config=dict(config),
            reinit="create_new",
        )
        with _wandb_run(logger, kept):
            yield logger
    else:
        yield False


def _unused(folder: Path, stage: str) -> str:
    """The stage's name, with a number behind it where an interrupted run has logged there."""
    names = (stage if number == 1 else f"{stage}-{number}" for number in count(1))
    return next(name for name in names if not (folder / name).exists())


@contextmanager
def _wandb_run(logger: WandbLogger, kept: Path) -> Iterator[None]:
    """End the logger's W&B run with the block, as failed if the block fails.

    Args:
        logger: The logger.
        kept: File that the run's id is kept in, if the run is not the caller's.
    """
    import wandb  # noqa: PLC0415  (a second to load, for nobody else)

    run = logger.experiment
    if run is wandb.run:  # the caller's; one made with reinit="create_new" never stands there
        yield
        return
    number = getattr(run, "id", None)
    if isinstance(number, str):  # the other processes of a pretraining have a stand-in of a run
        write_text(kept, number)
    try:
        yield
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()
