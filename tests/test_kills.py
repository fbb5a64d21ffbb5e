"""A small share of what ``tests.kills`` does by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_killed_training_goes_on() -> None:
    """Killed once and twice; in a process of its own, since it forks."""
    command = [sys.executable, "-m", "tests.kills", "--runs=2", "--only=own Trainer, pretraining"]
    done = subprocess.run(
        [*command, "--processes=1"], capture_output=True, text=True, timeout=900, check=True
    )
    (row,) = (line for line in done.stdout.splitlines() if "training" in line)
    runs, kills, equal = map(int, row.split("|")[4:7])
    assert (runs, equal) == (2, 2), done.stderr
    assert kills >= 2
