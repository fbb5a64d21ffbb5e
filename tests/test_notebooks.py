"""The notebooks run from top to bottom, and are stored with what they showed."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.processes import run_python

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
LARGEST = 600_000
"""Bytes of a stored notebook, pictures and all."""


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
    cells = nbformat.read(notebook, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    done = run_python(["-c", code], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.iterdir()) == [], "a notebook leaves no files behind"


if __name__ == "__main__":  # keep the outputs: python tests/test_notebooks.py
    for one in NOTEBOOKS:
        content = nbformat.read(one, as_version=4)
        client = NotebookClient(content, resources={"metadata": {"path": str(one.parent)}})
        nbformat.write(client.execute(), one)
