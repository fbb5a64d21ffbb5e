from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.io
import tifffile

from hsi_diffusion.errors import FileFormatError, SceneError
from hsi_diffusion.scenes import CATALOGUE, load_custom_scene, read_mask

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHAPE = (4, 5, 6)
CUBE = np.random.default_rng(0).integers(0, 5000, SHAPE).astype(np.uint16)
LABELS = np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [0, 0, 1, 1, 2], [9, 9, 0, 0, 0]])


def test_custom_scene_of_arrays() -> None:
    scene = load_custom_scene(CUBE, LABELS)
    assert np.shares_memory(scene.cube, CUBE)
    assert scene.info.class_ids == tuple(range(1, 10))
    assert scene.info.class_names[0] == "Class 1"
    assert len(set(scene.info.palette)) == 9
    assert (scene.name, scene.info.wavelengths) == ("custom", None)


def test_custom_scene_without_labels() -> None:
    scene = load_custom_scene(CUBE)
    assert scene.num_classes == 0
    assert scene.labels.shape == CUBE.shape[:2]
    assert not scene.labels.any()


def test_bands_that_seem_to_come_first_are_asked_about() -> None:
    first = np.random.default_rng(0).random((20, 30, 700), dtype=np.float32)
    with pytest.warns(UserWarning, match=r"20 rows and 700 bands.*axes='CHW' \(--axes CHW\)"):
        load_custom_scene(first)
    assert load_custom_scene(first, axes="CHW").bands == 20
    assert load_custom_scene(first, wavelengths=[400 + band for band in range(700)]).bands == 700


def test_custom_scene_of_files(tmp_path: Path) -> None:
    path = tmp_path / "scene.mat"
    scipy.io.savemat(path, {"a": CUBE, "b": CUBE + 1, "truth": LABELS, "other": LABELS * 0})
    scene = load_custom_scene(f"{path}:b", f"{path}:truth", name="mine")
    assert np.array_equal(scene.cube, CUBE + 1)
    assert np.array_equal(scene.labels, LABELS)
    with pytest.raises(FileFormatError, match=r"several arrays.*:a \(4, 5, 6\).*:b \(4, 5, 6\)"):
        load_custom_scene(path)
    with pytest.raises(FileFormatError, match=r"several arrays.*:truth.*:other"):
        load_custom_scene(f"{path}:a", path)


def test_custom_scene_closes_gaps_and_keeps_the_values() -> None:
    labels = np.where(LABELS > 5, LABELS * 10, 0)
    scene = load_custom_scene(CUBE, labels, class_names=("a", "b", "c", "d"))
    assert scene.info.class_ids == (60, 70, 80, 90)
    assert np.array_equal(np.array([0, *scene.info.class_ids])[scene.labels], labels)


def test_custom_class_names_may_be_given_for_every_value() -> None:
    labels = np.where(np.isin(LABELS, (2, 4)), LABELS, 0)
    scene = load_custom_scene(CUBE, labels, class_names=("a", "b", "c", "d"))
    assert scene.info.class_names == ("b", "d")
    with pytest.raises(SceneError, match=r"2 entries, one per class that occurs \(2, 4\).*got 3"):
        load_custom_scene(CUBE, labels, class_names=("a", "b", "c"))


def test_custom_facts_are_used() -> None:
    wavelengths = [450.0, 500.0, 550.0, 600.0, 650.0, 700.0]
    scene = load_custom_scene(CUBE, LABELS > 0, wavelengths=wavelengths, class_names=["all"])
    assert scene.info.rgb_bands == (4, 2, 0)
    assert scene.info.wavelengths == tuple(wavelengths)
    assert load_custom_scene(CUBE, rgb_bands=(0, 1, 5)).info.rgb_bands == (0, 1, 5)


