"""Whole runs: plain settings in, a folder with figures, maps and a report out."""

from hsi_diffusion.runs.folder import check_output, prepare_output
from hsi_diffusion.runs.outputs import show_result, write_outputs
from hsi_diffusion.runs.pipeline import RunResult, run
from hsi_diffusion.runs.settings import (
    RunSettings,
    default_folder,
    merge,
    parse_yaml,
    preset_for_scene,
    read_yaml,
)

__all__ = [
    "RunResult",
    "RunSettings",
    "check_output",
    "default_folder",
    "merge",
    "parse_yaml",
    "prepare_output",
    "preset_for_scene",
    "read_yaml",
    "run",
    "show_result",
    "write_outputs",
]
