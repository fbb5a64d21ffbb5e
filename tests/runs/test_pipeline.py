"""Whole runs that were killed on their way."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import yaml

from hsi_diffusion.runs import RunSettings, merge, run
from tests.runs.tiny import TINY

if TYPE_CHECKING:
    from pathlib import Path

KILLED = """
import os, signal, sys
from pathlib import Path
from hsi_diffusion.features.reduce import StreamingPCA
from hsi_diffusion.runs import RunSettings, read_yaml, run
StreamingPCA.partial_fit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run(RunSettings.from_dict(read_yaml(sys.argv[1])), Path(sys.argv[2]), progress=False)
"""
"""A run that dies when the first features are on their way to a reduction."""


def test_a_resumed_run_removes_what_the_killed_one_left(tmp_path: Path, repository: Path) -> None:
    plain = merge(TINY, {"features": {"keep": "all"}})
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(plain))
    folder = tmp_path / "run"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "settings.yaml"), str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=repository,
        timeout=240,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    (left,) = (folder / "features").iterdir()
    assert left.name.startswith(".spool-")
    settings = RunSettings.from_dict(plain)
    assert run(settings, folder, resume=True, progress=False, say=lambda _: None) is not None
    (features,) = (folder / "features").iterdir()
    assert features.name.startswith("features-")
