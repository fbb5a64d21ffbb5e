"""Simulated scenes are repeatable, valid at every size, and hard in the ways real ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.scenes.simulated import simulate_scene
from hsi_diffusion.scenes.simulated.layout import (
    CLASSES,
    OTHERS,
    class_sizes,
    make_layout,
    smooth_noise,
)
from hsi_diffusion.scenes.simulated.spectra import haze, light, materials, noise_level, traits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.scenes.scene import Scene

DARK_LEVEL = 1000.0


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene()


def accuracy(features: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Overall accuracy of an SVM on single pixels, 10 % of each class for training."""
    rng = np.random.default_rng(0)
    x, y = features.reshape(-1, features.shape[-1]), labels.ravel()
    train = np.concatenate(
        [
            rng.permutation(np.flatnonzero(y == k))[: max(2, round(0.1 * np.sum(y == k)))]
            for k in range(1, y.max() + 1)
        ]
    )
    test = np.setdiff1d(np.flatnonzero(y), train)
    model = make_pipeline(StandardScaler(), SVC(C=100)).fit(x[train], y[train])
    return float(model.score(x[test], y[test]))


def test_default_scene_has_the_shape_and_facts_of_a_scene(scene: Scene) -> None:
    assert scene.cube.shape == (145, 145, 200)
    assert scene.cube.dtype == np.uint16
    assert scene.labels.dtype == np.int64
    assert scene.info.num_classes == 16
    assert scene.info.wavelengths is not None
    assert scene.info.wavelengths[0] == 400
    assert scene.info.wavelengths[-1] == 2500
    red, green, blue = (scene.info.wavelengths[band] for band in scene.info.rgb_bands)
    assert 600 < red < 700
    assert 500 < green < 600
    assert 430 < blue < 500
    assert len(set(scene.info.palette)) == 16


def test_classes_are_unbalanced_and_half_of_the_scene_is_unlabelled(scene: Scene) -> None:
    counts = np.bincount(scene.labels.ravel(), minlength=17)[1:]
    assert counts.min() >= 15
    assert np.sum(counts <= 60) >= 2
    assert counts.max() > 1500
    assert 0.4 < np.mean(scene.labels > 0) < 0.6


def test_same_seed_same_scene_and_another_seed_another_scene() -> None:
    first, again = (simulate_scene(24, 40, 12, 5, seed=3) for _ in range(2))
    other = simulate_scene(24, 40, 12, 5, seed=4)
    np.testing.assert_array_equal(first.cube, again.cube)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)
    assert not np.array_equal(first.cube, other.cube)


@pytest.mark.parametrize("num_classes", [2, 3, 9, 16, 30])
@pytest.mark.parametrize("size", [(16, 16), (16, 61), (70, 20), (64, 64)])
def test_every_size_has_every_class(size: tuple[int, int], num_classes: int) -> None:
    for seed in range(3):
        scene = simulate_scene(*size, 4, num_classes, seed=seed)
        counts = np.bincount(scene.labels.ravel(), minlength=num_classes + 1)
        assert counts.size == num_classes + 1
        assert counts.min() >= 4
        assert scene.cube.shape == (*size, 4)
        assert scene.cube.min() > 0


@pytest.mark.parametrize("bands", [4, 5, 103, 500])
def test_any_number_of_bands(bands: int) -> None:
    scene = simulate_scene(16, 16, bands, 2)
    assert scene.bands == bands
    assert all(np.ptp(scene.cube[..., band]) > 0 for band in range(bands))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_labelled_share_is_about_met(share: float) -> None:
    labels = simulate_scene(100, 110, 4, 6, labelled_share=share).labels
    assert np.mean(labels > 0) == pytest.approx(share, rel=0.15)


def test_pure_pixels_of_a_class_are_equal_without_variability() -> None:
    pure = simulate_scene(48, 48, 20, 6, variability=0, noise=0, point_spread=0)
    means = []
    for label in range(1, 7):
        pixels = pure.cube[pure.labels == label]
        np.testing.assert_array_equal(pixels, np.broadcast_to(pixels[0], pixels.shape))
        means.append(pixels[0])
    assert len(np.unique(means, axis=0)) == 6


