from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs import RunSettings, default_folder, merge, preset_for_scene, read_yaml
from hsi_diffusion.runs.settings import SpaceSettings

CONFIGS = sorted((Path(__file__).parents[2] / "experiments" / "configs").glob("*/*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_presets_are_valid_for_every_scene(file: Path) -> None:
    preset = read_yaml(file)
    for scene in (*preset.get("scenes", {}), "custom"):
        settings = RunSettings.from_dict(preset_for_scene(preset, scene))
        assert settings.pretrain.steps > 0


def test_there_are_presets() -> None:
    names = {(file.parent.name, file.stem) for file in CONFIGS}
    assert {("spectraldiff", preset) for preset in ("quick", "cpu", "paper")} <= names


def test_yaml_round_trip(tmp_path: Path) -> None:
    settings = RunSettings.from_dict(
        {
            "seed": 7,
            "split": {"kind": 0.1},
            "features": {"timesteps": [5, 10], "levels": [0]},
            "pretrain": {"module": {"learning_rate": 0.001}, "gradient_clip": 1},
            "raw_bands": {"spaces": [{"transform": "pca", "components": 5}, {}]},
        }
    )
    assert settings.split.kind == "0.1"
    assert settings.raw_bands.spaces == (
        SpaceSettings(transform="pca", components=5),
        SpaceSettings(),
    )
    settings.save(tmp_path / "config.yaml")
    assert RunSettings.from_dict(read_yaml(tmp_path / "config.yaml")) == settings


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sead": 1}, "unknown setting sead; allowed are accelerator"),
        ({"pretrain": {"stepz": 1}}, r"unknown setting pretrain\.stepz"),
        ({"pretrain": {"steps": "many"}}, r"pretrain\.steps must be of type int, got 'many'"),
        ({"pretrain": {"steps": True}}, r"pretrain\.steps must be of type int"),
        ({"pretrain": {"steps": 0}}, r"pretrain\.steps must be at least 1"),
        ({"pretrain": 3}, "pretrain must be a mapping"),
        ({"features": {"timesteps": 5}}, r"features\.timesteps must be a list"),
        ({"features": {"timesteps": []}}, r"features\.timesteps must be at least 1"),
        ({"features": {"precision": "fp8"}}, r"features\.precision must be one of auto"),
        ({"logger": "mlflow"}, "logger must be one of csv, wandb, none"),
        ({"pretrain": {"module": [1]}}, r"pretrain\.module must be a mapping"),
    ],
)
def test_wrong_settings_are_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RunSettings.from_dict(data)


def test_scene_section_changes_only_its_scene() -> None:
    preset = {
        "pretrain": {"steps": 1, "padding": "zeros"},
        "scenes": {"salinas": {"pretrain": {"steps": 2}}},
    }
    assert preset_for_scene(preset, "salinas") == {"pretrain": {"steps": 2, "padding": "zeros"}}
    assert preset_for_scene(preset, "custom") == {"pretrain": {"steps": 1, "padding": "zeros"}}
    assert merge({"a": {"b": 1}}, {"a": 2}) == {"a": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("- 1", "must hold a mapping"), (None, "there is no")],
)
def test_bad_files_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_yaml(file)


def test_default_folder_names_the_run() -> None:
    settings = RunSettings.from_dict(
        {"scene": {"name": "salinas"}, "split": {"kind": "10"}, "seed": 4}
    )
    assert default_folder(settings) == Path("runs/salinas-spectraldiff-10-seed4")
    own = {"scene": {"name": "custom", "cube": "a/field.mat"}, "split": {"kind": "b/mine.npz"}}
    assert default_folder(RunSettings.from_dict(own)) == Path("runs/field-spectraldiff-mine-seed0")


def test_settings_hold_only_plain_data() -> None:
    text = yaml.safe_dump(RunSettings().to_dict())
    assert "!!" not in text
