"""Where a run is followed: one history for all its stages, and what it found."""

from __future__ import annotations

import math
import os
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from lightning.pytorch.utilities import rank_zero_only

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import write_text
from hsi_diffusion.modules.callbacks import give_figure
from hsi_diffusion.options import check_choice
from hsi_diffusion.runs.stage_loggers import StageCSVLogger, StageWandbLogger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from lightning.pytorch.loggers import Logger
    from matplotlib.figure import Figure

LOGGERS: Final = ("csv", "wandb", "none")
"""Kinds of loggers."""

PART_STEPS: Final = 1_000_000
"""W&B's own step at which the second part of a resumed run begins, the third at twice as many."""


def check_logger(kind: str) -> None:
    """Refuse a logger that can't be used, before anything is computed.

    Raises:
        ConfigurationError: There is no such logger, or W&B knows no login and is not offline.
    """
    check_choice(LOGGERS, logger=kind)
    if kind != "wandb" or os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return
    import wandb  # noqa: PLC0415  (a second to load, for nobody else)

    try:
        wandb.login()
    except wandb.errors.Error as error:
        raise ConfigurationError(
            f"logger 'wandb' can't be used: {error} Or set WANDB_MODE=offline, or take another "
            "logger (--logger csv)"
        ) from error


class RunLogger:
    """Follows one run, whose stages are sections of one history.

    With ``"wandb"`` everything goes into a single W&B run, open as long as the ``with`` block and
    marked as failed if the block fails. Its project is ``WANDB_PROJECT``, or ``hsi_diffusion``. Its
    id is kept in the folder, so that a run that is resumed is the same one in W&B, offline too;
    steps that were trained again after the last checkpoint are in its history twice. Where the
    caller has a W&B run under way, everything goes there; it keeps its own config values, and is
    left open.

    With ``"csv"`` there are the curves of each stage, ``logs/STAGE/metrics.csv``. Figures of merit,
    tables, pictures and the model are files of the run's folder anyway, so that nothing is written
    for them. ``"none"`` writes nothing at all.

    Args:
        kind: ``"csv"``, ``"wandb"`` or ``"none"``.
        folder: The run's output folder.
        name: Name of the run.
        config: The run's settings as plain data.
        group: Name of the runs that W&B shows together with this one; None: no group.

    Raises:
        ConfigurationError: There is no such logger, or it can't be used, see :func:`check_logger`.
    """

    def __init__(
        self,
        kind: str,
        folder: str | Path,
        name: str,
        config: Mapping[str, Any],
        group: str | None = None,
    ) -> None:
        check_logger(kind)
        self.kind = kind
        self.folder = Path(folder)
        self.name = name
        self.config = dict(config)
        self.group = group
        self._run: Any = None
        self._is_own = False
        self._whole: StageWandbLogger | None = None

    def __enter__(self) -> Self:
        if self.kind == "wandb":
            self._open()
            self._whole = StageWandbLogger("", self._run, self.folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_own:
            self._run.finish(exit_code=0 if error is None else 1)
        self._run, self._is_own, self._whole = None, False, None

    def stage(self, name: str) -> Logger | Literal[False]:
        """The logger of one stage, for its Trainer.

        Args:
            name: Name of the stage, which stands before everything that is logged there:
                ``train/loss`` of the stage ``"pretrain"`` becomes ``pretrain/train/loss``.

        Returns:
            The logger; False for ``"none"``.

        Raises:
            ConfigurationError: W&B was not opened by a ``with`` block.
        """
        if self.kind == "csv":
            return StageCSVLogger(self.folder, name)
        if self.kind == "none":
            return False
        if self._whole is None:
            raise ConfigurationError(
                f"stage {name!r} has no W&B run: use the logger as `with RunLogger(...) as logger:`"
            )
        return StageWandbLogger(name, self._run, self.folder)

    def metrics(self, prefix: str, figures: Mapping[str, Any]) -> None:
        """Log figures of merit, which the summary holds too: a sweep can optimise them.

        Args:
            prefix: What they belong to, which keeps them apart: ``"test"``, ``"control/test"``,
                ``"difference"``.
            figures: Numbers by name. Anything else (None, NaN or a list) is left out.
        """
        if self._whole is not None:
            numbers = {
                f"{prefix}/{name}": float(value)
                for name, value in figures.items()
                if isinstance(value, Real) and not math.isnan(value)
            }
            self._whole.log_metrics(numbers)

    @rank_zero_only
    def summary(self, values: Mapping[str, Any]) -> None:
        """Put values into the summary, such as the timesteps and levels that were chosen.

        Args:
            values: Plain data by name.
        """
        if self._whole is not None:
            self._whole.experiment.summary.update(dict(values))

    def figure(self, name: str, figure: Figure) -> None:
        """Log a figure as an image.

        Args:
            name: Name of the image.
            figure: The figure.
        """
        if self._whole is not None:
            give_figure(self._whole, name, figure, 0)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table.

        Args:
            name: Name of the table.
            columns: Names of the columns.
            rows: Rows of as many values.
        """
        if self._whole is not None:
            self._whole.log_table(name, list(columns), [list(row) for row in rows])

    @rank_zero_only
    def model(self, folder: str | Path) -> None:
        """Log a saved model as the artifact ``model-ID`` of the run with that id.

        Args:
            folder: The folder that holds it.
        """
        if self._whole is not None:
            import wandb  # noqa: PLC0415

            artifact = wandb.Artifact(f"model-{self._run.id}", type="model")
            artifact.add_dir(os.fspath(folder))
            self._run.log_artifact(artifact)

    @rank_zero_only
    def _open(self) -> None:
        """Take the caller's W&B run, or open one of our own: anew, or that of the folder."""
        import wandb  # noqa: PLC0415  (a second to load, for nobody else)

        if wandb.run is not None:
            self._run = wandb.run
            self._run.config.setdefaults(self.config)
            return
        kept = self.folder / "wandb" / "run.id"
        kept.parent.mkdir(parents=True, exist_ok=True)  # else W&B writes elsewhere
        number = kept.read_text(encoding="utf-8") if kept.is_file() else None
        parts = 0 if number is None else len(list(kept.parent.glob(f"*run-*-{number}")))
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "hsi_diffusion"),
            name=self.name,
            group=self.group,
            dir=self.folder,
            id=number,
            resume="allow",
            config=self.config,
            reinit="create_new",  # never stands in wandb.run: no other code takes it for its own
        )
        self._is_own = True
        write_text(kept, self._run.id)
        if parts:
            # an offline part knows nothing of the steps before it, and would count from 0 again:
            # W&B drops points that don't rise when the parts are synchronised as one run
            self._run.log({"part": parts + 1}, step=parts * PART_STEPS, commit=True)
