"""A map measured by ground truth of its image, against scikit-learn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score

from hsi_diffusion import simulate_scene
from hsi_diffusion.errors import SceneError
from hsi_diffusion.models import map_image, map_windows
from tests.models.tiny import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.models.conftest import Saved

IMAGE = simulate_scene(70, 90, 20, 3, name="tiny", image=1, brightness=0.8)
KIND = next(kind for kind, plain in KINDS.items() if "spreading" not in plain)


@pytest.fixture
def measured(
    fitted: Callable[[str], Saved], tmp_path: Path
) -> Callable[..., tuple[dict[str, Any], list[str], NDArray[Any]]]:
    """Maps the image by labels; what was found and told, and the map."""
    np.save(tmp_path / "image.npy", IMAGE.cube)

    def run(labels: Any, **options: Any) -> tuple[dict[str, Any], list[str], NDArray[Any]]:
        out, said = tmp_path / "map.npy", list[str]()
        np.save(tmp_path / "labels.npy", labels)
        map_image(
            fitted(KIND).folder, tmp_path / "image.npy", [out],
            labels=tmp_path / "labels.npy", say=said.append, **options,
        )  # fmt: skip
        found = json.loads((tmp_path / "map-accuracy.json").read_text(encoding="utf-8"))
        return found, said, np.load(out, allow_pickle=False)

    return run


def test_a_map_is_measured_as_scikit_learn_does(
    measured: Callable[..., tuple[dict[str, Any], list[str], NDArray[Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(map_windows, "SIDE", 64)  # four windows
    found, said, predicted = measured(IMAGE.labels)
    labelled = IMAGE.labels > 0
    truth, called = IMAGE.labels[labelled], predicted[labelled]
    assert found["pixels"] == len(truth)
    assert found["overall_accuracy"] == pytest.approx(accuracy_score(truth, called))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(truth, called))
    assert found["per_class_f1"] == pytest.approx(f1_score(truth, called, average=None))
    assert found["confusion_matrix"] == confusion_matrix(truth, called).tolist()
    assert f"overall accuracy {100 * found['overall_accuracy']:.2f}" in said[-1]


def test_classes_that_the_model_does_not_know(
    measured: Callable[..., tuple[dict[str, Any], list[str], NDArray[Any]]],
) -> None:
    labels = np.where(IMAGE.labels == 2, 9, IMAGE.labels)
    with pytest.warns(UserWarning, match=r"labelled pixels are of classes .* \(9\), and are left"):
        found, _, _ = measured(labels)
    assert found["pixels"] == np.isin(labels, (1, 3)).sum()
    assert found["per_class_accuracy"][1] is None
    with pytest.raises(SceneError, match=r"none of the classes of the labels \(9\) is one of the"):
        measured(np.full_like(labels, 9))
