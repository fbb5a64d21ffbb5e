"""Whole runs: plain settings in, a folder with figures, maps and a report out."""

from hsi_diffusion.runs.benchmark import BenchmarkSettings, benchmark_cells, control_row
from hsi_diffusion.runs.benchmark_report import cell_key, write_benchmark
from hsi_diffusion.runs.candidates import choice_splits
from hsi_diffusion.runs.console import quieten
from hsi_diffusion.runs.folder import check_output, prepare_output
from hsi_diffusion.runs.grid import Cell, CellResult, grid_results, pretraining_folder, run_grid
from hsi_diffusion.runs.hardware import describe_hardware
from hsi_diffusion.runs.measurements import failures, measurements, without_strangers
from hsi_diffusion.runs.outputs import show_result, write_outputs
from hsi_diffusion.runs.pipeline import RunResult, pretrain_alone, run, scene_data
from hsi_diffusion.runs.presets import (
    merge,
    parse_assignment,
    parse_yaml,
    preset_for,
    read_preset,
    read_yaml,
)
from hsi_diffusion.runs.settings import RunSettings, SplitSettings, default_folder
from hsi_diffusion.runs.stages import load_pretrained

__all__ = [
    "BenchmarkSettings",
    "Cell",
    "CellResult",
    "RunResult",
    "RunSettings",
    "SplitSettings",
    "benchmark_cells",
    "cell_key",
    "check_output",
    "choice_splits",
    "control_row",
    "default_folder",
    "describe_hardware",
    "failures",
    "grid_results",
    "load_pretrained",
    "measurements",
    "merge",
    "parse_assignment",
    "parse_yaml",
    "prepare_output",
    "preset_for",
    "pretrain_alone",
    "pretraining_folder",
    "quieten",
    "read_preset",
    "read_yaml",
    "run",
    "run_grid",
    "scene_data",
    "show_result",
    "without_strangers",
    "write_benchmark",
    "write_outputs",
]
