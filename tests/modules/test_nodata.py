"""Pixels without data have no part in anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from hsi_diffusion import SceneClassifier, load_custom_scene, make_split, simulate_scene
from hsi_diffusion.denoisers import UNet2D
from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.features import FeatureSettings, Reduction, compute_features
from hsi_diffusion.graphs import Graph, neighbour_mean
from hsi_diffusion.modules import (
    ClassificationMap,
    CustomSceneDataModule,
    FeatureClassifierModule,
    LoadedSceneDataModule,
)
from hsi_diffusion.patches import MNF, PCA, MinMax, StreamingPCA, scene_split

if TYPE_CHECKING:
    from hsi_diffusion.scenes import Scene

CLEAN = simulate_scene(24, 24, 12, 3)
FRAME = 4


def framed() -> Scene:
    """The clean scene inside a frame of nodata."""
    cube = np.pad(
        CLEAN.cube.astype(np.int32), ((FRAME, FRAME), (FRAME, FRAME), (0, 0)), constant_values=-9999
    )
    return load_custom_scene(cube, np.pad(CLEAN.labels, FRAME), nodata=-9999)


@pytest.mark.parametrize("transform", [MinMax(), PCA(4), MNF(4)])
def test_statistics_and_patches_are_those_of_the_clean_scene(transform: MinMax) -> None:
    settings: dict[str, Any] = {
        "task": "pretrain",
        "patch_size": 6,
        "holdout": 0.0,
        "eval_batch_size": 1000,
    }
    options: dict[str, Any] = {"components": 4} if transform.components else {}
    clean = LoadedSceneDataModule(CLEAN, transform=transform, **settings)
    data = LoadedSceneDataModule(framed(), transform=type(transform)(**options), **settings)
    for module in (clean, data):
        module.setup()
    # straight borders, so what stands in for nodata is the mirror image that patches see there
    expected = next(iter(clean.predict_dataloader()))["image"]
    assert_allclose(next(iter(data.predict_dataloader()))["image"], expected, atol=2e-3)
    assert len(data.train_dataloader().dataset) == CLEAN.labels.size  # type: ignore[arg-type]


def test_the_map_is_nodata_there() -> None:
    scene = framed()
    split = make_split(scene.labels, "5", patch_size=1, seed=0)
    inside = (slice(FRAME, -FRAME),) * 2
    found = SceneClassifier.from_recipe("knn", "quick").fit(scene, split).prediction
    assert found is not None
    assert found.classes[inside].all()
    assert found.classes.sum() == found.classes[inside].sum()
    assert_array_equal(found.ids > 0, scene.valid)


def test_unlabelled_images_are_mapped() -> None:
    data = CustomSceneDataModule(framed().cube, patch_size=3, task="classify")
    module = FeatureClassifierModule(12, 3, 3, classifier="CNN2D")
    drawn = ClassificationMap()
    L.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[drawn],
        enable_model_summary=False, accelerator="cpu",
    ).predict(module, data)  # fmt: skip
    assert 1 <= drawn.predicted.min() <= drawn.predicted.max() <= 3
    again = data.with_features(torch.zeros(32, 32, 2))
    assert again.split is None
    assert len(again.predict_dataloader().dataset) == 32 * 32  # type: ignore[arg-type]


def test_polygons_stay_whole() -> None:
    polygons = (np.arange(24) // 4 + 1)[:, None] * np.ones(24, dtype=np.int64)
    labels = (polygons - 1) % 3 + 1
    scene = replace(CLEAN, labels=labels, polygons=polygons)
    split = scene_split(scene, "polygons", patch_size=3)
    assert split is not None
    tested = set(polygons.ravel()[split.test].tolist())
    assert tested
    assert not tested & set(polygons.ravel()[split.labelled].tolist())
    half = scene_split(scene, "polygons:0.7", patch_size=3, val_fraction=0)
    assert half is not None
    assert half.settings["train_fraction"] == 0.7
    single = replace(scene, labels=np.where(polygons == 6, 1, labels))
    with pytest.warns(UserWarning, match="class 3: a single polygon; in no part"):
        scene_split(single, "polygons", patch_size=3)


def test_graphs_and_reductions_are_those_of_the_clean_scene() -> None:
    scene, inside = framed(), np.pad(np.ones((24, 24), dtype=bool), FRAME)
    cube = scene.cube.astype(np.float32)
    clean = cube[FRAME:-FRAME, FRAME:-FRAME].copy()
    expected = Graph().fit(clean).weights.toarray()
    weights = Graph().fit(cube, valid=scene.valid).weights.toarray()
    assert_allclose(weights[np.ix_(inside.ravel(), inside.ravel())], expected, atol=1e-6)
    assert not weights[~inside.ravel()].any()
    found = neighbour_mean(cube, 5, valid=scene.valid)
    assert_allclose(found[inside].reshape(clean.shape), neighbour_mean(clean, 5), rtol=1e-5)

    random = torch.Generator().manual_seed(0)
    denoiser = UNet2D(12, channels=4, multipliers=[1, 2])
    for values in denoiser.parameters():
        torch.nn.init.normal_(values, std=0.1, generator=random)
    schedule, asked = NoiseSchedule(), FeatureSettings(timesteps=(100,), levels=(1,), noise="none")
    raw = compute_features(denoiser, schedule, cube, asked).array[inside][None]
    one = compute_features(
        denoiser, schedule, cube, asked, reduction=Reduction(3), valid=scene.valid
    )
    alone = StreamingPCA(3, "minmax").partial_fit(raw[0]).finish()
    assert_allclose(one.array[inside], alone.transform(raw[0]), atol=1e-5)
