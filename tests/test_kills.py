"""A small share of what ``tests.kills`` does by hand."""

from __future__ import annotations

import os

import pytest

from tests.processes import run_python


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_killed_training_goes_on() -> None:
    """Killed once and twice; in a process of its own, since it forks."""
    command = ["-m", "tests.kills", "--runs=2", "--only=own Trainer, pretraining"]
    done = run_python([*command, "--processes=1"], timeout=900)
    (row,) = (line for line in done.stdout.splitlines() if "training" in line)
    runs, kills, equal = map(int, row.split("|")[4:7])
    assert (runs, equal) == (2, 2), done.stderr
    assert kills >= 2
