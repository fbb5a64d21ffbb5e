from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hsi_diffusion import DiffusionPretrainModule, runs
from hsi_diffusion.benchmarks import cells
from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

TINY = [
    "--accelerator=cpu",
    "--simulated={height: 24, width: 24, bands: 26, num_classes: 3}",
    *("--pretrain.patch_size=8", "--pretrain.batch_size=4", "--pretrain.steps=2"),
    "--pretrain.denoiser={channels: 8, stages: 1, window: 4, groups: 2, heads: 2}",
    "--pretrain.contrast={instance: 0, cluster: 0}",
    "--features.timesteps=[50, 200]",
]


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "pixel_probe")


def test_every_target_and_space_is_probed(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*TINY, "--splits", "8", "0.4", "--seeds", "3", "--out", str(tmp_path)]
    assert script.main(given) == 0
    with (tmp_path / "probe.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    targets = [
        f"features, {space}, {t}" for space in ("bands", "MNF") for t in ("noise", "x0", "v")
    ]
    controls = [f"raw {space}{kind}" for space in ("bands", "MNF") for kind in ("", ", blurred")]
    assert {row["row"] for row in rows} == {*targets, *controls}
    assert len(rows) == 20
    # three classes of a simulated scene are easier than a coin
    assert all(float(row["overall_accuracy"]) > 0.4 for row in rows if row["row"] in controls)
    assert len(list((tmp_path / "pretrained").iterdir())) == 6  # one for both splits
    assert "| raw MNF, blurred |" in (tmp_path / "probe.md").read_text(encoding="utf-8")
    assert script.main(["nonsense", "--out", str(tmp_path / "no")]) == 2
    assert "settings are flags such as --pretrain.steps 500" in capsys.readouterr().err


def test_a_network_is_used_again_only_for_the_same_settings(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Path] = []

    class ReachedError(Exception):
        pass

    def note(_: runs.RunSettings, place: Path, **__: Any) -> None:
        places.append(place)
        raise ReachedError

    monkeypatch.setattr(cells, "pretrain_alone", note)

    def folder(*more: str, seed: int = 0, split: str = "8", target: str = "x0") -> Path:
        options = script.parse_arguments([*TINY, "--out", str(tmp_path), *more])
        settings = script.settings_of(options, "MNF", target, seed=seed, split=split)
        scene = runs.read_scene(settings)
        with pytest.raises(ReachedError):
            next(script.feature_cubes(options, settings, scene))
        return places[-1]

    usual = folder()
    assert usual.parent == tmp_path / "pretrained"
    assert folder() == folder(split="0.2") == folder("--features.draws=2") == usual
    others = [
        folder("--simulated.seed=1"),
        folder("--pretrain.steps=3"),
        folder("--preset", "quick"),
        folder(seed=1),
        folder(target="v"),
    ]
    assert len({usual, *others}) == 6


def test_a_method_that_pretrains_nothing_is_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([*TINY, "--method", "svm", "--out", str(tmp_path / "out")]) == 2
    assert "this recipe has no pretraining" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_features_are_extracted_as_the_settings_say(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, Any]] = []
    extract = DiffusionPretrainModule.extract_features

    def note(module: DiffusionPretrainModule, cube: Any, request: Any, **options: Any) -> Any:
        asked.append((request, options["device"]))
        return extract(module, cube, request, **options)

    monkeypatch.setattr(DiffusionPretrainModule, "extract_features", note)

    def cubes(*more: str) -> list[Any]:
        stages = "--pretrain.denoiser.stages=2"
        options = script.parse_arguments([*TINY, stages, "--out", str(tmp_path), *more])
        settings = script.settings_of(options, "MNF", "x0", seed=0, split="8")
        return list(script.feature_cubes(options, settings, runs.read_scene(settings)))

    assert len(cubes("--features.precision=float32")) == 2 * 2 + 1
    one, both = cubes(
        *("--features.levels=[1]", "--features.timesteps=[50]"),
        *("--features.tile=16", "--features.precision=bfloat16"),
    )
    assert np.array_equal(one, both)
    (first, first_device), (second, _) = asked
    assert (first.levels, first.precision) == ((0, 1), "float32")
    assert (second.levels, second.tile, second.precision) == ((1,), 16, "bfloat16")
    assert first_device == torch.device("cpu")
