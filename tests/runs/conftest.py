"""Loggers of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hsi_diffusion.runs.loggers import RunLogger
from tests.runs.logged import CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
