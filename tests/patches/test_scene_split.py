"""The split of a scene that a setting names, against the functions that make each kind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError, SplitError
from hsi_diffusion.patches import (
    block_split,
    fixed_split,
    fraction_split,
    kind_of,
    per_class_split,
    scene_split,
)
from hsi_diffusion.scenes import load_custom_scene, simulate_scene
from hsi_diffusion.scenes.labels import field_map

if TYPE_CHECKING:
    from pathlib import Path

    from hsi_diffusion.patches import Split
    from hsi_diffusion.scenes import Scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 36, 4, 3)


def assert_same(split: Split | None, expected: Split) -> None:
    assert split is not None
    for part in ("train", "val", "test"):
        assert np.array_equal(getattr(split, part), getattr(expected, part))
    assert split.settings == expected.settings


def test_names_and_numbers(scene: Scene, tmp_path: Path) -> None:
    labels = scene.labels
    share = fraction_split(labels, 0.2, val_fraction=0.3, seed=5)
    count = per_class_split(labels, 10, val_fraction=0.3, seed=5)
    rest: dict[str, Any] = {"patch_size": 5, "val_fraction": 0.3, "seed": 5}
    for spec in ("0.2", 0.2):
        assert_same(scene_split(scene, spec, **rest), share)
    for spec in ("10", 10, 10.0):
        assert_same(scene_split(scene, spec, **rest), count)
    for guard, distance in ((None, 2), (1, 1)):
        expected = block_split(
            labels, block_size=12, train_fraction=0.25, guard=distance, val_fraction=0.3, seed=5
        )
        assert_same(scene_split(scene, "blocks", guard=guard, **rest), expected)
    share.save(tmp_path / "split.npz")
    for stored in (share, tmp_path / "split.npz", str(tmp_path / "split.npz")):
        assert_same(scene_split(scene, stored, patch_size=5), share)


@pytest.mark.parametrize(
    ("split", "kind", "disjoint"),
    [
        ("0.2", "0.2", False),
        (0.2, "0.2", False),
        (10, "10", False),
        ("blocks", "blocks", True),
        ("fields:0.3", "fields", True),
    ],
)
def test_the_kind_is_told_by_the_name_and_by_the_split(
    scene: Scene, tmp_path: Path, split: str | float, kind: str, *, disjoint: bool
) -> None:
    made = scene_split(scene, split, patch_size=3)
    assert made is not None
    made.save(tmp_path / "split.npz")
    for named in (split, made, tmp_path / "split.npz", str(tmp_path / "split.npz")):
        assert kind_of(named) == kind
    assert made.disjoint is disjoint


def test_masks_and_what_is_published(scene: Scene, tmp_path: Path) -> None:
    train = np.arange(40 * 36).reshape(40, 36) % 2 == 0
    np.save(tmp_path / "train.npy", train)
    expected = fixed_split(scene.labels, train, ~train, seed=1)
    masks: dict[str, Any] = {"train_mask": tmp_path / "train.npy", "test_mask": ~train}
    for spec in ("fixed", None):
        assert_same(scene_split(scene, spec, **masks, patch_size=3, seed=1), expected)
    known = scene.labels > 0
    with_split = replace(
        scene,
        fixed_train=train & known,
        fixed_test=~train & known,
        info=replace(scene.info, default_split="fixed"),
    )
    for spec in ("fixed", None):
        split = scene_split(with_split, spec, patch_size=3, seed=1)
        assert split is not None
        assert np.array_equal(split.train, expected.train)
        assert np.array_equal(split.test, expected.test)


def test_without_a_setting_it_is_the_scene_s_own(scene: Scene) -> None:
    assert_same(scene_split(scene, patch_size=3), fraction_split(scene.labels, 0.1, seed=0))
    assert scene_split(load_custom_scene(scene.cube), 10, patch_size=3) is None


def test_settings_that_contradict_are_refused(scene: Scene) -> None:
    mask = scene.labels > 0
    with pytest.raises(ConfigurationError, match="go together"):
        scene_split(scene, "fixed", train_mask=mask, patch_size=3)
    with pytest.raises(ConfigurationError, match="need split='fixed', got split=10"):
        scene_split(scene, 10, train_mask=mask, test_mask=~mask, patch_size=3)
    with pytest.raises(ConfigurationError, match="got guard=2 with split=None"):
        scene_split(scene, guard=2, patch_size=3)
    with pytest.raises(ConfigurationError, match="a Scene, got ndarray; make_split takes a label"):
        scene_split(scene.labels, 10, patch_size=3)  # type: ignore[arg-type]
    half = replace(scene, fixed_train=mask)
    for without in (scene, half):
        with pytest.raises(SplitError, match="no published split built in; give train_mask"):
            scene_split(without, "fixed", patch_size=3)


def test_splits_that_are_missing_or_of_another_scene_are_refused(
    scene: Scene, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match=r"none\.npz: No such file or directory; give the split"):
        scene_split(scene, tmp_path / "none.npz", patch_size=3)
    other = fraction_split(scene.labels[:-1], 0.2, seed=0)
    with pytest.raises(SplitError, match=r"\(39, 36\)"):
        scene_split(scene, other, patch_size=3)


def test_the_share_of_polygons_is_two_fifths_or_what_is_said(scene: Scene) -> None:
    with_polygons = replace(scene, polygons=field_map(scene.labels))
    usual, same, fewer = (
        scene_split(with_polygons, spec, patch_size=3)
        for spec in ("polygons", "polygons:0.4", "polygons:0.2")
    )
    assert usual is not None
    assert same is not None
    assert fewer is not None
    assert np.array_equal(usual.labelled, same.labelled)
    assert len(fewer.labelled) < len(usual.labelled)
