"""Minimum noise fraction against plain formulas and known noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.io
import scipy.linalg

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.patches.transforms import MNF, base, noise_covariance

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BANDS = 30


def noisy_fields(
    size: int = 60, field: int = 15, deviation: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A scene of flat fields with correlated noise, and the noise's covariance."""
    random = np.random.default_rng(0)
    corners = random.normal(size=(size // field, size // field, 3)) @ random.normal(size=(3, BANDS))
    fields = np.repeat(np.repeat(corners, field, axis=0), field, axis=1)
    mixing = (np.eye(BANDS) + 0.1 * random.normal(size=(BANDS, BANDS))) * deviation
    return 50 * fields + random.normal(size=(size, size, BANDS)) @ mixing, mixing.T @ mixing


def all_of(cube: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.ones(cube.shape[:2], dtype=bool)


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_textbook_estimate_is_half_the_covariance_of_all_differences(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube, _ = noisy_fields(20, 5)
    monkeypatch.setattr(base, "BLOCK_BYTES", rows * 20 * BANDS * 8)
    mask = np.random.default_rng(1).random((20, 20)) < 0.8
    pairs = [
        cube[other] - cube[row, column]
        for row in range(20)
        for column in range(20)
        for other in ((row + 1, column), (row, column + 1))
        if max(other) < 20 and mask[row, column] and mask[other]
    ]
    expected = np.mean([np.outer(pair, pair) for pair in pairs], axis=0) / 2
    np.testing.assert_allclose(
        noise_covariance(cube, mask, keep=1.0), expected, rtol=1e-5, atol=1e-3
    )


def test_edges_do_not_pass_for_noise() -> None:
    cube, truth = noisy_fields()
    textbook = noise_covariance(cube, all_of(cube), keep=1.0)
    robust = noise_covariance(cube, all_of(cube), keep=0.5)
    assert np.trace(textbook) > 10 * np.trace(truth)
    assert np.trace(robust) == pytest.approx(np.trace(truth), rel=0.25)
    # the size is documented to shrink; the shape has to stay, but for about 0.1 of 3,000 pairs
    robust *= np.trace(truth) / np.trace(robust)
    assert np.linalg.norm(robust - truth) < 0.2 * np.linalg.norm(truth)


def test_noise_of_many_bands_keeps_its_size() -> None:
    cube = np.random.default_rng(2).normal(0, 3, (60, 60, 150))
    variances = np.diag(noise_covariance(cube, all_of(cube), keep=0.5))
    assert variances.mean() == pytest.approx(9, rel=0.12)


def test_filled_areas_are_not_taken_for_silence() -> None:
    cube, _ = noisy_fields()
    filled = cube.copy()
    filled[30:] = 0
    expected = noise_covariance(cube[:30], all_of(cube[:30]))
    # only the pairs across the edge of the fill differ, and they are among the loudest
    np.testing.assert_allclose(
        noise_covariance(filled, all_of(cube)), expected, rtol=0.1, atol=0.05
    )


def test_components_solve_the_generalised_eigenproblem() -> None:
    cube, _ = noisy_fields()
    transform = MNF(scale="noise").fit(cube)
    noise = noise_covariance(cube, all_of(cube))
    covariance = np.cov(cube.reshape(-1, BANDS).T)
    ratios = scipy.linalg.eigh(covariance, noise, eigvals_only=True)[::-1]
    np.testing.assert_allclose(transform.ratios, ratios, rtol=1e-3)
    weights = transform.projection
    np.testing.assert_allclose(weights.T @ noise @ weights, np.eye(BANDS), atol=1e-3)
    np.testing.assert_allclose(
        weights.T @ covariance @ weights, np.diag(ratios), atol=1e-3 * ratios[0]
    )


def test_unit_scale_gives_unit_variance() -> None:
    cube, _ = noisy_fields()
    components = MNF(5).fit(cube).transform(cube).reshape(-1, 5)
    np.testing.assert_allclose(np.cov(components.T), np.eye(5), atol=1e-4)


@pytest.mark.parametrize("scale", ["unit", "noise"])
def test_inverse_of_some_components_is_the_least_squares_estimate(scale: str) -> None:
    cube, _ = noisy_fields()
    transform = MNF(3, scale=scale).fit(cube)  # type: ignore[arg-type]
    spectra = cube.reshape(-1, BANDS)
    components = transform.transform(spectra).astype(np.float64)
    centred = spectra - spectra.mean(axis=0)
    weights, *_ = np.linalg.lstsq(components, centred, rcond=None)
    expected = components @ weights + spectra.mean(axis=0)
    np.testing.assert_allclose(transform.inverse(components), expected, atol=1e-3)


def test_three_clean_mixtures_come_first() -> None:
    cube, _ = noisy_fields()
    ratios = MNF(scale="noise").fit(cube).ratios
    assert (ratios[:3] > 100).all()
    assert (ratios[3:] < 3).all()


def test_signs_do_not_depend_on_the_order_of_the_pixels() -> None:
    cube, _ = noisy_fields()
    first = MNF(3).fit(cube).projection
    mirrored = MNF(3).fit(cube[::-1, ::-1]).projection
    np.testing.assert_allclose(mirrored, first, rtol=1e-6, atol=1e-9)


def test_degenerate_bands_come_last_and_break_nothing() -> None:
    cube, _ = noisy_fields()
    plain = MNF(3).fit(cube).transform(cube)
    duplicate, constant = cube[..., :1], np.full_like(cube[..., :1], 5.0)
    silent = np.round(cube[..., 1:2] / 200)  # noise far below one step
    worse = np.concatenate([cube, duplicate, constant, duplicate * 3 + 1, silent], axis=2)
    transform = MNF().fit(worse)
    components = transform.transform(worse)
    assert np.isfinite(components).all()
    assert (transform.ratios[-3:] < 1e-3).all()
    assert np.abs(components).max() < 100
    np.testing.assert_allclose(transform.inverse(components), worse, atol=1e-2)
    few = MNF(3).fit(worse[..., :-1]).transform(worse[..., :-1])
    similar = np.corrcoef(few.reshape(-1, 3).T, plain.reshape(-1, 3).T)[:3, 3:]
    assert (np.abs(np.diag(similar)) > 0.98).all()


def test_real_scene_with_eight_bits(shared_data: Path) -> None:
    cube = scipy.io.loadmat(shared_data / "indian_pines" / "IP_200_M.mat")["data_M"]
    transform = MNF(20).fit(cube)
    components = transform.transform(cube)
    assert np.isfinite(components).all()
    np.testing.assert_allclose(components.std(axis=(0, 1)), 1, atol=1e-3)
    assert transform.ratios[0] > 50 * transform.ratios[-1] / 2
    assert transform.ratios[-1] > 1


def test_wrong_arguments_are_named() -> None:
    cube, _ = noisy_fields(20, 5)
    with pytest.raises(ConfigurationError, match="scale must be one of unit, noise"):
        MNF(scale="whiten")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="keep must be above 0 and at most 1, got 0"):
        MNF(keep=0)
    with pytest.raises(
        SceneError, match="more than 30 pairs of different neighbouring pixels, got"
    ):
        MNF().fit(cube[:2, :3])
    with pytest.raises(SceneError, match=r"got 0 \(50% of 0\)"):
        MNF().fit(cube[:9, :9], np.eye(9, dtype=bool))
