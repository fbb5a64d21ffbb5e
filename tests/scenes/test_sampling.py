"""Windows of a large image as a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion import load_custom_scene, simulate_scene
from hsi_diffusion.errors import SceneError
from hsi_diffusion.patches import field_map, in_labelled_fields, scene_split
from hsi_diffusion.scenes import Raster, join_scenes
from hsi_diffusion.scenes.windows import draw_windows

if TYPE_CHECKING:
    from pathlib import Path


def test_labelled_pixels_keep_their_neighbourhoods() -> None:
    image = simulate_scene(90, 80, 6, 3)
    labels = np.zeros_like(image.labels)
    labels[:40:9, :35:7] = image.labels[:40:9, :35:7]
    settings = {"pixels": 6000, "side": 16, "margin": 4}
    cube, _, (drawn,), _ = draw_windows(Raster.of(image.cube), [labels], **settings)
    assert cube.shape[0] * cube.shape[1] <= 8000
    places = {image.cube[spot].tobytes(): spot for spot in np.ndindex(image.cube.shape[:2])}
    found = list(zip(*np.nonzero(drawn), strict=True))
    assert len(found) > 5
    for row, column in found:
        there = places[cube[row, column].tobytes()]
        assert drawn[row, column] == labels[there]
        for step in (-4, 4):  # inside the margin, as far as the image goes
            if 0 <= there[0] + step < 90:
                around = cube[row + step, column]
                assert np.array_equal(around, image.cube[there[0] + step, there[1]])
    again, *_ = draw_windows(Raster.of(image.cube), [labels], **settings)
    assert np.array_equal(again, cube)


def test_a_file_is_sampled_with_its_polygons_and_split(tmp_path: Path) -> None:
    image = simulate_scene(200, 180, 6, 3)
    np.save(tmp_path / "image.npy", image.cube)
    np.save(tmp_path / "labels.npy", image.labels)
    train, test = (np.where(np.arange(180) % 2 == part, image.labels, 0) for part in (0, 1))
    files = str(tmp_path / "image.npy"), str(tmp_path / "labels.npy")
    scene = load_custom_scene(*files, sample=10_000)
    assert scene.labels.size <= 10_000
    assert scene.labels.max() == 3
    assert scene.valid is not None
    masks = load_custom_scene(files[0], train_labels=train, test_labels=test, sample=10_000)
    assert masks.fixed_train is not None
    assert masks.fixed_test is not None
    np.testing.assert_array_equal(masks.fixed_train | masks.fixed_test, scene.labels > 0)
    np.testing.assert_array_equal(masks.cube, scene.cube)
    joined = load_custom_scene([files[0], files[0]], [files[1], files[1]], sample=20_000)
    assert joined.images is not None
    np.testing.assert_array_equal(joined.cube[joined.images["image-2"]], scene.cube)
    with pytest.raises(SceneError, match="at least 1, got 0"):
        load_custom_scene(*files, sample=0)


def test_windows_of_one_field_are_on_one_side_of_a_split(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).normal(size=(256, 320, 4))
    # a field of each class crosses all windows of the middle, others lie in one
    labels = np.zeros(cube.shape[:2], dtype=np.int64)
    labels[70:90], labels[130:150] = 1, 2
    for column in range(10, 300, 64):
        labels[5:20, column : column + 9], labels[200:220, column : column + 9] = 1, 2
    fields, there = field_map(labels), {cube[spot].tobytes(): spot for spot in np.ndindex(256, 320)}
    np.save(tmp_path / "a.npy", cube)
    scenes = [
        load_custom_scene(tmp_path / "a.npy", labels, sample=200_000),
        load_custom_scene(Raster.of(cube), labels, sample=200_000),
    ]
    scenes.append(join_scenes([scenes[0], load_custom_scene(cube[:100], labels[:100])]))
    for scene in scenes:
        assert scene.fields is not None
        assert field_map(scene.labels).max() > scene.fields.max()
        first = 0 if scene.images is None else np.count_nonzero(labels[:100])
        found = list(zip(*np.nonzero(scene.labels), strict=True))
        assert len(found) > first
        pairs = {(scene.fields[spot], fields[there[scene.cube[spot].tobytes()]]) for spot in found}
        second = 0 if scene.images is None else field_map(labels[:100]).max()
        assert len({own for own, _ in pairs}) == len(pairs) == fields.max() + second
        for seed in range(3):
            split = scene_split(scene, "fields:0.5", seed=seed, patch_size=1)
            assert split is not None
            assert split.settings["kind"] == "fields"
            parts = [scene.fields.ravel()[part] for part in (split.train, split.val, split.test)]
            assert not np.intersect1d(parts[0], parts[2]).size
            assert not np.intersect1d(parts[1], parts[2]).size
            assert not in_labelled_fields(split, scene.labels, scene.fields).any()
        random = scene_split(scene, 5, patch_size=1)
        assert random is not None
        pieces = in_labelled_fields(random, scene.labels)
        assert in_labelled_fields(random, scene.labels, scene.fields).sum() > pieces.sum()
    by_image = scene_split(scenes[2], "images", patch_size=1)
    assert by_image is not None
    joined = scenes[2].fields
    assert joined is not None
    validated, learned = (joined.ravel()[part] for part in (by_image.val, by_image.train))
    assert not np.intersect1d(validated, learned).size
    assert load_custom_scene(cube, labels).fields is None
