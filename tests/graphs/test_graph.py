from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hsi_diffusion.errors import ConfigurationError, NotFittedError
from hsi_diffusion.graphs import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray


def scene(height: int = 7, width: int = 6, channels: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(height, width, channels)).astype(np.float32)


@pytest.mark.parametrize(
    ("spatial", "width", "alpha"), [(0.0, 1.0, 0.8), (2.0, 1.0, 0.99), (2.0, 1.7, 0.1)]
)
def test_agrees_with_plain_loops_and_the_closed_form(
    spatial: float, width: float, alpha: float
) -> None:
    cube = scene()
    labels = np.random.default_rng(1).integers(1, 4, (7, 6))
    train = np.array([0, 5, 17, 22, 30])
    model = Graph(3, spatial=spatial, width=width).fit(cube)
    found = model.spread_labels(labels, train, 3, alpha=alpha)

    rows = cube.reshape(-1, 3).astype(float)
    pixels = len(rows)
    distance = np.array([[np.linalg.norm(a - b) for b in rows] for a in rows])
    nearest = [
        sorted((j for j in range(pixels) if j != i), key=lambda j: distance[i, j])[:3]
        for i in range(pixels)
    ]
    scale = np.sort([distance[i, nearest[i][-1]] for i in range(pixels)])[(pixels - 1) // 2]
    scale *= width
    nearest_weight, around = np.zeros((2, pixels, pixels))
    for i in range(pixels):
        for j in range(pixels):
            similarity = np.exp(-((distance[i, j] / scale) ** 2))
            nearest_weight[i, j] = (j in nearest[i]) * similarity
            touching = i != j and max(abs(i // 6 - j // 6), abs(i % 6 - j % 6)) == 1
            around[i, j] = touching * spatial * similarity
    weight = np.maximum(nearest_weight, nearest_weight.T) + around
    root = np.diag(weight.sum(axis=1) ** -0.5)
    np.testing.assert_allclose(model.weights.toarray(), root @ weight @ root, atol=1e-6)
    assert model.shape == (7, 6)
    start = np.zeros((pixels, 3))
    start[train, labels.ravel()[train] - 1] = 1
    start /= start.sum(axis=0)
    scores = np.linalg.solve(np.eye(pixels) - alpha * root @ weight @ root, start)
    expected = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.reshape(-1, 3), expected, atol=1e-5)


def test_does_not_depend_on_how_the_scene_lies() -> None:
    cube, train = scene(), np.array([1, 8, 40])
    labels = np.random.default_rng(1).integers(1, 4, (7, 6))
    found = Graph().fit(cube).spread_labels(labels, train, 3)
    marked = np.zeros(42, dtype=bool)
    marked[train] = True
    turned = np.flatnonzero(np.rot90(marked.reshape(7, 6)).ravel())
    model = Graph().fit(np.rot90(cube).copy())
    again = model.spread_labels(np.rot90(labels), turned, 3)
    np.testing.assert_allclose(again, np.rot90(found), atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graphics_card_finds_and_spreads_the_same() -> None:
    cube, train = scene(30, 40), np.array([1, 8, 40])
    labels = np.random.default_rng(1).integers(1, 4, (30, 40))
    here, there = (
        Graph().fit(cube, device=device).spread_labels(labels, train, 3)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there, here, atol=1e-4)


def test_one_label_per_field_is_enough() -> None:
    truth = np.kron([[1, 2], [3, 1]], np.ones((10, 10), dtype=int))
    cube = np.eye(3)[truth - 1] + np.random.default_rng(0).normal(scale=0.2, size=(20, 20, 3))
    train = np.array([0, 19, 399 - 19])  # the second field of class 1 has no label of its own
    found = Graph().fit(cube).spread_labels(truth, train, 3)
    assert (found.argmax(axis=2) + 1 == truth).mean() > 0.97
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-6)


def test_looks_at_no_label_but_those_of_training_pixels() -> None:
    cube, train = scene(), np.array([1, 8, 40])
    labels = np.random.default_rng(1).integers(1, 4, (7, 6))
    hidden = np.zeros_like(labels)
    hidden.ravel()[train] = labels.ravel()[train]
    model = Graph().fit(cube)
    np.testing.assert_array_equal(
        model.spread_labels(labels, train, 3), model.spread_labels(hidden, train, 3)
    )


def test_where_no_label_arrives_all_classes_are_alike() -> None:
    cube = np.zeros((2, 8, 1), dtype=np.float32)
    cube[:, 4:] = 1e6
    found = Graph(neighbours=2).fit(cube).spread_labels(np.ones((2, 8), int), np.array([0]), 4)
    np.testing.assert_allclose(found[:, 4:], 0.25)
    assert (found[:, :4].argmax(axis=2) == 0).all()


def test_equal_pixels_are_no_trouble() -> None:
    labels = np.ones((4, 4), dtype=int)
    found = Graph().fit(np.ones((4, 4, 2))).spread_labels(labels, np.array([3]), 2)
    assert np.isfinite(found).all()


def test_wrong_use_is_named() -> None:
    for settings, message in (
        ({"neighbours": 0}, "neighbours must be at least 1"),
        ({"width": 0.0}, "width must be above 0"),
        ({"spatial": -1.0}, "spatial must be at least 0"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            Graph(**settings)
    with pytest.raises(NotFittedError, match="fit"):
        Graph().spread_labels(np.ones((2, 2), int), np.array([0]), 2)
    graph = Graph().fit(scene())
    with pytest.raises(ConfigurationError, match="shape of the scene"):
        graph.spread_labels(np.ones((2, 2), int), np.array([0]), 2)
    with pytest.raises(ConfigurationError, match=r"alpha must be above 0 and below 1, got 1\.0"):
        graph.spread_labels(np.ones((7, 6), int), np.array([0]), 2, alpha=1.0)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([0, 3], "from 1 to num_classes=3, but pixel 3 has 0"),
        ([4, 0], "from 1 to num_classes=3, but pixel 4 has -1"),
        ([5], "from 1 to num_classes=3, but pixel 5 has 4"),
        ([0, -1], "from 0 to 41, got -1"),
        ([42, 0], "from 0 to 41, got 42"),
    ],
)
def test_training_pixels_without_a_class_or_outside_are_told(
    train: list[int], message: str
) -> None:
    """Unlabelled ones would count as the last class."""
    labels = np.ones((7, 6), dtype=int)
    labels[0, 3:6] = 0, -1, 4
    model = Graph().fit(scene())
    with pytest.raises(ConfigurationError, match=message):
        model.spread_labels(labels, np.array(train), 3)


def test_without_training_pixels_all_classes_are_alike() -> None:
    found = Graph().fit(scene()).spread_labels(np.zeros((7, 6), int), np.empty(0, int), 4)
    np.testing.assert_allclose(found, 0.25)


def test_pixels_that_no_label_reaches_are_told() -> None:
    """A strip of 200 pixels, each like its neighbours, with labels at its ends."""
    columns = np.arange(200.0)
    cube = np.stack([columns, 0 * columns], axis=1)[None].repeat(2, axis=0)
    labels = np.zeros((2, 200), dtype=np.int64)
    labels[0, 0], labels[0, -1] = 1, 2
    train = np.flatnonzero(labels)
    graph = Graph(4, spatial=1).fit(cube)
    with pytest.warns(UserWarning, match=r"did not reach \d+% of the pixels.*alpha=0\.5 they go"):
        found = graph.spread_labels(labels, train, 2, alpha=0.5)
    assert (found[0, 100] == 0.5).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = graph.spread_labels(labels, train, 2, alpha=0.999)
    assert found[0, 60].argmax() == 0
    assert found[0, 140].argmax() == 1
