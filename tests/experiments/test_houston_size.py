from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_adds_a_row_with_its_time_and_memory(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.md"
    out.write_text("| earlier |\n", encoding="utf-8")
    # in a process of its own: a run has the memory of its parent until it has begun
    command = [
        sys.executable,
        str(repository / "experiments" / "houston_size.py"),
        "knn",
        "--small",
    ]
    subprocess.run([*command, "--threads", "1", "--out", str(out)], check=True)
    earlier, added = out.read_text(encoding="utf-8").splitlines()
    assert earlier == "| earlier |"
    row = added.split(" | ")
    assert row[0] == "| knn, cpu"
    assert 0.1 < float(row[3]) < 1.5, "GB"
    assert float(row[4]) > 50, "three classes of a simulated scene are easy"
    assert "classifier" in row[5]
    assert "1 threads" in row[6]
