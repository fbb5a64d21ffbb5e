from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes import Scene, SceneInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

INFO = SceneInfo(
    name="toy",
    title="Toy",
    height=3,
    width=4,
    bands=5,
    wavelengths=None,
    class_names=("a", "b"),
    class_ids=(1, 7),
    palette=((1, 2, 3), (255, 0, 0)),
    rgb_bands=(4, 2, 0),
)
LABELS = np.array([[0, 1, 2, 0], [1, 1, 2, 0], [0, 0, 0, 0]])


def a_cube(dtype: str = "uint16") -> NDArray[Any]:
    return np.arange(60).reshape(3, 4, 5).astype(dtype)


def test_scene_knows_its_shape() -> None:
    scene = Scene(a_cube(), LABELS, INFO)
    assert (scene.name, scene.height, scene.width, scene.bands) == ("toy", 3, 4, 5)
    assert scene.num_classes == 2
    assert scene.fixed_train is None
    assert repr(scene) == "Scene('toy', 3 x 4 x 5 uint16, 5 labelled pixels in 2 classes)"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_real_types_are_kept_without_a_copy(dtype: str) -> None:
    cube = a_cube(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Scene(cube, LABELS, INFO).cube is cube


@pytest.mark.parametrize(
    ("cube", "message"),
    [
        (np.zeros((3, 4)), r"cube must have shape \(height, width, bands\), got \(3, 4\)"),
        (np.zeros((3, 4, 0)), r"got \(3, 4, 0\)"),
        (np.zeros((3, 4, 5), complex), "real numbers .* got complex128; give its magnitude"),
        (np.zeros((3, 4, 5), bool), "real numbers .* got bool"),
        (np.zeros((3, 4, 5), object), "real numbers .* got object"),
        (np.zeros((4, 3, 5)), r"labels .* \(4, 3\), got \(3, 4\); its transpose would fit"),
        (np.zeros((9, 4, 5)), r"labels .* \(9, 4\), got \(3, 4\)$"),
        (np.zeros((5, 3, 4)), r"labels .* \(5, 3\), got \(3, 4\); .* axes=.CHW."),
        (np.arange(72.0).reshape(3, 4, 6), r"'toy' must have shape \(3, 4, 5\) .*got \(3, 4, 6\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*bands are constant")
def test_cubes_that_do_not_fit(cube: NDArray[Any], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        Scene(cube, LABELS, INFO)


def test_values_that_are_not_finite_are_counted_and_located() -> None:
    cube = a_cube("float32")
    cube[1, 2, 3] = np.nan
    cube[1, 2, 4] = np.inf
    cube[2, 0, 0] = -np.inf
    with pytest.raises(SceneError, match="1 NaN and 2 infinite values in 2 pixels") as caught:
        Scene(cube, LABELS, INFO)
    assert "(row, column, band) (1, 2, 3)" in str(caught.value)


def test_constant_bands_are_allowed_with_a_warning() -> None:
    cube = a_cube()
    cube[:, :, [1, 3]] = 7
    with pytest.warns(UserWarning, match=r"2 of 5 bands are constant .*: 1, 3 \(counted from 0\)"):
        Scene(cube, LABELS, INFO)


def test_many_constant_bands_are_not_all_listed() -> None:
    info = replace(INFO, bands=30)
    with pytest.warns(UserWarning, match="0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 20 more"):
        Scene(np.zeros((3, 4, 30)), LABELS, info)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS.astype(float), "labels must be integers, got float64"),
        (LABELS - 1, r"0 \(unlabelled\) to 2, got -1 to 1"),
        (LABELS * 4, r"0 \(unlabelled\) to 2, got 0 to 8"),
        (LABELS.T, "its transpose would fit"),
    ],
)
def test_labels_that_do_not_fit(labels: NDArray[Any], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        Scene(a_cube(), labels, INFO)


def test_fixed_split_is_kept() -> None:
    train, test = LABELS == 1, LABELS == 2
    scene = Scene(a_cube(), LABELS, INFO, train, test)
    assert scene.fixed_train is train
    assert scene.fixed_test is test


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (LABELS > 0, LABELS == 2, "must be disjoint, they share 2"),
        (LABELS >= 0, None, "fixed_train must mark labelled pixels only, 7 are unlabelled"),
        (None, LABELS >= 0, "fixed_test must mark labelled pixels only"),
        (LABELS, None, "fixed_train must be bool, got int64"),
        (None, LABELS[:2] > 0, r"fixed_test must have the height and width"),
    ],
)
def test_fixed_splits_that_do_not_fit(
    train: NDArray[Any] | None, test: NDArray[Any] | None, message: str
) -> None:
    with pytest.raises(SceneError, match=message):
        Scene(a_cube(), LABELS, INFO, train, test)