def test_border_pixels_are_mixtures_of_their_neighbours() -> None:
    options: dict[str, Any] = {"variability": 0, "noise": 0, "seed": 5}
    pure = simulate_scene(48, 60, 16, 6, point_spread=0, **options).cube.astype(float)
    mixed = simulate_scene(48, 60, 16, 6, point_spread=0.7, **options).cube.astype(float)
    low = ndimage.minimum_filter(pure, (7, 7, 1), mode="nearest")
    high = ndimage.maximum_filter(pure, (7, 7, 1), mode="nearest")
    # digital numbers are whole, so one of rounding on either side
    assert np.all((mixed >= low - 1) & (mixed <= high + 1))
    border = high - low > 200
    between = (mixed > low + 20) & (mixed < high - 20)
    assert between[border].mean() > 0.3
    # the closed form: the model is linear, so blurring the ground is blurring the image
    expected = ndimage.gaussian_filter(pure, 0.7, axes=(0, 1), mode="nearest")
    np.testing.assert_allclose(mixed, expected, atol=1.5)


def test_noise_is_white_in_space_and_differs_from_band_to_band() -> None:
    noisy = simulate_scene(64, 64, 60, 3, seed=2).cube.astype(float)
    clean = simulate_scene(64, 64, 60, 3, seed=2, noise=0).cube.astype(float)
    noise = noisy - clean
    sigma = noise.std(axis=(0, 1))
    assert sigma.max() > 3 * np.median(sigma) > 6 * sigma.min() > 0
    assert np.all(np.abs(noise.mean(axis=(0, 1))) < 5 * sigma / 64)
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean(axis=(0, 1)) / sigma**2
    assert np.abs(neighbours).max() < 0.1


def test_noise_setting_scales_the_noise() -> None:
    clean, once, twice = (
        simulate_scene(32, 32, 10, 2, noise=noise).cube.astype(float) for noise in (0, 1, 2)
    )
    np.testing.assert_allclose((twice - clean).std(), 2 * (once - clean).std(), rtol=0.01)


def test_water_bands_of_the_air_are_dark(scene: Scene) -> None:
    wavelengths = np.array(scene.info.wavelengths)
    signal = scene.cube.mean(axis=(0, 1)) - DARK_LEVEL
    for water in (1395, 1880):
        assert signal[np.abs(wavelengths - water).argmin()] < 0.05 * signal.max()


def test_variation_within_a_class_is_smooth_over_bands() -> None:
    scene = simulate_scene(64, 64, 100, 4, noise=0, point_spread=0)
    pixels = scene.cube[scene.labels == 1].astype(float)
    change = pixels - pixels.mean(axis=0)
    scale = change.std(axis=0)
    steps = np.diff(change / np.maximum(scale, 1), axis=1).std(axis=0)
    assert np.median(steps) < 0.25
    assert scale.max() > 30


def test_light_changes_slowly_over_the_scene() -> None:
    scene = simulate_scene(64, 64, 4, 2, noise=0, point_spread=0)
    flat = simulate_scene(64, 64, 4, 2, noise=0, point_spread=0, variability=0)
    assert not np.array_equal(scene.cube, flat.cube)
    slow = smooth_noise((300, 300), 20, np.random.default_rng(0))[..., 0]
    assert slow.std() == pytest.approx(1, abs=0.25)
    assert np.abs(np.diff(slow, axis=0)).max() < 0.25


def test_single_pixels_are_hard_and_neighbours_help(scene: Scene) -> None:
    cube = scene.cube.astype(np.float64)
    single = accuracy(cube, scene.labels)
    smoothed = accuracy(ndimage.uniform_filter(cube, (5, 5, 1)), scene.labels)
    assert 0.70 < single < 0.90
    assert smoothed > 0.93


def test_labels_lie_inside_fields_of_their_class() -> None:
    field_map, field_cover, labels = make_layout(60, 60, 8, 0.5, np.random.default_rng(0))
    assert field_map.max() < len(field_cover)
    assert field_cover.max() < 8 + len(OTHERS)
    cover = field_cover[field_map]
    labelled = labels > 0
    np.testing.assert_array_equal(labels[labelled], cover[labelled] + 1)
    # most of a labelled pixel's neighbours belong to its own field: rims are unlabelled
    same = ndimage.minimum_filter(field_map, 3) == ndimage.maximum_filter(field_map, 3)
    assert same[labelled].mean() > 0.8


