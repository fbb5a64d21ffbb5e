"""Figures of reconstructions show what they are given."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.images import colour_limits, false_colour_image
from hsi_diffusion.reports.reconstructions import (
    reconstruction_images,
    reconstruction_spectra,
)
from hsi_diffusion.scenes import SceneInfo, simulate_scene
from tests.reports.layout import check_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Cube = NDArray[np.float64]
    Case = tuple[Cube, dict[int, Cube], dict[int, Cube], SceneInfo]


@pytest.fixture
def case() -> Case:
    scene = simulate_scene(24, 30, 40, 4)
    x0 = scene.cube / 4000 - 0.5
    rng = np.random.default_rng(0)
    noised = {t: x0 + t / 300 * rng.normal(size=x0.shape) for t in (200, 10, 50)}
    restored = {t: x0 + t / 3000 * rng.normal(size=x0.shape) for t in noised}
    return x0, noised, restored, scene.info


def mean_angle(first: Cube, second: Cube) -> float:
    """Mean angle between the spectra of two cubes in degrees, by the cosine."""
    length = np.linalg.norm(first, axis=2) * np.linalg.norm(second, axis=2)
    return float(np.degrees(np.arccos((first * second).sum(axis=2) / length)).mean())


def test_images_stand_in_order_and_are_stretched_alike(case: Case) -> None:
    x0, noised, restored, info = case
    figure = reconstruction_images(x0, noised, restored, info)
    limits = colour_limits(x0, info)
    axes = np.array(figure.axes).reshape(2, 4)
    np.testing.assert_array_equal(
        axes[0, 0].images[0].get_array(), false_colour_image(x0, info, limits)
    )
    for column, t in enumerate((10, 50, 200), start=1):
        for row, cubes in enumerate((noised, restored)):
            np.testing.assert_array_equal(
                axes[row, column].images[0].get_array(),
                false_colour_image(cubes[t], info, limits),
            )
        assert f"t = {t}" in axes[0, column].get_title()
        assert f"spectral angle {mean_angle(x0, restored[t]):.1f}°" in axes[1, column].get_title()
    check_layout(figure)


@pytest.mark.parametrize("size", [(12, 40), (40, 12)])
def test_images_of_any_shape_can_be_read(size: tuple[int, int]) -> None:
    info = simulate_scene(16, 16, 4, 2).info
    x0 = np.random.default_rng(0).normal(size=(*size, 4))
    check_layout(reconstruction_images(x0, {1: x0, 2: x0}, {1: x0, 2: x0}, info))


def test_spectra_show_each_pixel_at_each_timestep(case: Case) -> None:
    x0, noised, restored, info = case
    pixels = [(3, 4), (20, 29)]
    figure = reconstruction_spectra(x0, noised, restored, pixels, info, names=["Corn", "Woods"])
    axes = np.array(figure.axes).reshape(2, 3)
    for row, pixel in enumerate(pixels):
        for column, t in enumerate((10, 50, 200)):
            lines = axes[row, column].lines
            for line, cube in zip(lines, (noised[t], restored[t], x0), strict=True):
                np.testing.assert_allclose(line.get_xdata(), info.wavelengths or ())
                np.testing.assert_allclose(line.get_ydata(), cube[pixel])
            low, high = axes[row, column].get_ylim()
            assert low < x0[pixel].min() < x0[pixel].max() < high
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["Corn", "Woods"]
    assert figure.get_supylabel() == "value in the scene's units"
    check_layout(figure)


def test_wavelengths_out_of_order_are_drawn_in_order(case: Case) -> None:
    x0, noised, restored, info = case
    assert info.wavelengths is not None
    backwards = dataclasses.replace(info, wavelengths=info.wavelengths[::-1])
    figure = reconstruction_spectra(x0, noised, restored, [(0, 0)], backwards)
    line = figure.axes[0].lines[-1]
    np.testing.assert_allclose(np.asarray(line.get_xdata()), np.array(info.wavelengths))
    np.testing.assert_allclose(np.asarray(line.get_ydata()), x0[0, 0, ::-1])


@pytest.mark.parametrize(
    ("channels", "label", "value"),
    [(5, "component", "value"), (40, "band", "value in the scene's units")],
)
def test_axes_say_what_the_channels_are(case: Case, channels: int, label: str, value: str) -> None:
    x0, noised, restored, info = case
    cut_noised, cut_restored = (
        {t: cube[..., :channels] for t, cube in cubes.items()} for cubes in (noised, restored)
    )
    unknown = dataclasses.replace(info, wavelengths=None)
    figure = reconstruction_spectra(x0[..., :channels], cut_noised, cut_restored, [(0, 0)], unknown)
    assert (figure.get_supxlabel(), figure.get_supylabel()) == (label, value)


def test_what_does_not_fit_is_named(case: Case) -> None:
    x0, noised, restored, info = case
    with pytest.raises(ConfigurationError, match="same timesteps"):
        reconstruction_images(x0, noised, {10: x0}, info)
    with pytest.raises(ConfigurationError, match=r"noised\[10\] must have the shape of x0"):
        reconstruction_images(x0, noised | {10: x0[1:]}, restored, info)
    with pytest.raises(ConfigurationError, match=r"image of 24 x 30, got \(24, 0\)"):
        reconstruction_spectra(x0, noised, restored, [(24, 0)], info)
    with pytest.raises(ConfigurationError, match="at least one"):
        reconstruction_spectra(x0, noised, restored, [], info)
