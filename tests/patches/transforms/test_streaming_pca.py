"""Streaming principal components against scikit-learn, which sees all rows at once."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from hsi_diffusion.errors import CheckpointError, ConfigurationError, NotFittedError
from hsi_diffusion.features import Reduction
from hsi_diffusion.patches import StreamingPCA
from hsi_diffusion.patches.transforms import streaming_pca

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.patches import ChannelScale

SCALERS = {"minmax": MinMaxScaler, "standard": StandardScaler}


def rows(count: int = 500, channels: int = 30, *, offset: float = 0) -> NDArray[np.float32]:
    """Correlated channels of very different sizes."""
    rng = np.random.default_rng(1)
    mixed = rng.standard_normal((count, channels)) @ rng.standard_normal((channels, channels))
    data = mixed * np.geomspace(0.01, 10, channels) + offset
    return data.astype(np.float32)


def fitted(data: NDArray[Any], *args: Any, pieces: int = 7, **kwargs: Any) -> StreamingPCA:
    pca = StreamingPCA(*args, **kwargs)
    for block in np.array_split(data, pieces):
        pca.partial_fit(block)
    return pca.finish()


@pytest.mark.parametrize("scale", ["minmax", "standard", "none"])
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("offset", [0, 1000])
def test_agrees_with_scikit_learn(scale: ChannelScale, whiten: bool, offset: float) -> None:
    data = rows(offset=offset)
    scaled = data.astype(np.float64)
    if scale != "none":
        scaled = SCALERS[scale]().fit_transform(scaled)
        # scikit-learn divides by n where everything else here divides by n - 1
        scaled *= np.sqrt((len(data) - 1) / len(data)) if scale == "standard" else 1
    reference = PCA(8, whiten=whiten, svd_solver="full").fit(scaled)
    expected = reference.transform(scaled)

    pca = fitted(data, 8, scale, whiten)
    found = pca.transform(data)
    assert found.dtype == np.float32
    signs = np.sign((found * expected).sum(axis=0))
    assert np.abs(found * signs - expected).max() < 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(pca.explained_variance, reference.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(
        pca.explained_variance_ratio, reference.explained_variance_ratio_, rtol=1e-9
    )


@pytest.mark.parametrize("pieces", [1, 3, 500])
def test_blocks_don_t_matter(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows()
    expected = fitted(data, 5).transform(data)
    monkeypatch.setattr(streaming_pca, "PIECE_BYTES", 8 * 30 * 11)
    pca = fitted(data, 5, pieces=pieces)
    np.testing.assert_allclose(pca.transform(data), expected, atol=1e-6)


def test_whitened_components_have_unit_variance_and_don_t_correlate() -> None:
    data = rows()
    found = fitted(data, 6, whiten=True).transform(data)
    np.testing.assert_allclose(np.cov(found.T), np.eye(6), atol=1e-5)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)


def test_signs_are_fixed() -> None:
    data = rows()
    pca, mirrored = (fitted(part, 6, "none") for part in (data, data[::-1]))
    strongest = np.abs(pca.directions).argmax(axis=0)
    assert (pca.directions[strongest, np.arange(6)] > 0).all()
    np.testing.assert_allclose(pca.directions, mirrored.directions, atol=1e-9)


@pytest.mark.parametrize("scale", ["minmax", "standard", "none"])
def test_constant_channels_and_empty_components_give_zeros(scale: ChannelScale) -> None:
    data = rows(channels=6)
    data[:, 2] = 7
    data[:, 4] = data[:, 3]
    pca = fitted(data, 6, scale, whiten=True)
    found = pca.transform(data)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, :4].var(axis=0, ddof=1), 1, atol=1e-4)
    assert (found[:, 4:] == 0).all()
    other = pca.transform(rows(channels=6, offset=9))  # where those channels differ
    assert (other[:, 4:] == 0).all(), "rounding would be blown up"


def test_nothing_but_constants() -> None:
    pca = fitted(np.full((9, 4), 3.0), 2, whiten=True)
    assert (pca.transform(np.full((2, 4), 3.0)) == 0).all()
    assert (pca.explained_variance_ratio == 0).all()


def test_memory_depends_on_channels_and_not_on_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scatter matrix, one copy of a block, and what the solver needs; no row is kept."""
    channels, count = 300, 40_000
    monkeypatch.setattr(streaming_pca, "PIECE_BYTES", 2**20)
    rng = np.random.default_rng(0)
    block = rng.standard_normal((1000, channels)).astype(np.float32)
    matrix = 8 * channels**2
    tracemalloc.start()
    try:
        pca = StreamingPCA(50)
        for _ in range(count // len(block)):
            pca.partial_fit(block)
        pca.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * matrix + 3 * 2**20 < 0.1 * (count * channels * 8)


def test_state_survives_a_file(tmp_path: Any) -> None:
    data = rows()
    pca = fitted(data, 5, "standard", True)
    torch.save(pca.state_dict(), tmp_path / "pca.pt")
    state = torch.load(tmp_path / "pca.pt", weights_only=True)
    copy = StreamingPCA.from_state_dict(state)
    assert np.array_equal(copy.transform(data), pca.transform(data))
    assert np.array_equal(copy.explained_variance_ratio, pca.explained_variance_ratio)
    del state["mean"]
    with pytest.raises(CheckpointError, match="lacks 'mean'"):
        StreamingPCA.from_state_dict(state)
    state["mean"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"directions in state must have shape \(3, 5\)"):
        StreamingPCA.from_state_dict(state)


def test_order_of_calls_is_checked() -> None:
    pca = StreamingPCA(3)
    with pytest.raises(NotFittedError, match="call partial_fit"):
        pca.transform(rows())
    with pytest.raises(NotFittedError, match="call partial_fit"):
        pca.state_dict()
    with pytest.raises(NotFittedError, match="at least 2 rows, but partial_fit saw 0"):
        pca.finish()
    pca.partial_fit(rows(1)).partial_fit(rows(0))
    with pytest.raises(NotFittedError, match="saw 1"):
        pca.finish()
    pca.partial_fit(rows(5)).finish()
    with pytest.raises(ConfigurationError, match="block comes after finish"):
        pca.partial_fit(rows())


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.zeros((4, 5)), r"block must be \(rows, 6\)"),
        (np.zeros((4, 2)), "at least as many channels as components=3"),
        (np.zeros(6), r"got shape \(6,\)"),
        (np.full((2, 6), np.nan), "block must be finite"),
        (np.full((2, 6), np.inf), "block must be finite"),
    ],
)
def test_refuses_blocks_that_don_t_fit(block: NDArray[Any], message: str) -> None:
    pca = StreamingPCA(3).partial_fit(rows(9, 6))
    with pytest.raises(ConfigurationError, match=message):
        pca.partial_fit(block)


@pytest.mark.parametrize("kind", [StreamingPCA, Reduction])
def test_refuses_settings(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="components must be at least 1, got 0"):
        kind(0)
    with pytest.raises(ConfigurationError, match="scale must be one of minmax, standard, none"):
        kind(3, "range")
