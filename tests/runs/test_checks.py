"""A run finds what is wrong before it computes or writes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError, SceneError, SplitError
from hsi_diffusion.runs import RunSettings, merge, run, scene_data
from hsi_diffusion.runs.building import build_pretraining, feature_request
from hsi_diffusion.runs.candidates import feature_candidates
from hsi_diffusion.runs.pipeline import check

if TYPE_CHECKING:
    from pathlib import Path

SMALL: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": "none",
    "scene": {"height": 40, "width": 36, "bands": 16, "num_classes": 4},
    "pretrain": {"patch_size": 8, "module": {"denoiser_options": {"base_channels": 2}}},
    "features": {"timesteps": [50], "levels": [1], "components": 8},
    "classifier": {"patch_size": 5},
}


def start(folder: Path, changes: dict[str, Any]) -> list[str]:
    """Run; the lines that it says."""
    said: list[str] = []
    run(RunSettings.from_dict(merge(SMALL, changes)), folder, progress=False, say=said.append)
    return said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"timesteps": [700]}}, "features: t must be from 0 to 499"),
        ({"features": {"levels": [9]}}, r"features: .*0 \(up0\).* \[9\] was given"),
        ({"features": {"components": 999}}, "features: components must be at most"),
        ({"features": {"tile": 0}}, "features: tile must be at least 1"),
        ({"pretrain": {"patch_size": 100}}, "pretrain: .*smaller patch_size"),
        ({"pretrain": {"module": {"steps": 3}}}, r"unknown setting pretrain\.module\.steps"),
        (
            {"pretrain": {"module": {"learning_rate": "fast"}}},
            "learning_rate must be of type float",
        ),
        ({"pretrain": {"module": {"timesteps": 1.5}}}, "timesteps must be of type int, got 1.5"),
        (
            {"pretrain": {"module": {"denoiser_options": {"base_channels": "many"}}}},
            r"denoiser_options\.base_channels must be of type int, got 'many'",
        ),
        ({"classifier": {"patch_size": 0}}, "classifier: patch_size must be at least 1"),
        ({"classifier": {"batch_size": 0}}, "classifier: batch_size must be at least 1"),
        ({"classifier": {"module": {"warmup": 2}}}, "warmup must be a share"),
        (
            {"classifier": {"module": {"dropout": 2}}},
            r"unknown setting classifier\.module\.dropout",
        ),
        (
            {"classifier": {"propagation": {"neighbors": 3}}},
            r"unknown setting classifier\.propagation\.neighbors; allowed are .*neighbours",
        ),
        (
            {"classifier": {"propagation": {"own_shares": [0.5, 2.0]}}},
            r"classifier\.propagation: own_shares must be .* from 0 to 1, got \[0\.5, 2\.0\]",
        ),
        (
            {"classifier": {"propagation": {"own_shares": []}}},
            r"own_shares must be one or more",
        ),
        (
            {"classifier": {"propagation": {"alpha": 2.0}}},
            r"classifier\.propagation: alpha must lie",
        ),
        (
            {"classifier": {"propagation": {}}},
            r"classifier\.propagation\.space: components must be at most the number",
        ),
        ({"raw_bands": {"spaces": [{"transform": "foo"}]}}, r"raw_bands\.spaces: transform must"),
        (
            {"raw_bands": {"spaces": [{"transform": "pca", "components": 99}]}},
            r"raw_bands\.spaces: components must be at most the number of bands, 16, got 99",
        ),
        ({"accelerator": "abacus"}, r"accelerator='abacus' .* can't be used here.*auto"),
    ],
)
def test_settings_of_late_stages_are_checked_first(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        start(tmp_path / "run", changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("components", [0, 8])
@pytest.mark.parametrize("combine", ["none", "timesteps", "all"])
def test_the_classifier_is_checked_for_the_cube_that_it_will_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, combine: str, components: int
) -> None:
    changes = {
        "features": {"timesteps": [5, 50], "combine": combine, "components": components},
        "raw_bands": {"spaces": []},
    }
    settings = RunSettings.from_dict(merge(SMALL, changes))
    checked: set[tuple[int, int]] = set()

    def note(channels: int, *_: object, timesteps: int, **__: object) -> None:
        checked.add((channels, timesteps))

    monkeypatch.setattr("hsi_diffusion.runs.checks.build_classification", note)
    check(settings, tmp_path)
    data = scene_data(settings)
    module = build_pretraining(data, settings.require_pretrain(), settings.seed)
    found = set()
    for candidate in feature_candidates(settings.features):
        request, reduction = feature_request(settings, candidate, torch.device("cpu"))
        cube = module.extract_features(data.cube, request, reduction=reduction)
        found.add((cube.array.shape[2], cube.timesteps))
    assert checked == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": {"kind": "1"}, "features": {"levels": [0, 1]}}, "don't fill 3 folds"),
        (
            {
                "split": {"val_fraction": 0},
                "choice": {"folds": 1},
                "raw_bands": {"spaces": [{}, {}]},
            },
            "no validation pixels",
        ),
    ],
)
def test_a_choice_needs_validation_pixels(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        start(tmp_path / "run", changes)
    assert not (tmp_path / "run").exists()


def custom(folder: Path, labels: np.ndarray[Any, Any]) -> dict[str, Any]:
    cube = np.random.default_rng(0).normal(size=(*labels.shape, 8))
    np.save(folder / "cube.npy", cube)
    np.save(folder / "labels.npy", labels)
    paths = {"cube": str(folder / "cube.npy"), "labels": str(folder / "labels.npy")}
    return {"scene": {"name": "custom", **paths}}


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    changes = custom(tmp_path, np.eye(30, dtype=np.uint8))
    with pytest.raises(SceneError, match=r"a single class.*0 means unlabelled"):
        start(tmp_path / "run", changes)
    assert not (tmp_path / "run").exists()


def test_something_must_be_left_to_test(tmp_path: Path) -> None:
    changes = custom(tmp_path, np.diag([1, 2, *[0] * 28]))  # two classes with one pixel each
    with pytest.raises(SplitError, match="no test pixels"):
        start(tmp_path / "run", changes)


def test_wandb_without_a_login_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        import wandb  # noqa: PLC0415

        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("wandb.login", refuse)
    with pytest.raises(ConfigurationError, match=r"No API key.*WANDB_MODE=offline.*--logger csv"):
        start(tmp_path / "run", {"logger": "wandb"})
    assert not (tmp_path / "run").exists()


def test_a_failure_before_anything_is_computed_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        assert (tmp_path / "run" / "config.yaml").is_file()
        raise HsiDiffusionError("no")

    monkeypatch.setattr("hsi_diffusion.runs.pipeline.pretrain", fail)
    with pytest.raises(HsiDiffusionError):
        start(tmp_path / "run", {})
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::UserWarning:lightning")
def test_a_checkpoint_of_another_scene_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise HsiDiffusionError("after the pretraining")

    monkeypatch.setattr("hsi_diffusion.runs.pipeline.extract", stop)
    with pytest.raises(HsiDiffusionError, match="after the pretraining"):
        start(tmp_path / "first", {"pretrain": {"steps": 1, "batch_size": 2}})
    # what was computed stays
    checkpoint = tmp_path / "first" / "checkpoints" / "pretrain.ckpt"
    other = custom(tmp_path, np.kron([[1, 2]], np.ones((30, 15), dtype=int)))
    changes = merge(other, {"pretrain": {"checkpoint": str(checkpoint)}})
    with pytest.raises(ConfigurationError, match=r"fitted on 16 bands, but .*'custom' has 8"):
        start(tmp_path / "again", changes)
    np.save(tmp_path / "cube.npy", np.random.default_rng(0).normal(size=(30, 30, 16)))
    with (
        pytest.warns(UserWarning, match=r"trained on another scene: 1440 pixels .*simulated"),
        pytest.raises(HsiDiffusionError, match="after the pretraining"),
    ):
        start(tmp_path / "again", changes)
    assert not (tmp_path / "again").exists()
