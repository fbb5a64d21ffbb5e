"""Maps side by side: the right map under the right title, and all of it can be read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.reports import label_image, map_gallery
from hsi_diffusion.scenes import scene_info, simulate_scene
from tests.reports.layout import check_layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from hsi_diffusion.scenes import Scene, SceneInfo


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulate_scene(40, 36, 60, 16)


def image_of(figure: Figure, panel: int) -> NDArray[np.uint8]:
    return np.asarray(figure.axes[panel].images[0].get_array())


def sized(info: SceneInfo, height: int, width: int) -> SceneInfo:
    return dataclasses.replace(info, height=height, width=width)


def grid(figure: Figure) -> tuple[int, int]:
    """Rows and columns of the panels, after the layout was checked and so made."""
    boxes = [axis.get_window_extent() for axis in figure.axes]
    return len({round(box.y0) for box in boxes}), len({round(box.x0) for box in boxes})


def test_truth_comes_first_then_the_maps_in_their_order(scene: Scene) -> None:
    first, second = np.maximum(scene.labels, 1), np.maximum(scene.labels, 2)
    figure = map_gallery({"kNN": first, "ours\nOA 98 %": second}, scene.info, scene.labels)
    titles = [axis.get_title() for axis in figure.axes]
    assert [title.replace("\N{NO-BREAK SPACE}", " ") for title in titles] == [
        *("Ground truth", "kNN", "ours\nOA 98 %")
    ]
    for panel, labels in enumerate((scene.labels, first, second)):
        np.testing.assert_array_equal(image_of(figure, panel), label_image(labels, scene.info))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*scene.info.class_names, "unlabelled"]
    colours = [patch.get_facecolor() for patch in figure.legends[0].get_patches()]
    np.testing.assert_allclose(
        np.array(colours)[:-1, :3] * 255, np.array(scene.info.palette), atol=1e-6
    )
    check_layout(figure)


@pytest.mark.parametrize(
    ("size", "maps", "expected"),
    [
        ((145, 145), 3, (2, 2)),
        ((145, 145), 8, (3, 3)),
        ((145, 145), 14, (3, 5)),
        ((610, 340), 3, (1, 4)),
        ((610, 340), 14, (3, 5)),
        # wider than high: below each other, then in two columns
        ((349, 1905), 3, (4, 1)),
        ((349, 1905), 8, (5, 2)),
        ((349, 1905), 14, (8, 2)),
        ((300, 30), 8, (1, 9)),
    ],
)
def test_grids_can_be_read(size: tuple[int, int], maps: int, expected: tuple[int, int]) -> None:
    info = sized(scene_info("indian_pines"), *size)
    truth = np.zeros(size, np.uint8)
    titles = [
        f"method {number} with a long name: OA {90 + number}.00 ± 0.31 %" for number in range(maps)
    ]
    figure = map_gallery(dict.fromkeys(titles, truth), info, truth)
    check_layout(figure)
    assert grid(figure) == expected
    width, height = figure.get_size_inches()
    assert width < 13.5
    assert height < 16
    for axis in figure.axes:
        box = axis.get_window_extent()
        assert box.width / box.height == pytest.approx(size[1] / size[0], rel=0.02)
        assert box.width * box.height > 0.35 * (width * height * 100**2) / (
            expected[0] * expected[1]
        )


def test_figures_of_a_title_stay_with_their_signs(scene: Scene) -> None:
    title = "DiffSpectralNet by another name: OA 98.34 ± 0.31 %"
    figure = map_gallery({title: scene.labels}, scene.info, scene.labels)
    lines = figure.axes[1].get_title().replace("\N{NO-BREAK SPACE}", " ").split("\n")
    assert len(lines) > 1
    assert " ".join(lines) == title
    assert any("98.34 ± 0.31 %" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"maps": {}}, ConfigurationError, "maps must hold at least one map"),
        (
            {"maps": {"ours": np.ones((36, 40), int)}},
            SceneError,
            r"\(40, 36\), but 'ours' has \(36, 40\)",
        ),
        ({"maps": {"ours": np.full((40, 36), 99)}}, SceneError, "labels must be 0"),
    ],
)
def test_what_does_not_fit_is_named(
    scene: Scene, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {
        "maps": {"ours": scene.labels},
        "info": scene.info,
        "truth": scene.labels,
        **changes,
    }
    with pytest.raises(error, match=message):
        map_gallery(**arguments)
