"""Lightning loggers for one stage of a run, as a section of the run's one history."""

from __future__ import annotations

import csv
from argparse import Namespace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from hsi_diffusion.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping


class StageWandbLogger(WandbLogger):
    """Logs one stage into a section of a W&B run that holds other stages too.

    Every name gets the stage before it: ``train/loss`` becomes ``pretrain/train/loss``. The step
    goes beside it as ``pretrain/step``, an axis of this section alone: a stage may begin again at
    step 0, whereas W&B's own step only ever rises. Hyperparameters go into the run's config as
    ``pretrain/module``, apart from the settings of the run, which may know a ``pretrain`` too.

    Args:
        stage: Name of the stage; ``""`` is the run as a whole.
        run: The W&B run; None where there is none, on all processes but the first.
        folder: The run's output folder.
    """

    LOGGER_JOIN_CHAR = "/"

    def __init__(self, stage: str, run: Any, folder: str | Path) -> None:
        super().__init__(experiment=run, prefix=stage, save_dir=folder)
        self.stage = stage
        if stage:
            self.experiment.define_metric(f"{stage}/step", hidden=True)
            self.experiment.define_metric(f"{stage}/*", step_metric=f"{stage}/step")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log what was measured at a step of the stage; None: at the latest step."""
        super().log_metrics(_by_step(metrics) | ({} if step is None else {"step": step}))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log the hyperparameters of the stage's modules."""
        named = vars(params) if isinstance(params, Namespace) else params
        super().log_hyperparams({f"{self.stage}/module": dict(named)})


class StageCSVLogger(CSVLogger):
    """Writes the curves of one stage to ``FOLDER/logs/STAGE/metrics.csv``.

    A stage that is resumed after an interruption continues its curves, where Lightning's logger
    would begin a new file. Rows of the earlier session stay as far as they lie before the first
    step that is logged now; what is trained again since the last checkpoint replaces the others.
    So a stage that begins again from the start replaces all of them.

    Args:
        folder: The run's output folder.
        stage: Name of the stage.
    """

    def __init__(self, folder: str | Path, stage: str) -> None:
        # every row at once: what a killed run had not written would be a hole in its curves
        super().__init__(folder, name="logs", version=stage, flush_logs_every_n_steps=1)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log what was measured at a step of the stage."""
        super().log_metrics(_by_step(metrics), step)

    @property
    @rank_zero_experiment
    def experiment(self) -> CurveWriter:
        """What writes the files."""
        if self._experiment is None:
            self._experiment = CurveWriter(self.log_dir)
        return cast("CurveWriter", self._experiment)


class CurveWriter(ExperimentWriter):
    """Lightning's writer of ``metrics.csv``, which continues a file that is there.

    Args:
        log_dir: Folder of the file.
    """

    def _check_log_dir_exists(self) -> None:
        """Leave what is there; Lightning's writer warns and removes it."""

    def save(self) -> None:
        """Append the new rows, or write the file anew where they bring new columns."""
        rows, self.metrics = self.metrics, []
        if not rows:
            return
        path = Path(self.metrics_file_path)
        columns = sorted({*self.metrics_keys, *chain.from_iterable(rows)})
        if columns == self.metrics_keys:
            with path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, columns).writerows(rows)
            return
        earlier = _read(path)
        if not self.metrics_keys:  # the first rows of this session
            earlier = [row for row in earlier if int(row["step"]) < rows[0]["step"]]
            columns = sorted({*columns, *chain.from_iterable(earlier)})
        with (
            atomic_path(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows([*earlier, *rows])
        self.metrics_keys = columns


def _by_step(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, without Lightning's epoch: it depends on where a training went on."""
    return {name: value for name, value in metrics.items() if name != "epoch"}


def _read(path: Path) -> list[dict[str, str]]:
    """The rows of a file, but for one that was cut short; no rows where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]
