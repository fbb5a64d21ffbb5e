from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest

from hsi_diffusion import runs
from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from hsi_diffusion.modules import SceneDataModule

TINY = [
    f"--set={assignment}"
    for assignment in (
        "accelerator=cpu",
        "scene={name: simulated, height: 40, width: 36, bands: 26, num_classes: 4}",
        "pretrain.patch_size=8",
        "pretrain.batch_size=4",
        "pretrain.steps=2",
        "pretrain.module.denoiser_options={channels: 8, stages: 1, window: 4, groups: 2, heads: 2}",
        "pretrain.module.contrast=null",
        "features.timesteps=[50, 200]",
    )
]


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "pixel_probe")


def test_every_target_and_space_is_probed(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*TINY, "--splits", "8", "0.2", "--seeds", "3", "--out", str(tmp_path)]
    assert script.main(given) == 0
    with (tmp_path / "probe.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    targets = [
        f"features, {space}, {t}" for space in ("bands", "MNF") for t in ("noise", "x0", "v")
    ]
    controls = [f"raw {space}{kind}" for space in ("bands", "MNF") for kind in ("", ", blurred")]
    assert {row["row"] for row in rows} == {*targets, *controls}
    assert len(rows) == 20
    # four classes of a simulated scene are easier than a coin
    assert all(float(row["overall_accuracy"]) > 0.4 for row in rows if row["row"] in controls)
    assert len(list((tmp_path / "pretrained").iterdir())) == 6  # one for both splits
    assert "| raw MNF, blurred |" in (tmp_path / "probe.md").read_text(encoding="utf-8")
    assert script.main(["--set", "nonsense", "--out", str(tmp_path / "no")]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err


def test_a_network_is_used_again_only_for_the_same_settings(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Path] = []

    class ReachedError(Exception):
        pass

    def note(_: runs.RunSettings, place: Path, **__: Any) -> None:
        places.append(place)
        raise ReachedError

    monkeypatch.setattr(runs, "pretrain_alone", note)

    def folder(*more: str, seed: int = 0, split: str = "8", target: str = "x0") -> Path:
        options = script.parse_arguments([*TINY, "--out", str(tmp_path), *more])
        settings = script.settings_of(options, "MNF", target, seed=seed, split={"kind": split})
        data: SceneDataModule = runs.scene_data(settings)
        with pytest.raises(ReachedError):
            next(script.feature_cubes(options, settings, data))
        return places[-1]

    usual = folder()
    assert usual.parent == tmp_path / "pretrained"
    assert folder() == folder(split="0.2") == folder("--set", "features.draws=2") == usual
    others = [
        folder("--set", "scene.scene_seed=1"),
        folder("--set", "pretrain.steps=3"),
        folder("--preset", "quick"),
        folder(seed=1),
        folder(target="v"),
    ]
    assert len({usual, *others}) == 6
