"""The script for graphics cards, on a processor and with networks that take seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from hsi_diffusion import DiffusionPretrainModule
from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from torch.fx import GraphModule

SMALL = [
    *("--preset", "quick", "--steps", "2", "--warmup", "1", "--accelerator", "cpu"),
    *("--losses", "0"),
    "--simulated={height: 24, width: 20, bands: 20, num_classes: 3}",
    "--pretrain.transform.components=8",
    *("--pretrain.patch_size=8", "--pretrain.batch_size=4", "--pretrain.steps=3"),
    *("--features.timesteps=[50, 100]", "--features.levels=[1]", "--features.components=8"),
    *("--classifier.patch_size=5", "--classifier.steps=30"),
]
UNET = ["--pretrain.denoiser.base_channels=2"]
FLAT = [
    "--pretrain.denoiser={channels: 8, multipliers: [1]}",
    "--features.levels=[0]",
    "--classifier.members=2",
    "--classifier.network={dim: 16, heads: 2, head_dim: 8, depth: 3}",
]


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "card")


def test_every_stage_is_timed(script: ModuleType) -> None:
    said: list[str] = []
    assert script.main(["--methods", "spectraldiff", *SMALL, *UNET], say=said.append) == 0
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in said[-1].splitlines()
        if line.startswith("| spectraldiff")
    ]
    assert [row[1] for row in rows] == ["pretraining", "features", "classifier"]
    assert [row[4].split(" ", 1)[1] for row in rows] == ["steps of 4", "pixels", "steps of 64"]
    assert [row[5][-1] for row in rows] == ["%", "-", "%"]
    for row in rows:
        assert float(row[4].split(" ")[0].replace(",", "")) > 0
        assert row[7] == "-", "the memory of a processor is not measured"


def test_all_of_a_stage_follows_from_its_pace(script: ModuleType, tmp_path: Path) -> None:
    options = script.parse_arguments([*SMALL, *UNET, "--precision", "bfloat16"])
    settings = script.settings_for("spectraldiff", options)
    pretraining, features, classifier = script.measure(
        settings, steps=2, warmup=1, compiled=False, folder=tmp_path
    )
    assert {pace.precision for pace in (pretraining, features, classifier)} == {"bfloat16"}
    for pace, steps in ((pretraining, 3), (classifier, 30)):
        assert pace.total == pytest.approx(steps / pace.rate)
    # of two candidates one was computed
    assert features.total == pytest.approx(2 * 24 * 20 / features.rate)
    assert features.parameters is None


def test_a_step_that_is_taken_in_parts_is_timed_whole(script: ModuleType, tmp_path: Path) -> None:
    sizes: list[int] = []

    def counting(module: Any, batch: Any, *_: Any) -> Any:
        sizes.append(len(batch["image"]))
        return usual(module, batch, *_)

    usual = DiffusionPretrainModule.training_step
    options = script.parse_arguments([*SMALL, *UNET, "--pretrain.micro_batch_size=2"])
    settings = script.settings_for("spectraldiff", options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiffusionPretrainModule, "training_step", counting)
        paces = script.measure(settings, steps=2, warmup=1, compiled=False, folder=tmp_path)
    assert sizes == [2] * 8, "one step is counted, three are run"
    assert paces[0].unit == "steps of 4"
    assert paces[0].total == pytest.approx(3 / paces[0].rate)


def test_the_networks_of_every_stage_are_compiled(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    compile_usually = torch.compile
    extract_usually = DiffusionPretrainModule.extract_features

    def counting(graph: GraphModule, _: object) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            happened.append("compiled code")
            return graph.forward(*inputs)

        return run

    def compile_and_count(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        compiled: Callable[..., Any] = compile_usually(function, backend=counting)
        return compiled

    def extract(*given: Any, **options: Any) -> Any:
        happened.append("extract")
        return extract_usually(*given, **options)

    def begin(*_: object) -> None:
        happened.append("begin")

    monkeypatch.setattr(torch, "compile", compile_and_count)
    monkeypatch.setattr(DiffusionPretrainModule, "extract_features", extract)
    monkeypatch.setattr(script, "begin", begin)
    options = script.parse_arguments([*SMALL, *FLAT])
    settings = script.settings_for("diffspectralnet", options)
    try:
        paces = script.measure(settings, steps=2, warmup=1, compiled=True, folder=tmp_path)
    finally:
        torch.compiler.reset()
    assert [pace.stage for pace in paces] == ["pretraining", "features", "classifier"]
    _, pretraining, features, classifier = "\n".join(happened).split("begin")
    training, warmup = pretraining.split("extract")
    # three steps; at least one tile, twice; three steps of two members
    for part, calls in ((training, 3), (warmup, 1), (features, 1), (classifier, 6)):
        assert part.count("compiled code") >= calls


def test_losses_of_both_precisions_are_told(script: ModuleType) -> None:
    said: list[str] = []
    assert (
        script.main(["--methods", "spectraldiff", *SMALL, *UNET, "--losses=5"], say=said.append)
        == 0
    )
    [row] = [line.split("|")[2:-1] for line in said[-1].splitlines() if "| spectraldiff" in line]
    last, last_half, first, first_half = map(float, row)
    assert first == pytest.approx(first_half, rel=0.05)
    assert last == pytest.approx(last_half, rel=0.1)
    assert last != first


def test_nothing_is_begun_when_the_time_is_over(script: ModuleType) -> None:
    said: list[str] = []
    script.main(["--methods", "spectraldiff", *SMALL, *UNET, "--minutes=0"], say=said.append)
    assert any("no time is left for spectraldiff" in line for line in said)


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
    def run(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(script, "measure", run)
    said: list[str] = []
    assert script.main(["--methods", "spectraldiff", *SMALL, *UNET], say=said.append) == 0
    assert "spectraldiff needs more memory than the card has" in said[-3]
    assert said[-1] == "\ntoo large for a card of 24 GB: spectraldiff"
