"""What a run reads, and what it says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion import simulate_scene
from hsi_diffusion.runs import RunSettings, read_split
from hsi_diffusion.scenes import load_custom_scene

if TYPE_CHECKING:
    from pathlib import Path


def test_classes_that_no_pixel_teaches_are_named(tmp_path: Path) -> None:
    first, second = (simulate_scene(24, 24, 20, 3, image=image) for image in (0, 1))
    files = [str(tmp_path / name) for name in ("a.npy", "b.npy")]
    for file, scene in zip(files, (first, second), strict=True):
        np.save(file, scene.cube)
    learned = np.where(first.labels == 3, 0, first.labels)
    scene = load_custom_scene(files, [learned, second.labels])
    settings = RunSettings.from_dict({"cube": files, "labels": files, "split": "images"})
    with pytest.warns(UserWarning, match=r"no pixel of Class 3 is learned, so that all"):
        split = read_split(settings, scene)
    assert 3 not in scene.labels.ravel()[split.labelled]
