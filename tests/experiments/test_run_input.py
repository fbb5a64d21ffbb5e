"""What a user may give to experiments/run.py, and what not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion import Split
from tests.experiments.tiny import TINY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def cube_file(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    np.save(tmp_path / "cube.npy", random.normal(size=(20, 18, 12)))
    labels = np.kron([[1, 5], [0, 9]], np.ones((10, 9))).astype(np.uint8)
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "turned.npy", labels.T.copy())
    np.save(tmp_path / "one.npy", labels == 5)
    np.save(tmp_path / "zero.npy", labels * 0)
    Split(np.array([0]), np.array([1]), np.array([2]), (10, 8)).save(tmp_path / "other.npz")
    np.savez(tmp_path / "two.npz", a=random.normal(size=(20, 18, 12)))
    np.save(tmp_path / "broken.npy", np.full((20, 18, 12), np.nan))
    np.save(tmp_path / "negative.npy", labels.astype(np.int16) - 1)
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    (tmp_path / "text.mat").write_text("not a cube")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cube", "DIR/missing.mat"], "missing.mat"),
        (["--cube", "DIR/text.mat", "--labels", "DIR/labels.npy"], "text.mat"),
        (["--cube", "DIR/objects.npy", "--labels", "DIR/labels.npy"], "objects.npy"),
        (["--cube", "DIR/broken.npy", "--labels", "DIR/labels.npy"], "NaN"),
        (["--cube", "DIR/cube.npy", "--labels", "DIR/turned.npy"], "transpose"),
        (["--cube", "DIR/cube.npy", "--labels", "DIR/negative.npy"], "-1"),
        (["--cube", "DIR/cube.npy"], "labels"),
        (["--labels", "DIR/labels.npy"], "--cube"),
        (["--cube", "DIR/cube.npy", "--scene", "salinas"], "--scene or --cube"),
        (["--split", "1.5"], "1.5"),
        (["--split", "DIR/none.npz"], "none.npz"),
        (["--split", "DIR/other.npz"], "of a scene of (10, 8) pixels"),
        (["--cube", "DIR/cube.npy:a", "--labels", "DIR/labels.npy"], "leave out the key 'a'"),
        (["--cube", "DIR/cube.npy", "--labels", "DIR/one.npy"], "single class"),
        (["--cube", "DIR/cube.npy", "--labels", "DIR/zero.npy"], "unlabelled"),
        (["--root", "DIR"], "--scene"),
        (["--download"], "--scene"),
        (["--set", "scene.height=[1"], "scene.height"),
        (["--set", "=3"], "KEY=VALUE"),
        (["--set", "method=foo"], "spectraldiff"),
        (["--set", "pretrain.module.learning_rate=fast"], "pretrain.module.learning_rate"),
        (["--config", "DIR/cube.npy"], "cube.npy"),
        (["--pretrained", "DIR"], "pretrain.ckpt"),
        (["--accelerator", "abacus"], "abacus"),
        (["--split", "0.1", "--train-mask", "a", "--test-mask", "b"], "--split"),
        (["--scene", "salinas", "--root", "DIR"], "salinas"),
        (["--set", "pretrain.stepz=3"], "pretrain.stepz"),
        (["--set", "nonsense"], "KEY=VALUE"),
        (["--config", "DIR/none.yaml"], "none.yaml"),
        (["--split", "fixed"], "train_mask"),
        (["--pretrained", "DIR/none.ckpt"], "none.ckpt"),
        (["--pretrained", "DIR/cube.npy"], "pretrain.ckpt"),
        (["--set", "features.timesteps=[700]"], "700"),
        (["--set", "features.levels=[9]"], "9"),
    ],
)
def test_bad_input_gets_a_clear_error(
    cube_file: Path,
    main: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    given = [argument.replace("DIR", str(cube_file)) for argument in arguments]
    before = [] if "--config" in given else TINY
    assert main([*before, *given, "--out", str(cube_file / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (cube_file / "out").exists()  # it would stand in the way of the next try


def test_own_scene_with_gaps_in_its_class_ids(
    cube_file: Path, main: Callable[[list[str]], int]
) -> None:
    files = ["--cube", str(cube_file / "cube.npy"), "--labels", str(cube_file / "labels.npy")]
    out = cube_file / "out"
    assert main([*TINY, *files, "--split", "10", "--out", str(out), "--logger", "none"]) == 0
    assert len(json.loads((out / "metrics.json").read_text())["per_class_accuracy"]) == 3
    assert not (out / "logs").exists()
