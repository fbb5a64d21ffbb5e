from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs.workplace import Workplace

if TYPE_CHECKING:
    from pathlib import Path


def place(folder: Path, accelerator: str) -> Workplace:
    return Workplace(
        folder=folder,
        accelerator=accelerator,
        devices=1,
        logger="none",
        name="test",
        config={},
        progress=False,
    )


def test_auto_is_what_features_are_computed_on(tmp_path: Path) -> None:
    auto = place(tmp_path, "auto")
    assert auto.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert auto.make_trainer().strategy.root_device.type == auto.device.type


@pytest.mark.parametrize(
    ("device", "deterministic", "expected"),
    [("cuda", True, "warn"), ("cuda", False, None), ("cpu", True, None)],
)
def test_only_cards_are_asked_for_deterministic_algorithms(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    deterministic: bool,
    expected: str | None,
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(Workplace, "device", torch.device(device))
    monkeypatch.setattr("lightning.Trainer", lambda **given: asked.update(given))
    replace(place(tmp_path, "auto"), deterministic=deterministic).make_trainer()
    assert asked["deterministic"] == expected
    assert asked["accelerator"] == device


@pytest.mark.parametrize("accelerator", ["abacus", "tpu"])
def test_hardware_that_is_not_there_is_named(tmp_path: Path, accelerator: str) -> None:
    with pytest.raises(ConfigurationError, match=f"accelerator='{accelerator}' with devices=2"):
        place(tmp_path, accelerator).make_trainer(devices=2)
