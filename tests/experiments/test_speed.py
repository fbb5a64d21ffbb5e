"""The script that times the library, on work that takes milliseconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from hsi_diffusion.networks import SpectralTransformer
from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

QUICK = ("diffspectralnet", "optimiser", "angles", "classifier", "map", "mnf", "graph", "spreading")


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "speed")


def test_rows_are_kept_and_compared(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.json"
    threads = torch.get_num_threads()
    try:
        script.main(["--small", "--rows", "mnf", "--out", str(out)])
        script.main(["--small", "--rows", *QUICK, "--out", str(out), "--compare", str(out)])
    finally:
        torch.set_num_threads(threads)
    rows = json.loads(out.read_text())["rows"]
    assert set(rows) == set(QUICK)
    for row in rows.values():
        assert row["seconds"] > 0
        assert row["peer"] > 0
    printed = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line]
    [compared] = [line for line in printed if line[1].strip() == "MNF fit" and len(line) > 8]
    assert float(compared[-2]) > 0
    assert sum(line[-2].strip() == "-" for line in printed if len(line) > 8) == len(QUICK) - 1


def test_the_plain_classifier_has_the_sizes_of_ours(script: ModuleType) -> None:
    plain = script.PlainTransformer(channels=20, classes=4, patch=5)
    ours = SpectralTransformer(20, 4, 5)
    image = torch.randn(3, 20, 5, 5)
    assert plain(image).shape == ours(image).shape == (3, 4)
    counted = [sum(weight.numel() for weight in one.parameters()) for one in (plain, ours)]
    assert counted[0] == pytest.approx(counted[1], abs=1)
