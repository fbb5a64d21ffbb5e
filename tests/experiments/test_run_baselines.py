"""Baselines, from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
)

from hsi_diffusion import Split, simulate_scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("method", "space"),
    [
        ("svm", "minmax"),
        ("mnf_blur_svm", "mnf-8, blur 2"),
        ("mini_gcn", "minmax, 5 neighbours"),
        ("cnn1d", "minmax"),
        ("label_propagation", "mnf-8"),
    ],
)
def test_a_baseline_is_run_like_a_method(
    main: Callable[[list[str]], int], tmp_path: Path, method: str, space: str
) -> None:
    spaces = {
        "mnf_blur_svm": "[{transform: mnf, components: 8, blur: 2}]",
        "mini_gcn": "[{transform: minmax, neighbours: 5}]",
        "label_propagation": "[{transform: mnf, components: 8}]",
    }
    arguments = ["--method", method, "--no-progress", "--logger", "none", "--out", str(tmp_path)]
    small = "scene={name: simulated, height: 40, width: 36, bands: 24, num_classes: 4}"
    raw = f"raw_bands.spaces={spaces.get(method, '[{transform: minmax}]')}"
    steps = "classifier.steps=150"
    settings = [f"--set={text}" for text in (small, raw, steps)]
    assert main([*arguments, *settings, "--split", "0.2"]) == 0
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["space"] == space
    assert "raw_bands" not in found
    data = simulate_scene(40, 36, 24, 4)
    split = Split.load(tmp_path / "split.npz")
    mapped = np.load(tmp_path / "classification_map.npy", allow_pickle=False).ravel()[split.test]
    truth = data.labels.ravel()[split.test]
    assert found["overall_accuracy"] == pytest.approx(accuracy_score(truth, mapped))
    assert found["overall_accuracy"] > 0.6
    assert not (tmp_path / "features").exists()
    report = (tmp_path / "report.md").read_text()
    assert "classification_map.png" in report
    assert "unseen land is classified" not in report  # the split is a random one
    # how far a pixel is mixed with others counts: 2 pixels of blur reach 8 to each side
    reach = {"svm": 1, "mnf_blur_svm": 17, "cnn1d": 1}.get(method)
    leakage = None if reach is None else pytest.approx(split.leakage(reach))
    assert found["leakage"] == leakage


def test_a_baseline_has_no_use_for_a_denoiser(
    main: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--pretrained=any.ckpt", "--set=pretrain.steps=5"):
        assert main(["--method", "svm", option, "--out", str(tmp_path / "out")]) == 2
        assert "svm learns from raw bands: leave out --pretrained" in capsys.readouterr().err
