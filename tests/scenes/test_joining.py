"""Several images as one scene, and bands of one sensor as another measures them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad

from hsi_diffusion import SceneClassifier, load_custom_scene, simulate_scene
from hsi_diffusion.errors import SceneError, SplitError
from hsi_diffusion.modules import CustomSceneDataModule
from hsi_diffusion.patches import scene_split
from hsi_diffusion.patches.fields import field_map
from hsi_diffusion.scenes import Raster, join_scenes, resample_bands

if TYPE_CHECKING:
    from pathlib import Path

    from hsi_diffusion.scenes import Scene


def lines() -> list[Scene]:
    return [
        replace(one, info=replace(one.info, name=name))
        for name, one in (
            ("first", simulate_scene(20, 30, 8, 3)),
            ("second", simulate_scene(24, 26, 8, 3, image=1)),
        )
    ]


def test_each_image_lies_in_the_joined_scene() -> None:
    first, second = lines()
    scene = join_scenes([first, second], gap=10)
    assert scene.name == "first+second"
    assert scene.labels.shape == (54, 30)
    assert scene.images is not None
    for one in (first, second):
        where = scene.images[one.name]
        assert_array_equal(scene.cube[where], one.cube)
        assert_array_equal(scene.labels[where], one.labels)
    assert scene.valid is not None
    assert scene.valid.sum() == first.labels.size + second.labels.size
    # what patches see beyond a border is their own image, mirrored
    assert_array_equal(scene.cube[20:25], first.cube[18:13:-1])
    assert_array_equal(scene.cube[25:30, :26], second.cube[5:0:-1])
    assert join_scenes([first]) is first


def test_classes_are_joined_by_their_names() -> None:
    values = np.arange(32.0).reshape(4, 4, 2)
    labels = np.repeat([[1], [1], [2], [3]], 4, axis=1)
    first = load_custom_scene(values, labels, name="a", class_names=["maize", "soil", "water"])
    second = load_custom_scene(
        values, np.where(labels == 3, 7, labels), name="b", class_names=["soil", "wheat", "Class 7"]
    )
    scene = join_scenes([first, second], gap=2)
    assert scene.info.class_names == ("maize", "soil", "water", "wheat", "Class 7")
    assert scene.info.class_ids == (1, 2, 3, 4, 7)
    assert scene.images is not None
    assert scene.labels[scene.images["b"]][:, 0].tolist() == [2, 2, 4, 5]


def test_names_that_differ_in_case_are_told() -> None:
    values, labels = np.arange(32.0).reshape(4, 4, 2), np.repeat([[1], [1], [2], [2]], 4, axis=1)
    images = [
        load_custom_scene(values, labels, class_names=names)
        for names in (["maize", "soil"], ["Maize", "soil"])
    ]
    with pytest.warns(UserWarning, match="joined: 'Maize' and 'maize' are 2 classes"):
        assert join_scenes(images, gap=2).info.class_names == ("maize", "soil", "Maize")


def test_a_split_by_images_tests_another_image() -> None:
    scene = join_scenes(lines())
    assert scene.images is not None
    numbers = np.arange(scene.labels.size).reshape(scene.labels.shape)
    split = scene_split(scene, "images", patch_size=9)
    assert split is not None
    assert np.isin(split.test, numbers[scene.images["second"]]).all()
    assert np.isin(split.labelled, numbers[scene.images["first"]]).all()
    assert len(split.test) == (scene.labels[scene.images["second"]] > 0).sum()
    assert split.leakage(9) == 0
    fields = field_map(scene.labels).ravel()  # whole fields validate
    assert len(split.val)
    assert not np.isin(fields[split.val], fields[split.train]).any()
    other = scene_split(scene, "images:first", patch_size=9)
    assert other is not None
    assert_array_equal(other.test, split.labelled)
    with pytest.raises(SplitError, match="third of first, second"):
        scene_split(scene, "images:third", patch_size=9)
    with pytest.raises(SplitError, match="got first, second of first, second: give several"):
        scene_split(scene, "images:first,second", patch_size=9)
    with pytest.raises(SplitError, match="a single image"):
        scene_split(lines()[0], "images", patch_size=9)


def test_a_model_learns_several_images() -> None:
    scene = join_scenes(lines())
    split = scene_split(scene, "images", patch_size=1)
    assert split is not None
    model = SceneClassifier.from_recipe("knn", "quick").fit(scene, split)
    found = model.predict(scene).classes
    assert_array_equal(found > 0, scene.valid)
    assert (found == scene.labels).ravel()[split.test].mean() > 0.4


def test_files_are_joined(tmp_path: Path) -> None:
    files: list[str] = []
    labels: list[str] = []
    for one in lines():
        for kind, values, names in (("", one.cube, files), ("-gt", one.labels, labels)):
            names.append(str(tmp_path / f"{one.name}{kind}.npy"))
            np.save(names[-1], values)
    data = CustomSceneDataModule(files, labels, split="images", patch_size=5)
    data.setup()
    assert data.num_classes == 3
    assert data.valid is not None
    assert len(data.predict_dataloader().dataset) == data.valid.sum()  # type: ignore[arg-type]
    with pytest.raises(SceneError, match="one for each of 2, got 3"):
        load_custom_scene(files, [*labels, labels[0]])
    np.save(files[1], np.random.default_rng(0).normal(size=(24, 26, 9)))
    with pytest.raises(SceneError, match="'first' has 8 and 'second' 9"):
        load_custom_scene(files, labels)


def test_a_resampled_band_is_the_integral_under_its_response() -> None:
    waves, wanted, width = np.arange(400.0, 800, 5), 562.0, 40.0
    spectrum = 0.3 + 0.1 * np.sin(waves / 30) + (waves > 700) * 0.2
    cube = np.tile(spectrum, (2, 3, 1))
    image = Raster.of(cube, wavelengths=tuple(waves), fwhm=(5.0,) * len(waves))
    values, valid = resample_bands(image, [wanted], [width]).read()
    assert valid.all()
    sigma = np.sqrt(width**2 - 5.0**2) / 2.354820045

    def weight(wave: float) -> float:
        return float(np.exp(-0.5 * ((wave - wanted) / sigma) ** 2))

    def weighted(wave: float) -> float:
        return weight(wave) * float(np.interp(wave, waves, spectrum))

    above, below = (
        quad(function, 400, 795, points=waves.tolist(), limit=500)[0]
        for function in (weighted, weight)
    )
    assert_allclose(values, above / below, rtol=1e-6)


def test_bands_on_their_own_grid_stay_as_they_are() -> None:
    cube = np.random.default_rng(0).integers(0, 9000, (3, 4, 5)).astype(np.uint16)
    waves = (450.0, 470.0, 465.0, 500.0, 560.0)  # two spectrometers that overlap
    image = Raster.of(cube, wavelengths=waves)
    assert_allclose(resample_bands(image, waves).read()[0], cube, rtol=1e-6)
    with pytest.raises(SceneError, match="between 450 and 560 nm"):
        resample_bands(image, [449.0])
    with pytest.raises(SceneError, match="no wavelengths"):
        resample_bands(Raster.of(cube), waves)
