from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.graphs import Graph, neighbour_mean, neighbours
from hsi_diffusion.graphs.neighbours import nearest_graph, nearest_rows, pixel_rows
from tests.usual import usual_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def scene(channels: int = 4, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=(7, 6, channels))
    return values.astype(np.float32)


def dense_matrix(cube: NDArray[np.float32], neighbours: int) -> NDArray[np.float64]:
    """The row-normalised graph by plain loops."""
    rows = cube.reshape(-1, cube.shape[2]).astype(float)
    pixels = len(rows)
    distance = np.array([[np.linalg.norm(a - b) for b in rows] for a in rows])
    nearest = [
        sorted((j for j in range(pixels) if j != i), key=lambda j: distance[i, j])[:neighbours]
        for i in range(pixels)
    ]
    scale = np.sort([distance[i, nearest[i][-1]] for i in range(pixels)])[(pixels - 1) // 2]
    matrix = np.zeros((pixels, pixels))
    for i in range(pixels):
        for j in range(pixels):
            if i == j or j in nearest[i] or i in nearest[j]:
                matrix[i, j] = np.exp(-((distance[i, j] / scale) ** 2))
    normalised: NDArray[np.float64] = matrix / matrix.sum(axis=1, keepdims=True)
    return normalised


@pytest.mark.parametrize("number", [1, 5, 10])
def test_agrees_with_plain_loops(number: int) -> None:
    cube = scene()
    expected = (dense_matrix(cube, number) @ cube.reshape(42, -1)).reshape(cube.shape)
    found = neighbour_mean(cube, number)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(neighbour_mean(torch.from_numpy(cube), number), found)


def test_agrees_with_scikit_learn_on_many_tiles() -> None:
    rows = torch.randn(2500, 6, generator=torch.Generator().manual_seed(0))
    distances, nearest = nearest_rows(rows, 7)
    reference = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(rows.numpy())
    expected, numbers = reference.kneighbors()
    np.testing.assert_allclose(distances, expected, rtol=1e-4)
    assert (nearest.numpy() == numbers).mean() > 0.999  # rounding may exchange equally near ones


def test_the_scale_and_place_of_the_cube_do_not_change_the_graph() -> None:
    cube = scene()
    np.testing.assert_allclose(
        neighbour_mean(1000 * cube + 500, 5), 1000 * neighbour_mean(cube, 5) + 500, rtol=1e-4
    )


def test_the_usual_dtype_plays_no_part() -> None:
    cube = np.random.default_rng(0).normal(size=(8, 9, 4)) + 1000
    expected = neighbour_mean(cube, 5)
    with usual_dtype(torch.bfloat16):
        np.testing.assert_array_equal(neighbour_mean(cube, 5), expected)


def test_noise_becomes_less_and_classes_stay_apart() -> None:
    truth = np.kron([[0, 1], [2, 0]], np.ones((10, 10), dtype=int))
    clean = np.eye(3, 30)[truth]
    noisy = clean + np.random.default_rng(0).normal(scale=0.1, size=clean.shape)
    before, after = (np.square(v - clean).mean() for v in (noisy, neighbour_mean(noisy)))
    assert after < before / 3


@pytest.mark.parametrize("side", [2, 9, 41])  # also fewer than neighbours, and one that is left
def test_pieces_make_no_difference(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = neighbour_mean(scene(), 5)
    monkeypatch.setattr(neighbours, "CHUNK", 8 * 42)  # one channel
    monkeypatch.setattr(neighbours, "CACHED", 4 * side**2)
    np.testing.assert_allclose(neighbour_mean(scene(), 5), expected, atol=1e-6)


def test_equal_pixels_are_no_trouble() -> None:
    cube = np.ones((4, 4, 2), dtype=np.float32)
    np.testing.assert_allclose(neighbour_mean(cube, 3), 1, rtol=1e-6)


def nearest(cube: NDArray[Any], number: int) -> NDArray[np.int64]:
    """The nearest pixels of every pixel by plain differences in float64, (H * W, number)."""
    rows = cube.reshape(-1, cube.shape[2]).astype(np.float64)
    distance = np.array([np.linalg.norm(rows - row, axis=1) for row in rows])
    np.fill_diagonal(distance, np.inf)
    return distance.argsort(axis=1)[:, :number]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("autocast", [False, True])
def test_large_values_with_small_differences_keep_their_neighbours(
    dtype: type[Any], autocast: bool
) -> None:
    """Raw counts: their squares are 10^5 times as large as the distances, in float32."""
    counts = np.random.default_rng(0).normal(5000, 3, size=(12, 20, 200)).round(2).astype(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        distance, found = nearest_rows(pixel_rows(counts, 5), 5)
    expected = nearest(counts, 5)
    rows = counts.reshape(240, 200).astype(np.float64)
    apart = np.linalg.norm(rows[:, None] - rows[expected], axis=2)
    np.testing.assert_allclose(distance.numpy(), apart, rtol=1e-5)
    if dtype is not np.int16:  # rounded counts are equally far from several others
        np.testing.assert_array_equal(found.numpy(), expected)


def test_pixels_without_data_do_not_set_the_scale() -> None:
    """Most of a scene may hold one value that stands for nothing."""
    cube = np.full((10, 10, 4), 7.3, dtype=np.float32)
    cube[6:] = np.random.default_rng(0).normal(5, 1, size=(4, 10, 4))
    distance = np.linalg.norm(
        cube[6:].reshape(-1, 1, 4) - cube.reshape(-1, 4)[nearest(cube, 3)[60:]], axis=2
    )
    joined, scale = nearest_graph(pixel_rows(cube, 3), 3)
    assert scale == pytest.approx(np.sort(distance[:, -1])[19], rel=1e-5)
    edges = joined.toarray()[60:, 60:]
    assert (edges.max(axis=1) > np.exp(-1)).mean() > 0.5


def test_whole_numbers_and_views_of_any_direction_are_taken() -> None:
    cube = np.random.default_rng(0).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    expected = neighbour_mean(cube.astype(np.float32), 3)
    np.testing.assert_array_equal(neighbour_mean(cube, 3), expected)
    backwards = cube[::-1].astype(">i4")[::-1]
    np.testing.assert_array_equal(neighbour_mean(backwards, 3), expected)


@pytest.mark.parametrize("there", [0, 1, 3])
def test_a_few_pixels_with_data_that_touch_nowhere_are_no_trouble(there: int) -> None:
    """A window at the border of an image may hold no more."""
    valid = np.zeros(scene().shape[:2], dtype=bool)
    valid[[0, 3, 5][:there], [0, 3, 0][:there]] = True
    graph = Graph(5).fit(scene(), valid=valid)
    assert graph.weights.shape == (valid.size, valid.size)
    assert (graph.weights.sum(axis=1)[~valid.ravel()] == 0).all()
    found = neighbour_mean(scene(), 5, valid=valid)
    np.testing.assert_array_equal(found[~valid], scene()[~valid])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("use", [lambda cube: neighbour_mean(cube, 5), Graph(5).fit])
def test_impossible_cubes_are_named(use: Callable[[NDArray[Any]], object]) -> None:
    with pytest.raises(ConfigurationError, match="below the number of pixels, 4, got 5"):
        use(np.ones((2, 2, 1)))
    with pytest.raises(ConfigurationError, match=r"shape \(H, W, D\), got \(20, 2\)"):
        use(np.ones((20, 2)))
    spoilt = scene()
    spoilt[2, 3, 1] = np.nan
    with pytest.raises(ConfigurationError, match="finite"):
        use(spoilt)
    with pytest.raises(ConfigurationError, match="neighbours must be at least 1, got 0"):
        neighbour_mean(scene(), 0)
    masks: list[Any] = [np.ones((3, 3), dtype=bool), np.ones(scene().shape[:2])]
    for wrong in masks:
        with pytest.raises(ConfigurationError, match="valid must hold booleans in shape"):
            neighbour_mean(scene(), 5, valid=wrong)


def many(kind: str) -> NDArray[np.float32]:
    """2,400 pixels: of few channels, of many that vary together, or in groups far apart."""
    random = np.random.default_rng(0)
    cube = random.normal(size=(40, 60, 4))
    if kind == "many channels":
        cube = np.tanh(cube @ random.normal(size=(4, 96))) + 1e-3 * random.normal(size=(40, 60, 96))
    elif kind == "groups":  # whose distances 16 bits don't hold
        cube += 2e2 * random.integers(0, 10, size=(40, 60, 1))
    elif kind == "one channel":
        cube = cube[..., :1]
    return cube.astype(np.float32)


@pytest.mark.parametrize("kind", ["few channels", "many channels", "groups", "one channel"])
def test_nearly_all_of_the_nearest_are_found_among_many(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    cube = many(kind)
    monkeypatch.setattr(neighbours, "EXACT", 100)
    monkeypatch.setattr(neighbours, "LISTED", 40)
    _, found = nearest_rows(pixel_rows(cube, 5), 5)
    _, again = nearest_rows(pixel_rows(cube, 5), 5)
    assert torch.equal(found, again)
    assert found.shape == (2400, 5)
    assert torch.get_num_threads() == 1, "as the tests set it"
    assert not (found == torch.arange(len(found))[:, None]).any()
    right = [len(set(a) & set(b)) for a, b in zip(found.tolist(), nearest(cube, 5), strict=True)]
    assert np.mean(right) / 5 >= 0.98


def test_pixels_among_many_that_are_all_equal_have_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "EXACT", 100)
    monkeypatch.setattr(neighbours, "LISTED", 40)
    distance, found = nearest_rows(pixel_rows(np.ones((20, 30, 8), np.float32), 5), 5)
    assert not distance.any()
    assert not (found == torch.arange(len(found))[:, None]).any()


def test_equal_pixels_among_many_are_at_no_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT", 100)
    monkeypatch.setattr(neighbours, "LISTED", 40)
    cube = np.random.default_rng(0).normal(size=(40, 60, 4)).astype(np.float32)
    cube[:30] = 0.5
    distance, found = nearest_rows(pixel_rows(cube, 5), 5)
    assert not (found == torch.arange(len(found))[:, None]).any()
    assert not distance[: 30 * 60].any()
    assert (distance[30 * 60 :] > 0).all()
