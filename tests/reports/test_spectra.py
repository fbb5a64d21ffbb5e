"""Figures of cubes by class: what is drawn, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.reports import (
    Measurement,
    class_spectra,
    compared_maps,
    embedding,
    feature_maps,
    learning_curves,
)
from hsi_diffusion.scenes import simulate_scene

SCENE = simulate_scene(24, 24, 12, 3)


def test_spectra_show_median_and_spread_of_each_class() -> None:
    figure = class_spectra(SCENE.cube, SCENE.labels, SCENE.info)
    assert [axis.get_title() for axis in figure.axes] == list(SCENE.info.class_names)
    for number, axis in enumerate(figure.axes, start=1):
        pixels = SCENE.cube[SCENE.labels == number]
        np.testing.assert_allclose(
            np.asarray(axis.lines[-1].get_ydata(), float), np.median(pixels, axis=0)
        )
        area = np.asarray(axis.collections[0].get_paths()[0].vertices)
        assert area[:, 1].max() == pytest.approx(np.percentile(pixels, 84, axis=0).max())


def test_feature_maps_show_each_cube_in_a_column() -> None:
    figure = feature_maps({"t = 5": SCENE.cube, "t = 50": SCENE.cube}, channels=2)
    assert [axis.get_title() for axis in figure.axes[::2]] == [
        "t = 5, channel 0",
        "t = 5, channel 1",
    ]
    with pytest.raises(ConfigurationError, match="channels=13"):
        feature_maps({"t = 5": SCENE.cube}, channels=13)


def test_embedding_keeps_clearly_separate_classes_apart() -> None:
    cube = SCENE.labels[..., None] * 100.0 + SCENE.cube[..., :2] / SCENE.cube.max()
    figure = embedding({"cube": cube}, SCENE.labels, SCENE.info, pixels=90)
    (axis,) = figure.axes
    points = np.asarray(axis.collections[0].get_offsets())
    colours = np.asarray(axis.collections[0].get_facecolor())
    kinds = np.unique(colours, axis=0, return_inverse=True)[1].ravel()
    distances = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(len(points))
    assert (kinds[distances.argmin(axis=1)] == kinds).mean() > 0.95


def test_learning_curves_go_over_the_labels_per_class() -> None:
    runs = [
        Measurement("svm", f"salinas, {labels}", seed, {"overall_accuracy": 0.5 + labels / 100})
        for labels in (20, 5)
        for seed in (0, 1)
    ]
    figure = learning_curves(runs)
    line = figure.axes[0].lines[0]
    assert np.asarray(line.get_xdata()).tolist() == [5, 20]
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), [55, 70])
    with pytest.raises(ConfigurationError, match="got 'blocks'"):
        learning_curves([Measurement("svm", "blocks", 0, {"overall_accuracy": 0.5})])


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(SceneError, match="cover the cube"):
        class_spectra(SCENE.cube, SCENE.labels[:5], SCENE.info)


def test_compared_maps_count_who_is_right() -> None:
    truth = np.array([[1, 2], [3, 1]])
    method, control = np.array([[1, 2], [1, 2]]), np.array([[1, 1], [3, 2]])
    figure = compared_maps(
        method,
        control,
        truth,
        SCENE.info,
        test=np.arange(4),
        confidence=np.ones((2, 2)),
    )
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text for text in shown if "test pixels" in text] == [
        "both right (1 test pixels)",
        "only the method (1 test pixels)",
        "only the control (1 test pixels)",
        "both wrong (1 test pixels)",
    ]
