"""Loggers of one run, and finished runs that tests read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hsi_diffusion.runs.loggers import RunLogger
from tests.runs.logged import CONFIG
from tests.runs.tiny import BASELINE, WHOLE, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hsi_diffusion.runs import RunResult


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_PROJECT", "of_the_user")


@pytest.fixture
def open_logger(tmp_path: Path, offline: None) -> Callable[..., RunLogger]:
    """Builds loggers of the same run."""

    def build(kind: str = "wandb", **others: Any) -> RunLogger:
        return RunLogger(kind, tmp_path, "my run", CONFIG, **others)

    return build


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A method with two candidates, and its control."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, start(folder, WHOLE)


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    folder = tmp_path_factory.mktemp("runs") / "baseline"
    return folder, start(folder, BASELINE)
