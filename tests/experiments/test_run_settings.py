"""What experiments/run.py makes of a command line, before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs import RunSettings
from hsi_diffusion.runs.presets import HANDFUL
from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    Settings = Callable[..., RunSettings]


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "run")


@pytest.fixture(scope="module")
def settings(script: ModuleType) -> Settings:
    """The settings that a command line means."""

    def read(*arguments: str) -> RunSettings:
        plain = script.settings_from(script.parse_arguments(list(arguments)))
        return RunSettings.from_dict(plain)

    return read


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize(
    ("options", "assignments"),
    [
        (["--split", "10"], ["split.kind=10"]),
        (["--split", "0.05"], ["split.kind=0.05"]),
        (["--scene", "houston2013"], ["scene.name=houston2013"]),
        (["--scene", "salinas", "--split", "5"], ["scene={name: salinas}", "split={kind: 5}"]),
        (["--scene", "salinas", "--root", "there"], ["scene.name=salinas", "scene.root=there"]),
        (["--method", "diffcrn", "--split", "10"], ["method=diffcrn", "split.kind=10"]),
        (["--method", "svm"], ["method=svm"]),
    ],
)
def test_an_option_and_its_assignment_mean_the_same(
    settings: Settings, preset: str, options: list[str], assignments: list[str]
) -> None:
    by_options = settings("--preset", preset, *options)
    assert settings("--preset", preset, *(f"--set={text}" for text in assignments)) == by_options
    texts = [f"--set={text}" for text in (f"preset={preset}", *assignments)]
    assert settings(*texts) == by_options


def test_a_preset_applies_to_the_scene_and_split_that_are_run(settings: Settings) -> None:
    houston = settings("--preset", "paper", "--set", "scene.name=houston2013")
    assert houston.split.kind == "fixed"
    assert houston.require_pretrain().steps == 33_000
    few = settings("--method", "diffcrn", "--preset", "cpu", "--set", "split.kind=10")
    assert few.classifier.propagation is not None
    # the last word counts
    many = settings(
        *("--method", "diffcrn", "--preset", "cpu", "--split", "10", "--set", "split.kind=0.1")
    )
    assert many.classifier.propagation is None


def test_the_help_says_how_many_labels_are_few(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script.parse_arguments(["--help"])
    assert f"up to {HANDFUL} of them" in " ".join(capsys.readouterr().out.split())


def test_a_configuration_keeps_its_split(settings: Settings, tmp_path: Path) -> None:
    RunSettings.from_dict({"split": {"kind": "7"}}).save(tmp_path / "config.yaml")
    config = ("--config", str(tmp_path / "config.yaml"))
    assert settings(*config, "--scene", "salinas").split.kind == "7"
    assert settings(*config, "--set", "split.kind=8").split.kind == "8"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "split=10"], "split must be a mapping, got 10"),
        (["--set", "scene=salinas"], "scene must be a mapping, got 'salinas'"),
        (["--set", "method=svn"], "method must be one of .*, got 'svn'"),
        (["--set", "method=svm", "--set", "pretrain.steps=3"], "svm learns from raw bands"),
        (["--cube", "a.npy", "--root", "there"], "belong to a scene of the catalogue"),
    ],
)
def test_what_makes_no_settings_is_named(
    settings: Settings, arguments: list[str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings(*arguments)
