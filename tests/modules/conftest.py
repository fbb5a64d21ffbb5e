"""A scene that trains in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import pytest

from hsi_diffusion import SimulatedSceneDataModule

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
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "default_root_dir": tmp_path,
        }
        return L.Trainer(**{**defaults, **settings})

    return build
