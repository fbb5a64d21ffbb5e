from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs import RunSettings, default_folder, read_yaml
from hsi_diffusion.runs.settings import SpaceSettings


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
        ({"pretrain": None, "raw_bands": {"spaces": []}}, r"give raw_bands\.spaces at least one"),
        (
            {"classifier": {"estimator": {"name": "label_propagation"}, "propagation": {}}},
            r"propagation=null",
        ),
    ],
)
def test_wrong_settings_are_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RunSettings.from_dict(data)


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


def test_a_baseline_has_no_pretraining_to_ask_for() -> None:
    settings = RunSettings.from_dict({"method": "svm", "pretrain": None})
    assert settings.checkpoint is None
    with pytest.raises(ConfigurationError, match="method svm has no pretraining"):
        settings.require_pretrain()


def test_a_space_is_named_by_all_that_is_done_in_it() -> None:
    assert str(SpaceSettings()) == "minmax"
    space = SpaceSettings(transform="mnf", components=20, blur=1.5, neighbours=4)
    assert str(space) == "mnf-20, blur 1.5, 4 neighbours"