def test_class_sizes_share_out_everything() -> None:
    counts = class_sizes(10_000, 16, np.random.default_rng(1))
    assert abs(int(counts.sum()) - 10_000) <= 16
    assert counts.min() >= 20
    assert counts.max() / counts.min() > 40


def test_materials_and_traits_are_physical() -> None:
    wavelengths = np.linspace(400, 2500, 300)
    pure = materials(wavelengths)
    reflectance = np.stack(list(pure.values()))
    assert {change.shape for change in traits(wavelengths).values()} == {(300,)}
    assert 0 < reflectance.min() < reflectance.max() < 1
    red, infrared = (pure["crop"][np.abs(wavelengths - centre).argmin()] for centre in (670, 860))
    assert infrared > 5 * red
    assert 0 <= light(wavelengths).min() < light(wavelengths).max() <= 1
    assert np.all(np.diff(haze(wavelengths)) < 0)
    assert np.all(noise_level(wavelengths, np.random.default_rng(0)) > 0)


def test_covers_use_known_materials_and_traits() -> None:
    covers = (*CLASSES, *OTHERS)
    assert len({cover.name for cover in covers}) == len(covers)
    assert [cover.kind for cover in OTHERS] == ["other"] * 5 + ["road", "stream"]
    pure, changes = (part(np.array([550.0])) for part in (materials, traits))
    for cover in covers:
        assert list(cover.content) == [*pure, *changes]
        assert sum(cover.content[name] for name in pure) == pytest.approx(1)


def test_another_image_shows_other_land_by_the_same_sensor() -> None:
    options: dict[str, Any] = {"seed": 3, "variability": 0, "point_spread": 0}
    first, other = (simulate_scene(64, 70, 40, 6, image=image, **options) for image in (0, 1))
    assert other.info == first.info
    assert (other.labels != first.labels).mean() > 0.5
    clean = [simulate_scene(64, 70, 40, 6, image=i, noise=0, **options).cube for i in (0, 1)]
    for label in range(1, 7):
        pixel, same = clean[0][first.labels == label][0], clean[1][other.labels == label][0]
        np.testing.assert_array_equal(pixel, same)
    noise = [s.cube - c.astype(float) for s, c in zip((first, other), clean, strict=True)]
    sigma, other_sigma = (values.std(axis=(0, 1)) for values in noise)
    np.testing.assert_allclose(other_sigma, sigma, rtol=0.1)
    assert np.abs((noise[0] * noise[1]).mean(axis=(0, 1)) / sigma**2).max() < 0.1


def test_brightness_scales_what_is_above_the_dark_level() -> None:
    full, dim = (
        simulate_scene(32, 32, 30, 3, noise=0, brightness=brightness).cube - DARK_LEVEL
        for brightness in (1.0, 0.8)
    )
    np.testing.assert_allclose(dim, 0.8 * full, atol=1)


def test_classes_of_one_image_are_found_in_another() -> None:
    first = simulate_scene(100, 100, 60, 6)
    other = simulate_scene(100, 100, 60, 6, image=1)
    train, test = first.labels > 0, other.labels > 0
    model = make_pipeline(StandardScaler(), SVC(C=10)).fit(first.cube[train], first.labels[train])
    assert model.score(other.cube[test], other.labels[test]) > 0.6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 15}, "height must be a whole number of at least 16, got 15"),
        ({"width": 20.5}, "width must be a whole number"),
        ({"bands": 3}, "bands must be a whole number of at least 4, got 3"),
        ({"num_classes": 1}, "num_classes must be a whole number from 2 to 30, got 1"),
        ({"num_classes": 31}, "from 2 to 30, got 31"),
        ({"labelled_share": 0.7}, "labelled_share must be a number from 0 to 0.65, got 0.7"),
        ({"noise": -1.0}, "noise must be a number from 0 to 100, got -1.0"),
        ({"variability": float("nan")}, "variability must be"),
        ({"image": -1}, "image must be a whole number of at least 0, got -1"),
        ({"brightness": 0}, "brightness must be a number from 0.01 to 4, got 0"),
        (
            {"height": 16, "width": 16, "num_classes": 30, "labelled_share": 0.3},
            "at least 4 pixels per class, 120 for num_classes=30, got 77",
        ),
    ],
)
def test_impossible_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        simulate_scene(**arguments)
