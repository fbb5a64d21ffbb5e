"""The notebooks run from top to bottom, and are stored with what they showed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
LARGEST = 600_000
"""Bytes of a stored notebook, pictures and all."""


def run(notebook: Path, folder: Path) -> Any:
    """Execute a notebook in a folder, in a kernel of its own."""
    content = nbformat.read(notebook, as_version=4)
    client = NotebookClient(content, timeout=300, resources={"metadata": {"path": str(folder)}})
    return client.execute()


def test_there_are_four_notebooks() -> None:
    assert [notebook.stem[:2] for notebook in NOTEBOOKS] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_small(notebook: Path) -> None:
    cells = [
        cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"
    ]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    text = notebook.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert "Traceback" not in text
    assert os.fspath(Path.home()) + "/" not in text


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run_one_after_the_other(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSI_DIFFUSION_NOTEBOOK", "quick")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run(notebook, tmp_path)
    assert list(tmp_path.iterdir()) == [], "a notebook leaves no files behind"


if __name__ == "__main__":  # keep the outputs: python tests/test_notebooks.py
    for one in NOTEBOOKS:
        nbformat.write(run(one, one.parent), one)
