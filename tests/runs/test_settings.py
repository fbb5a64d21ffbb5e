from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs import (
    RunSettings,
    default_folder,
    merge,
    parse_yaml,
    preset_for,
    read_yaml,
)
from hsi_diffusion.runs.settings import SpaceSettings

CONFIGS = sorted((Path(__file__).parents[2] / "experiments" / "configs").glob("*/*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_presets_are_valid_for_every_scene(file: Path) -> None:
    preset = read_yaml(file)
    for scene in (*preset.get("scenes", {}), "custom"):
        for split in ("0.1", "10"):
            settings = RunSettings.from_dict(preset_for(preset, scene=scene, split=split))
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
        ({"pretrain": {"gradient_clip": -1}}, r"pretrain\.gradient_clip must be at least 0"),
        ({"classifier": {"gradient_clip": -0.5}}, r"classifier\.gradient_clip must be at least 0"),
        ({"logger": "mlflow"}, "logger must be one of csv, wandb, none"),
        ({"pretrain": {"module": [1]}}, r"pretrain\.module must be a mapping"),
    ],
)
def test_wrong_settings_are_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RunSettings.from_dict(data)


@pytest.mark.parametrize(
    ("scene", "split", "steps", "padding"),
    [
        ("salinas", "0.1", 2, "zeros"),
        ("custom", "blocks", 1, "zeros"),
        ("custom", "10", 1, "reflect"),
        ("salinas", "10", 2, "reflect"),
    ],
)
def test_sections_change_only_their_scene_and_few_labels(
    scene: str, split: str, steps: int, padding: str
) -> None:
    preset = {
        "pretrain": {"steps": 1, "padding": "zeros"},
        "scenes": {"salinas": {"pretrain": {"steps": 2}}},
        "few_shot": {"pretrain": {"padding": "reflect"}},
    }
    found = preset_for(preset, scene=scene, split=split)
    assert found == {"pretrain": {"steps": steps, "padding": padding}}


def test_merge_replaces_what_is_no_mapping() -> None:
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


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "cube.npy").write_bytes(b"\x93NUMPY")
    for path in (tmp_path / "cube.npy", tmp_path):
        with pytest.raises(ConfigurationError, match=r"can't be read .* the config\.yaml of a run"):
            read_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2E+4", -20000.0),
        ("1.0e-3", 0.001),
        ("10", 10),
        ("[5e1, 2]", [50.0, 2]),
        ("{a: 1e-3}", {"a": 0.001}),
        ("e3", "e3"),
        ("3d", "3d"),
        ("'1e-3'", "1e-3"),
        ("", None),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, value: object) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_inputs_are_all_that_a_run_reads() -> None:
    own = {"name": "custom", "cube": "a/cube.mat:reflectance", "labels": "b.npy"}
    masks = {"kind": "fixed", "train_mask": "c.tif", "test_mask": "d.mat:TE"}
    settings = RunSettings.from_dict(
        {"scene": own, "split": masks, "pretrain": {"checkpoint": "e.ckpt"}}
    )
    assert set(map(str, settings.inputs())) == {"a/cube.mat", "b.npy", "c.tif", "d.mat", "e.ckpt"}
    known = {"scene": {"name": "salinas", "root": "data"}, "split": {"kind": "split.npz"}}
    assert set(map(str, RunSettings.from_dict(known).inputs())) == {"data", "split.npz"}
    assert RunSettings().inputs() == []


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
