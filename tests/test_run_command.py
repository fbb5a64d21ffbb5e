"""The settings that a command line of run means."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
import yaml

from hsi_diffusion import simulate_scene
from hsi_diffusion.cli import main
from hsi_diffusion.patches import scene_split
from hsi_diffusion.run_command import run_settings
from hsi_diffusion.runs import RunSettings
from tests.program import error_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def names_of(kind: Any, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from names_of(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_setting_is_in_the_help_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == main(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    own = ["config", "print_config", "out", "resume", "overwrite", "no-progress"]
    for name in (*names_of(RunSettings), *own):
        assert f"--{name} " in shown or f"--{name}\n" in shown, name
    assert "up to 30 of them the preset's few_shot section" in " ".join(shown.split())


def test_a_preset_follows_the_scene_and_the_split(here: Path) -> None:
    houston = run_settings(["--preset", "paper", "--scene", "houston2013"])
    assert houston.split_kind == "fixed"
    assert houston.pretrain.steps == 33_000
    diffcrn = ["--method", "diffcrn", "--preset", "cpu"]
    assert run_settings([*diffcrn, "--split", "10"]).spreading.active
    assert not run_settings([*diffcrn, "--split", "10", "--split", "0.1"]).spreading.active
    (here / "few.yaml").write_text("{method: diffcrn, preset: cpu, split: 10}")
    assert run_settings(["--config", "few.yaml"]).spreading.active
    changed = run_settings(["--config", "few.yaml", "--split=0.1", "--pretrain.learning_rate=1e-3"])
    assert not changed.spreading.active
    assert (changed.method, changed.pretrain.learning_rate) == ("diffcrn", 0.001)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--method", "diffgraph", "--split", "10", "--features.timesteps=[5]", "--seed=3"],
        # the preset gives these parts other arguments than their defaults
        ["--pretrain.denoiser", "UNet3D", "--classifier.network", "SpectralTransformer"],
        ["--pretrain.denoiser.base_channels", "64", "--pretrain.losses", "{l2: 1}"],
        ["--method", "mnf_blur_svm", "--preset", "paper", "--raw_bands=[{transform: PCA}]"],
        ["--classifier.optimizer", "{class_path: torch.optim.SGD, init_args: {lr: 0.1}}"],
    ],
)
def test_the_printed_settings_repeat_the_run(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["run", *arguments, "--print_config"]) == 0
    printed = capsys.readouterr().out
    (here / "config.yaml").write_text(printed)
    assert main(["run", "--config", "config.yaml", "--print_config"]) == 0
    assert capsys.readouterr().out == printed
    assert yaml.safe_load(printed) == run_settings(arguments).to_dict()
    assert [path.name for path in here.iterdir()] == ["config.yaml"]


def test_whole_settings_are_not_called_by_another_name(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diffcrn = ["--method", "diffcrn", "--preset", "cpu", "--split", "10"]
    assert main(["run", *diffcrn, "--print_config"]) == 0
    Path("whole.yaml").write_text(capsys.readouterr().out)
    for flag, other in (("--method", "svm"), ("--preset", "quick")):
        assert main(["run", "--config", "whole.yaml", flag, other, "--print_config"]) == 2
        assert f"{flag} {other} would change the name and nothing else" in error_of(capsys)
    same = run_settings(["--config", "whole.yaml", *diffcrn, "--seed", "3"])
    assert (same.seed, same.spreading.active) == (3, True)
    with pytest.warns(UserWarning, match="what the preset changes for the scene and the split"):
        moved = run_settings(["--config", "whole.yaml", "--split", "0.1"])
    assert moved.spreading.active  # as the file says
    Path("part.yaml").write_text("{method: diffcrn, preset: cpu, seed: 4}")
    svm = run_settings(["--config", "part.yaml", "--method", "svm"])
    assert (svm.method, svm.pretrains, svm.seed) == ("svm", False, 4)


@pytest.mark.parametrize("split", ["10", "fields"])
def test_a_stored_split_has_the_recipe_of_its_kind(here: Path, split: str) -> None:
    scene = simulate_scene(40, 36, 4, 3)
    made = scene_split(scene, split, patch_size=3)
    assert made is not None
    made.save("split.npz")
    method = ["--preset", "cpu", "--method", "diffgraph" if split == "fields" else "diffcrn"]
    named = run_settings([*method, "--split", split]).to_dict()
    assert run_settings([*method, "--split", "split.npz"]).to_dict() == {
        **named,
        "split": "split.npz",
    }
    assert run_settings([*method, "--split", "0.1"]).to_dict() != {**named, "split": "0.1"}