@pytest.mark.parametrize("wavelengths", [[], [500.0, 600.0, 700.0], np.arange(400, 800, 10)])
def test_custom_wavelengths_must_be_one_per_band(wavelengths: Any) -> None:
    with pytest.raises(SceneError, match=r"wavelengths must have 6 entries \(one per band\)"):
        load_custom_scene(CUBE, wavelengths=wavelengths)


def test_custom_cube_becomes_native_and_contiguous() -> None:
    scene = load_custom_scene(np.asfortranarray(CUBE.astype(">u2")))
    assert scene.cube.dtype == np.dtype("uint16")
    assert scene.cube.flags.c_contiguous
    assert np.array_equal(scene.cube, CUBE)


@pytest.mark.parametrize(
    ("cube", "labels", "message"),
    [
        (CUBE[0], None, r"cube must have shape \(height, width, bands\), got \(5, 6\)"),
        (CUBE, LABELS.T, r"labels must .* \(4, 5\), got \(5, 4\); its transpose would fit"),
        (CUBE, LABELS - 1.5, "labels must hold whole numbers"),
        (np.full(SHAPE, np.nan), None, "none of the 20 pixels holds data"),
        (CUBE.astype(complex), None, "real numbers .*got complex128"),
    ],
)
def test_custom_arrays_that_do_not_fit(
    cube: NDArray[Any], labels: NDArray[Any] | None, message: str
) -> None:
    with pytest.raises(SceneError, match=message):
        load_custom_scene(cube, labels)


@pytest.mark.parametrize("given", ["HWC", "CHW", "WCH"])
def test_the_order_of_axes_that_would_fit_is_told(given: str) -> None:
    """Whatever order was given: the one that is told makes the labels fit."""
    stored = CUBE.transpose(2, 0, 1)
    if given == "CHW":
        assert load_custom_scene(stored, LABELS, axes=given).labels.shape == LABELS.shape
        return
    with pytest.raises(SceneError, match=r"axes='CHW' \(--axes CHW\)"):
        load_custom_scene(stored, LABELS, axes=given)


def test_masks_keep_truth_values_and_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", LABELS > 3)
    scipy.io.savemat(tmp_path / "mask.mat", {"train": LABELS.astype(float), "cube": CUBE})
    truth = read_mask(tmp_path / "mask.npy", (4, 5))
    classes = read_mask(f"{tmp_path / 'mask.mat'}:train", (4, 5))
    assert (truth.dtype, classes.dtype) == (np.dtype(bool), np.dtype("int64"))
    assert np.array_equal(truth, LABELS > 3)
    assert np.array_equal(classes, LABELS)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (LABELS.T, r"mask .*mask\.npy must .* \(4, 5\), got \(5, 4\); its transpose would fit"),
        (LABELS[1:], r"\(4, 5\), got \(3, 5\)$"),
        (LABELS - 1, "or a positive class value, got -1"),
        (LABELS + 0.5, "must hold whole numbers"),
    ],
)
def test_masks_that_do_not_fit(tmp_path: Path, mask: NDArray[Any], message: str) -> None:
    np.save(tmp_path / "mask.npy", mask)
    with pytest.raises(SceneError, match=message):
        read_mask(tmp_path / "mask.npy", (4, 5))


