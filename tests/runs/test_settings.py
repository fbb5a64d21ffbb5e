"""What decides a run, and what of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.recipes import read_yaml
from hsi_diffusion.run_command import run_settings
from hsi_diffusion.runs import RunSettings, default_folder


def test_yaml_round_trip(tmp_path: Path) -> None:
    settings = RunSettings.from_dict(
        {
            "seed": 7,
            "split": 0.1,
            "scene": "salinas",
            "features": {"timesteps": [5, 10], "levels": [0]},
            "pretrain": {"learning_rate": 0.001, "gradient_clip": 1},
            "raw_bands": [
                {"transform": {"class_path": "PCA", "init_args": {"components": 5}}},
                {},
            ],
        }
    )
    settings.save(tmp_path / "config.yaml")
    assert "!!" not in (tmp_path / "config.yaml").read_text(encoding="utf-8")
    plain = read_yaml(tmp_path / "config.yaml")
    again = RunSettings.from_dict(plain)
    assert again.to_dict() == plain == yaml.safe_load(settings.to_yaml())
    assert [str(space) for space in again.raw_bands] == ["pca-5", "minmax"]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"split": 10}, "10"),
        ({"split": "10"}, "10"),
        ({"split": 0.1}, "0.1"),
        ({"split": "blocks"}, "blocks"),
        ({}, "0.1"),
        ({"scene": "houston2013"}, "fixed"),
        ({"scene": "salinas"}, "0.1"),
        ({"train_mask": "a.npy", "test_mask": "b.npy"}, "fixed"),
    ],
)
def test_a_split_is_what_people_write(given: dict[str, Any], kind: str) -> None:
    settings = RunSettings.from_dict(given)
    assert settings.split_kind == kind
    assert RunSettings.from_dict(settings.to_dict()).split_kind == kind


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sead": 1}, "unknown setting sead; allowed are accelerator, axes, choice, class_names, "),
        ({"simulated": {"hight": 1}}, r"unknown setting simulated\.hight; allowed are bands, heig"),
        ({"logger": "mlflow"}, "logger must be one of csv, wandb, none, got 'mlflow'"),
        ({"scene": "salina"}, r"scene must be one of .*salinas, .*simulated, got 'salina'"),
        ({"scene": "salinas", "cube": "a.npy"}, r"give either scene \(--scene\) or cube"),
        ({"labels": "a.npy"}, r"give its cube as well \(--cube"),
        ({"scene": "custom"}, r"give its cube as well \(--cube"),
        ({"download": True}, r"name it with scene \(--scene\)"),
        ({"cube": "a.npy", "download": True}, r"belongs to a scene of the catalogue"),
        ({"split": "0.1", "train_mask": "a"}, r"leave out split=0\.1"),
        ({"devices": 0}, "devices must be at least 1, got 0"),
        ({"nodes": 0}, "nodes must be at least 1, got 0"),
        (
            {"method": "svm", "pretrain": {"denoiser": None}, "pretrained": "a.ckpt"},
            "svm learns from raw bands and has no denoiser: leave out pretrained",
        ),
    ],
)
def test_wrong_settings_are_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RunSettings.from_dict(data)


def test_inputs_are_all_that_a_run_reads() -> None:
    own = RunSettings.from_dict(
        {
            "cube": "a/cube.mat:reflectance",
            "labels": "b.npy",
            "train_mask": "c.tif",
            "test_mask": "d.mat:TE",
            "pretrained": "e.ckpt",
        }
    )
    assert set(map(str, own.inputs())) == {"a/cube.mat", "b.npy", "c.tif", "d.mat", "e.ckpt"}
    known = RunSettings(scene="salinas", split="split.npz")
    assert set(map(str, known.inputs())) == {"data", "split.npz"}
    assert RunSettings().inputs() == []


def test_default_folder_names_the_run() -> None:
    settings = RunSettings(scene="salinas", split=10, seed=4)
    assert default_folder(settings) == Path("runs/salinas-spectraldiff-10-seed4")
    own = RunSettings(cube="a/field.mat", split="b/mine.npz", method="my/recipes")
    assert default_folder(own) == Path("runs/field-recipes-mine-seed0")


def test_several_images_are_given_by_several_flags() -> None:
    flags = ["--image", "a/line1.hdr", "--image=b/line2.hdr", "--labels", "fields.gpkg"]
    settings = run_settings([*flags, "--resample", "--split", "images"])
    assert settings.cube == ("a/line1.hdr", "b/line2.hdr")
    assert settings.labels == "fields.gpkg"
    assert settings.resample
    assert set(map(str, settings.inputs())) == {"a/line1.hdr", "b/line2.hdr", "fields.gpkg"}
    assert default_folder(settings) == Path("runs/line1+1-spectraldiff-images-seed0")
    assert RunSettings.from_dict(settings.to_dict()).cube == settings.cube
