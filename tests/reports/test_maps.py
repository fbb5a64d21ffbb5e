"""Maps show the right colour at the right pixel, and can be read."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion.errors import SceneError
from hsi_diffusion.reports.images import false_colour_image, label_image
from hsi_diffusion.reports.maps import (
    SPLIT_COLOURS,
    classification_map,
    false_colour,
    split_map,
)
from hsi_diffusion.scenes import Georeference, simulate_scene
from tests.reports.layout import check_layout, shown_texts

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from hsi_diffusion.scenes import Scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 36, 60, 16)


def image_of(figure: Figure, panel: int = 0) -> NDArray[np.float64]:
    return np.asarray(figure.axes[panel].images[0].get_array())


def test_classification_map_shows_truth_and_prediction(scene: Scene) -> None:
    prediction = np.maximum(scene.labels, 1)
    figure = classification_map(prediction, scene.info, truth=scene.labels, title="Ours")
    assert [axis.get_title() for axis in figure.axes] == ["Ground truth", "Ours"]
    np.testing.assert_array_equal(image_of(figure), label_image(scene.labels, scene.info))
    np.testing.assert_array_equal(image_of(figure, 1), label_image(prediction, scene.info))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*scene.info.class_names, "unlabelled"]
    colours = [patch.get_facecolor() for patch in figure.legends[0].get_patches()]
    np.testing.assert_allclose(
        np.array(colours)[:-1, :3] * 255, np.array(scene.info.palette), atol=1e-6
    )
    check_layout(figure)


def test_classification_map_alone_has_no_unlabelled_entry(scene: Scene) -> None:
    figure = classification_map(np.maximum(scene.labels, 1), scene.info)
    assert len(figure.axes) == 1
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == list(scene.info.class_names)


def test_pixels_without_data_are_no_unlabelled_pixels(scene: Scene) -> None:
    prediction = np.maximum(scene.labels, 1)
    prediction[:3] = 0
    truth = np.where(prediction > 0, scene.labels, 0)
    figure = classification_map(prediction, scene.info, truth=truth)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[-2:] == ["unlabelled", "no data"]
    for panel in (0, 1):
        assert (image_of(figure, panel)[:3] == 255).all()
    black = (image_of(figure)[3:] == 0).all(axis=2)
    np.testing.assert_array_equal(black, scene.labels[3:] == 0)


def test_truth_of_another_size_is_refused(scene: Scene) -> None:
    with pytest.raises(SceneError, match=r"truth must have the shape .*\(40, 36\), got \(36, 40\)"):
        classification_map(scene.labels, scene.info, truth=scene.labels.T)


@pytest.mark.parametrize("size", [(96, 80), (80, 96), (64, 64), (40, 80)])
@pytest.mark.parametrize("beside", [False, True])
def test_a_bar_and_an_arrow_push_nothing_off_the_page(size: tuple[int, int], beside: bool) -> None:
    scene = simulate_scene(*size, 20, 5)
    place = Georeference("EPSG:32633", (2.0, 0.0, 0.0, 0.0, -2.0, 0.0))
    truth = scene.labels if beside else None
    check_layout(
        classification_map(scene.labels, scene.info, truth=truth, metres=2.0, georeference=place)
    )


@pytest.mark.parametrize(
    ("metres", "text"),
    [(10.0, "100 m"), (math.nextafter(10, 0), "50 m"), (99.0, "500 m"), (200.0, "2 km")],
)
def test_a_bar_takes_a_quarter_of_the_width_at_most(scene: Scene, metres: float, text: str) -> None:
    figure = classification_map(np.ones((30, 40), np.int64), scene.info, metres=metres)
    assert figure.axes[0].texts[0].get_text() == text


def test_pixels_without_data_are_white_and_stretch_nothing(scene: Scene) -> None:
    valid = np.ones(scene.labels.shape, np.bool_)
    valid[:, :6] = False
    cube = np.where(valid[..., None], scene.cube, 1e6)
    image = image_of(false_colour(cube, scene.info, valid))
    assert (image[~valid] == 255).all()
    kept = dataclasses.replace(scene.info, width=30)
    np.testing.assert_array_equal(image[:, 6:], false_colour_image(scene.cube[:, 6:], kept))


def test_false_colour_names_the_wavelengths(scene: Scene) -> None:
    figure = false_colour(scene.cube, scene.info)
    np.testing.assert_array_equal(image_of(figure), false_colour_image(scene.cube, scene.info))
    assert scene.info.wavelengths is not None
    red = f"{scene.info.wavelengths[scene.info.rgb_bands[0]]:.0f}"
    assert f"(RGB: {red}, " in figure.axes[0].get_title()
    assert figure.axes[0].get_title().endswith("nm)")
    check_layout(figure)


def test_false_colour_of_components_or_unknown_wavelengths(scene: Scene) -> None:
    components = false_colour(scene.cube[..., :5], scene.info)
    assert components.axes[0].get_title().endswith("(RGB: channels 0, 1, 2)")
    unknown = dataclasses.replace(scene.info, wavelengths=None)
    bands = ", ".join(map(str, scene.info.rgb_bands))
    assert f"channels {bands}" in false_colour(scene.cube, unknown).axes[0].get_title()


def test_split_map_paints_every_part(scene: Scene) -> None:
    labelled = np.flatnonzero(scene.labels)
    train, val, test = labelled[:50], labelled[50:60], labelled[60:-40]
    unlabelled = np.flatnonzero(scene.labels.ravel() == 0)
    valid = np.ones(scene.labels.shape, np.bool_)
    valid.ravel()[unlabelled[:7]] = False
    figure = split_map(scene.labels, train, val, test, valid)
    image = image_of(figure).reshape(-1, 3)
    expected = {
        "train": train,
        "val": val,
        "test": test,
        "labelled, not used": labelled[-40:],
        "unlabelled": unlabelled[7:],
        "no data": unlabelled[:7],
    }
    assert set(expected) == set(SPLIT_COLOURS)
    for name, pixels in expected.items():
        np.testing.assert_allclose(image[pixels], np.tile(SPLIT_COLOURS[name], (pixels.size, 1)))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [f"{name} ({pixels.size:,})" for name, pixels in expected.items()]
    check_layout(figure)


def test_split_map_leaves_out_what_is_not_there(scene: Scene) -> None:
    labelled = np.flatnonzero(scene.labels)
    figure = split_map(scene.labels, labelled, [], [])
    shown = " ".join(text.get_text() for text in shown_texts(figure))
    assert "train" in shown
    assert "val" not in shown
    assert "not used" not in shown


def test_pixels_outside_are_refused(scene: Scene) -> None:
    with pytest.raises(SceneError, match="test must hold pixel numbers from 0 to 1439"):
        split_map(scene.labels, [0], [1], [1440])


def test_colours_of_a_split_differ_in_lightness() -> None:
    lightness = sorted(
        0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
        for red, green, blue in SPLIT_COLOURS.values()
    )
    assert np.diff(lightness).min() > 0.03
