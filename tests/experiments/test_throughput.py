"""The script that times the recipes, on networks that take seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.experiments.scripts import load_script
from tests.experiments.tiny import TINY

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

SMALL = [
    *(text for text in TINY if text.startswith("--set")),
    *("--accelerator", "cpu", "--preset", "quick", "--steps", "2", "--warmup", "1"),
]


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "throughput")


def test_every_stage_is_timed(script: ModuleType) -> None:
    said: list[str] = []
    assert script.main(["--methods", "spectraldiff", *SMALL], say=said.append) == 0
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in said[-1].splitlines()
        if line.startswith("| spectraldiff")
    ]
    assert [row[1] for row in rows] == ["pretraining", "features", "classifier"]
    assert [row[4].split(" ", 1)[1] for row in rows] == ["steps of 4", "pixels", "steps of 64"]
    for row in rows:
        assert float(row[4].split(" ")[0].replace(",", "")) > 0
        assert row[6] == "-", "the memory of a processor is not measured"


def test_all_of_a_stage_follows_from_its_pace(script: ModuleType, tmp_path: Path) -> None:
    options = script.parse_arguments([*SMALL, "--precision", "bfloat16"])
    settings = script.settings_for("spectraldiff", options)
    measuring = script.Measuring(settings, steps=2, warmup=1, compiled=False, folder=tmp_path)
    pretraining, features, classifier = measuring.run()
    assert {pace.precision for pace in (pretraining, features, classifier)} == {"bfloat16"}
    for pace, steps in ((pretraining, 3), (classifier, 30)):
        rate = float(pace.rate.split(" ")[0])
        assert pace.total == pytest.approx(steps / rate, rel=0.01)
    # of two candidates one was computed
    rate = float(features.rate.split(" ")[0].replace(",", ""))
    assert features.total == pytest.approx(2 * 40 * 36 / rate, rel=0.01)
    assert features.parameters is None


def test_what_cannot_be_timed_is_told(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--methods", "svm", "--preset", "quick"]) == 2
    assert "svm pretrains nothing, give methods that do" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        script.main(["--steps", "0"])
    assert "--steps must be at least 1" in capsys.readouterr().err


def test_what_ran_out_of_memory_is_not_said_to_fit(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(script.Measuring, "run", run)
    said: list[str] = []
    assert script.main(["--methods", "spectraldiff", *SMALL], say=said.append) == 0
    assert "spectraldiff needs more memory than the card has" in said[-3]
    assert said[-1] == "\ntoo large for a card of 24 GB: spectraldiff"