def test_mask_that_is_a_cube(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", CUBE)
    with pytest.raises(FileFormatError, match="no 2-D array"):
        read_mask(tmp_path / "mask.npy", (4, 5))


@pytest.mark.parametrize(
    ("file", "shape", "pixels"),
    [
        ("indian_pines/IndianTR123_temp123.tif", (145, 145), 695),
        ("indian_pines/IndianTE123_temp123.tif", (145, 145), 9671),
        ("pavia_university/TRpavia_fixed.mat", (610, 340), 3921),
        ("pavia_university/TSpavia_fixed.mat", (610, 340), 40002),
    ],
)
def test_real_masks(shared_data: Path, file: str, shape: tuple[int, int], pixels: int) -> None:
    assert np.count_nonzero(read_mask(shared_data / file, shape)) == pixels


def test_class_order_of_the_real_split_of_indian_pines(shared_data: Path) -> None:
    folder, info = shared_data / "indian_pines", CATALOGUE["indian_pines"]
    train, test = (
        read_mask(folder / f"Indian{x}123_temp123.tif", (145, 145)) for x in ("TR", "TE")
    )
    older = tifffile.imread(folder / "19920612_AVIRIS_IndianPine_Site3_gr.tif")
    assert info.split_class_order is not None
    assert np.array_equal(np.array([0, *info.split_class_order])[train + test], older)


def write_points(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_numbers_of_one_mask_are_told_beside_names_of_the_other(tmp_path: Path) -> None:
    points = write_points(
        tmp_path / "train.csv", "row,column,class\n0,0,soil\n1,1,maize\n2,2,rye\n"
    )
    test = np.zeros(SHAPE[:2], dtype=int)
    test[3, :2] = 1, 3
    told = r"numbers of test_labels \(--test_mask\), .* are taken as 1 = maize, 3 = soil, the numb"
    with pytest.warns(UserWarning, match=told):
        scene = load_custom_scene(CUBE, train_labels=points, test_labels=test)
    assert scene.info.class_names == ("maize", "rye", "soil")
    with pytest.warns(UserWarning, match=r"numbers of train_labels .* taken as further classes"):
        load_custom_scene(CUBE, train_labels=test * 5, test_labels=points)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_custom_scene(CUBE, train_labels=test, test_labels=test[::-1])


def test_the_class_column_belongs_to_points_alone(tmp_path: Path) -> None:
    points = write_points(tmp_path / "p.csv", "row,column,crop,owner\n0,1,1,A\n0,2,2,B\n")
    test = np.zeros(SHAPE[:2], dtype=int)
    test[3, :2] = 1, 2
    scene = load_custom_scene(CUBE, train_labels=points, test_labels=test, label_attribute="crop")
    assert scene.info.class_ids == (1, 2)
    # beside labels the mask needs no class
    bare = write_points(tmp_path / "bare.csv", "row,column,owner,plot\n0,1,A,\n0,2,B,x\n")
    scene = load_custom_scene(CUBE, LABELS, train_labels=bare, test_labels=test)
    assert scene.fixed_train is not None
    assert np.argwhere(scene.fixed_train).tolist() == [[0, 1], [0, 2]]
    other = np.zeros(SHAPE[:2], dtype=bool)
    other[0, 2] = True
    write_points(bare, "row,column\n0,1\n")
    load_custom_scene(CUBE, points, train_labels=bare, test_labels=other, label_attribute="crop")
    with pytest.raises(SceneError, match="label_attribute names a column of polygons or points"):
        load_custom_scene(CUBE, LABELS, label_attribute="crop")
    with pytest.raises(SceneError, match="names a column of polygons or points"):
        load_custom_scene(CUBE, train_labels=test, test_labels=test * 0, label_attribute="crop")


def test_class_names_are_those_of_the_label_file_also_where_no_pixel_shows_one() -> None:
    cube = CUBE.astype(float)
    cube[3] = np.nan
    labels = np.repeat([[1], [2], [2], [3]], SHAPE[1], axis=1)
    scene = load_custom_scene(cube, labels, class_names=["a", "b", "c"])
    assert scene.info.class_names == ("a", "b")


def test_points_name_their_classes_themselves(tmp_path: Path) -> None:
    points = write_points(tmp_path / "p.csv", "row,column,class\n0,1,soil\n0,2,maize\n")
    with pytest.raises(SceneError, match="the label file names its classes: maize, soil"):
        load_custom_scene(CUBE, points, class_names=["soil", "maize"])
    scene = load_custom_scene(CUBE, points, class_names=["maize", "soil"])
    assert scene.info.class_names == ("maize", "soil")
