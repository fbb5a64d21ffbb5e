"""A scene that trains in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import pytest

from hsi_diffusion import SimulatedSceneDataModule
from tests.modules.ddp_worker import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL: dict[str, Any] = {"height": 40, "width": 36, "bands": 16, "num_classes": 4}


@pytest.fixture
def small_scene() -> Callable[..., SimulatedSceneDataModule]:
    """Builds data modules of a small simulated scene."""

    def build(**settings: Any) -> SimulatedSceneDataModule:
        defaults = {"patch_size": 5, "batch_size": 16, "split": "10"}
        return SimulatedSceneDataModule(**{**SMALL, **defaults, **settings})

    return build


@pytest.fixture
def quiet_trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """Builds Trainers that compute on the CPU and say nothing."""

    def build(**settings: Any) -> L.Trainer:
        return L.Trainer(**{**QUIET, "default_root_dir": tmp_path, **settings})

    return build
