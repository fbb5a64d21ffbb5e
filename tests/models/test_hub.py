"""Models on the Hugging Face Hub: from the cache of its own offline mode, and with a card."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion import SceneClassifier
from hsi_diffusion.errors import CheckpointError, ConfigurationError, MissingDependencyError
from hsi_diffusion.models.hub import model_card
from tests.models.tiny import scene, split

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache in an empty folder, without a network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_a_model_of_the_cache_maps_what_the_saved_one_maps(offline: Path) -> None:
    model = SceneClassifier.from_recipe("knn").fit(scene(), split())
    cached = offline / "models--group--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    model.save(cached / "snapshots" / COMMIT)
    found = SceneClassifier.from_pretrained("group/tiny")
    np.testing.assert_array_equal(found.predict(scene(1)).classes, model.predict(scene(1)).classes)


def test_what_is_not_there_is_said(offline: Path) -> None:
    with pytest.raises(CheckpointError, match=r"group/none is no folder here, .*HF_HUB_OFFLINE"):
        SceneClassifier.from_pretrained("group/none")
    model = SceneClassifier.from_recipe("knn").fit(scene(), split())
    with pytest.raises(ConfigurationError, match=r"did not take group/tiny"):
        model.push_to_hub("group/tiny")
    with pytest.raises(ConfigurationError, match="name must be USER/NAME"):
        model.push_to_hub("tiny")


def test_without_the_package_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "hsi-diffusion\[hub\]"'):
        SceneClassifier.from_pretrained("group/tiny")


def test_the_card_tells_split_figures_control_and_terms(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{method: diffgraph, preset: cpu, split: '10', seed: 3}")
    found = {
        "overall_accuracy": 0.8647,
        "raw_bands": {"overall_accuracy": 0.8653, "kappa": None},
        "pixels": {"train": 128, "val": 32, "test": 10089},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(found))
    card = model_card("indian_pines", ("Alfalfa", "Oats"), tmp_path, "cc-by-4.0")
    assert card.startswith("---\nlibrary_name: hsi-diffusion\nlicense: cc-by-4.0\n")
    assert "split `10`, seed 3: 160 labelled pixels, 10,089 test pixels" in card
    assert "| this model | 86.47 | - | - |" in card
    assert "| the same classifier on raw bands | 86.53 | - | - |" in card
    assert "doi:10.4231/R7RX991C" in card
    with pytest.raises(ConfigurationError, match="run must be the folder of a finished run"):
        model_card("tiny", ("a",), tmp_path / "none", "other")
