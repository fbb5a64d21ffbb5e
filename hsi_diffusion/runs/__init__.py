"""One run: a folder with a model, figures, maps and a report, out of typed settings."""

from hsi_diffusion.runs.inputs import read_scene, read_split
from hsi_diffusion.runs.loggers import RunLogger
from hsi_diffusion.runs.outputs import show_result, write_outputs
from hsi_diffusion.runs.result import Outcome, RunResult
from hsi_diffusion.runs.run import check, pretrain_alone, process_rank, run
from hsi_diffusion.runs.settings import RunSettings, SimulatedSettings, default_folder

__all__ = [
    "Outcome",
    "RunLogger",
    "RunResult",
    "RunSettings",
    "SimulatedSettings",
    "check",
    "default_folder",
    "pretrain_alone",
    "process_rank",
    "read_scene",
    "read_split",
    "run",
    "show_result",
    "write_outputs",
]
