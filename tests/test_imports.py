"""Imports go in the direction in which the data flow, and importing the library does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.processes import run_python

PACKAGE = Path(__file__).resolve().parents[1] / "hsi_diffusion"

FLOOR = {
    "attention",
    "console",
    "convolution",
    "distributed",
    "errors",
    "files",
    "hardware",
    "options",
    "parts",
    "seeding",
    "tasks",
    "tensors",
    "types",
}
"""Modules without a folder, which everybody may import."""

ORDER = (
    "scenes",
    "patches",
    "diffusion",
    "denoisers",
    "features",
    "networks",
    "graphs",
    "metrics",
    "reports",
    "modules",
    "classifiers",
    "recipes",
    "models",
    "runs",
    "benchmarks",
)
"""A folder imports only from folders before it."""


def imported_names(path: Path) -> set[str]:
    """Dotted names below ``hsi_diffusion`` that a file imports, absolute or relative."""
    package = ("hsi_diffusion", *path.relative_to(PACKAGE).parts[:-1])
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module or "") if part)
            modules = [f"{stem}.{alias.name}" for alias in node.names]
        names |= {module for module in modules if module.startswith("hsi_diffusion.")}
    return names


def imported(path: Path) -> set[str]:
    """First names below ``hsi_diffusion`` that a file imports."""
    return {name.split(".")[1] for name in imported_names(path)}


def file_of(name: str) -> Path:
    """The file that a dotted name stands in, or is."""
    parts = name.split(".")[1:]
    for length in range(len(parts), 0, -1):
        place = PACKAGE.joinpath(*parts[:length])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return PACKAGE / "__init__.py"


@pytest.mark.parametrize("folder", ORDER)
def test_folder_imports_only_from_folders_above_it(folder: str) -> None:
    files = sorted((PACKAGE / folder).rglob("*.py"))
    assert files, f"{folder} holds no modules"
    allowed = FLOOR | set(ORDER[: ORDER.index(folder) + 1])
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in files
        for name in imported(path)
        if name not in allowed
    }
    assert not wrong


def test_no_files_import_each_other_in_a_circle() -> None:
    """Not even for types."""
    files = {
        path: {file_of(name) for name in imported_names(path)} for path in PACKAGE.rglob("*.py")
    }
    TopologicalSorter(files).prepare()  # a CycleError names the files


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ORDER)


def test_floor_imports_nothing_of_the_library() -> None:
    assert {name for module in FLOOR for name in imported(PACKAGE / f"{module}.py")} <= FLOOR


def test_scenes_do_without_torch() -> None:
    code = "import sys, hsi_diffusion.scenes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_runs_do_without_wandb() -> None:
    """It takes a second to load, and only those who log there need it."""
    code = "import sys, hsi_diffusion.runs; sys.exit('wandb' in sys.modules)"
    assert run_python(["-c", code]).returncode == 0


def test_import_changes_no_global_state() -> None:
    code = (
        "import os, random, lightning, numpy, torch\n"  # lightning itself sets two variables
        "environment = dict(os.environ)\n"
        "state = torch.get_rng_state(); python = random.getstate(); "
        "array = numpy.random.get_state()[1].copy()\n"
        "threads = torch.get_num_threads()\n"
        "import hsi_diffusion\n"
        "from hsi_diffusion import IndianPinesDataModule\n"
        "assert dict(os.environ) == environment\n"
        "assert torch.equal(torch.get_rng_state(), state)\n"
        "assert random.getstate() == python\n"
        "assert (numpy.random.get_state()[1] == array).all()\n"
        "assert torch.get_num_threads() == threads\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
