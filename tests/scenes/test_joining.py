"""Several images as one scene, and bands of one sensor as another measures them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad

from hsi_diffusion import SceneClassifier, load_custom_scene, simulate_scene
from hsi_diffusion.errors import FileFormatError, SceneError, SplitError
from hsi_diffusion.modules import CustomSceneDataModule
from hsi_diffusion.patches import field_map, scene_split
from hsi_diffusion.scenes import Raster, join_scenes, resample_bands
from tests.scenes.formats import CUBE, HEIGHT, PLACE, WIDTH, write_tiff

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion.scenes import Scene


def lines() -> list[Scene]:
    return [
        replace(one, info=replace(one.info, name=name))
        for name, one in (
            ("first", simulate_scene(20, 30, 8, 3)),
            ("second", simulate_scene(24, 26, 8, 3, image=1)),
        )
    ]


def test_each_image_lies_in_the_joined_scene() -> None:
    first, second = lines()
    scene = join_scenes([first, second], gap=10)
    assert scene.name == "first+second"
    assert scene.labels.shape == (54, 30)
    assert scene.images is not None
    for one in (first, second):
        where = scene.images[one.name]
        assert_array_equal(scene.cube[where], one.cube)
        assert_array_equal(scene.labels[where], one.labels)
    assert scene.valid is not None
    assert scene.valid.sum() == first.labels.size + second.labels.size
    # what patches see beyond a border is their own image, mirrored
    assert_array_equal(scene.cube[20:25], first.cube[18:13:-1])
    assert_array_equal(scene.cube[25:30, :26], second.cube[5:0:-1])
    assert join_scenes([first]) is first


def test_classes_are_joined_by_their_names() -> None:
    values = np.arange(32.0).reshape(4, 4, 2)
    labels = np.repeat([[1], [1], [2], [3]], 4, axis=1)
    first = load_custom_scene(values, labels, name="a", class_names=["maize", "soil", "water"])
    second = load_custom_scene(
        values, np.where(labels == 3, 7, labels), name="b", class_names=["soil", "wheat", "Class 7"]
    )
    scene = join_scenes([first, second], gap=2)
    assert scene.info.class_names == ("maize", "soil", "water", "wheat", "Class 7")
    assert scene.info.class_ids == (1, 2, 3, 4, 7)
    assert scene.images is not None
    assert scene.labels[scene.images["b"]][:, 0].tolist() == [2, 2, 4, 5]


def test_names_that_differ_in_case_are_told() -> None:
    values, labels = np.arange(32.0).reshape(4, 4, 2), np.repeat([[1], [1], [2], [2]], 4, axis=1)
    images = [
        load_custom_scene(values, labels, class_names=names)
        for names in (["maize", "soil"], ["Maize", "soil"])
    ]
    with pytest.warns(UserWarning, match="joined: 'Maize' and 'maize' are 2 classes"):
        assert join_scenes(images, gap=2).info.class_names == ("maize", "soil", "Maize")


def test_a_split_by_images_tests_another_image() -> None:
    scene = join_scenes(lines())
    assert scene.images is not None
    numbers = np.arange(scene.labels.size).reshape(scene.labels.shape)
    split = scene_split(scene, "images", patch_size=9)
    assert split is not None
    assert np.isin(split.test, numbers[scene.images["second"]]).all()
    assert np.isin(split.labelled, numbers[scene.images["first"]]).all()
    assert len(split.test) == (scene.labels[scene.images["second"]] > 0).sum()
    assert split.leakage(9) == 0
    fields = field_map(scene.labels).ravel()  # whole fields validate
    assert len(split.val)
    assert not np.isin(fields[split.val], fields[split.train]).any()
    other = scene_split(scene, "images:first", patch_size=9)
    assert other is not None
    assert_array_equal(other.test, split.labelled)
    with pytest.raises(SplitError, match="third of first, second"):
        scene_split(scene, "images:third", patch_size=9)
    with pytest.raises(SplitError, match="got first, second of first, second: give several"):
        scene_split(scene, "images:first,second", patch_size=9)
    with pytest.raises(SplitError, match="a single image"):
        scene_split(lines()[0], "images", patch_size=9)


def test_a_model_learns_several_images() -> None:
    scene = join_scenes(lines())
    split = scene_split(scene, "images", patch_size=1)
    assert split is not None
    model = SceneClassifier.from_recipe("knn", "quick").fit(scene, split)
    found = model.predict(scene).classes
    assert_array_equal(found > 0, scene.valid)
    assert (found == scene.labels).ravel()[split.test].mean() > 0.4


def test_files_are_joined(tmp_path: Path) -> None:
    files: list[str] = []
    labels: list[str] = []
    for one in lines():
        for kind, values, names in (("", one.cube, files), ("-gt", one.labels, labels)):
            names.append(str(tmp_path / f"{one.name}{kind}.npy"))
            np.save(names[-1], values)
    data = CustomSceneDataModule(files, labels, split="images", patch_size=5)
    data.setup()
    assert data.num_classes == 3
    assert data.valid is not None
    assert len(data.predict_dataloader().dataset) == data.valid.sum()  # type: ignore[arg-type]
    with pytest.raises(SceneError, match="one for each of 2, got 3"):
        load_custom_scene(files, [*labels, labels[0]])
    np.save(files[1], np.random.default_rng(0).normal(size=(24, 26, 9)))
    with pytest.raises(SceneError, match="'first' has 8 and 'second' 9"):
        load_custom_scene(files, labels)


def test_a_resampled_band_is_the_integral_under_its_response() -> None:
    waves, wanted, width = np.arange(400.0, 800, 5), 562.0, 40.0
    spectrum = 0.3 + 0.1 * np.sin(waves / 30) + (waves > 700) * 0.2
    cube = np.tile(spectrum, (2, 3, 1))
    image = Raster.of(cube, wavelengths=tuple(waves), fwhm=(5.0,) * len(waves))
    values, valid = resample_bands(image, [wanted], [width]).read()
    assert valid.all()
    sigma = np.sqrt(width**2 - 5.0**2) / 2.354820045

    def weight(wave: float) -> float:
        return float(np.exp(-0.5 * ((wave - wanted) / sigma) ** 2))

    def weighted(wave: float) -> float:
        return weight(wave) * float(np.interp(wave, waves, spectrum))

    above, below = (
        quad(function, 400, 795, points=waves.tolist(), limit=500)[0]
        for function in (weighted, weight)
    )
    assert_allclose(values, above / below, rtol=1e-6)


def test_bands_on_their_own_grid_stay_as_they_are() -> None:
    cube = np.random.default_rng(0).integers(0, 9000, (3, 4, 5)).astype(np.uint16)
    waves = (450.0, 470.0, 465.0, 500.0, 560.0)  # two spectrometers that overlap
    image = Raster.of(cube, wavelengths=waves)
    assert_allclose(resample_bands(image, waves).read()[0], cube, rtol=1e-6)
    with pytest.raises(SceneError, match="between 450 and 560 nm"):
        resample_bands(image, [449.0])
    with pytest.raises(SceneError, match="no wavelengths"):
        resample_bands(Raster.of(cube), waves)


LEFT, TOP = PLACE[2], PLACE[5]


def tiles(folder: Path, labels: NDArray[np.uint8] | None = None) -> list[Path]:
    """Two images side by side; or the label maps of both."""
    found = []
    for number in range(2):
        name = "tile" if labels is None else "labels"
        values = CUBE + number if labels is None else labels[:, :, None]
        place = (2.0, 0.0, LEFT + 2 * WIDTH * number, 0.0, -2.0, TOP)
        found.append(write_tiff(folder / f"{name}{number}.tif", values, transform=place))
    return found


def write_fields(path: Path) -> Path:
    """Four polygons over two tiles: the second lies across their border."""
    geopandas, shapely = (pytest.importorskip(name) for name in ("geopandas", "shapely"))
    edges = [(0, 2), (4, 8), (8, 10), (10, 12)]
    shapes = [shapely.box(LEFT + 2 * a, TOP - 2 * HEIGHT, LEFT + 2 * b, TOP) for a, b in edges]
    classes = ["oats", "wheat", "oats", "wheat"]
    geopandas.GeoDataFrame({"class": classes}, geometry=shapes, crs="EPSG:32632").to_file(path)
    return path


@pytest.mark.parametrize("times", [1, 2])
def test_a_polygon_of_several_images_is_one(times: int, tmp_path: Path) -> None:
    path = write_fields(tmp_path / "a.gpkg")
    scene = load_custom_scene(tiles(tmp_path), [path, tmp_path / "." / "a.gpkg"][:times])
    assert scene.images is not None
    assert scene.polygons is not None
    rows = [scene.polygons[scene.images[name]][0].tolist() for name in ("tile0", "tile1")]
    assert rows == [[1, 1, 0, 0, 2, 2], [2, 2, 3, 3, 4, 4]]
    for seed in range(4):
        split = scene_split(scene, "polygons:0.5", seed=seed, patch_size=1)
        assert split is not None
        flat = scene.polygons.ravel()
        assert not np.intersect1d(flat[split.labelled], flat[split.test]).size
    told = f"1 polygons lie in learned and in tested images: {2 * HEIGHT} of {6 * HEIGHT} test"
    with pytest.warns(UserWarning, match=told):
        split = scene_split(scene, "images", patch_size=1)
    assert split is not None
    assert split.settings["notes"][0].startswith(told)
    assert len(split.test) == 6 * HEIGHT


def test_polygons_of_different_files_are_different(tmp_path: Path) -> None:
    files = [write_fields(tmp_path / f"{name}.gpkg") for name in "ab"]
    scene = load_custom_scene(tiles(tmp_path), files)
    assert scene.images is not None
    assert scene.polygons is not None
    first, second = (np.unique(scene.polygons[scene.images[f"tile{one}"]]) for one in range(2))
    assert not np.intersect1d(first[first > 0], second).size
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        scene_split(scene, "images", patch_size=1)


def test_one_label_map_of_several_images_needs_coordinates(tmp_path: Path) -> None:
    files = tiles(tmp_path)
    labels = np.arange(HEIGHT * 2 * WIDTH).reshape(HEIGHT, -1) % 3
    np.save(tmp_path / "a.npy", labels[:, :WIDTH])
    (tmp_path / "a.csv").write_text("class;Row;Column\n1;0;0\n2;0;1\n")
    one_hot = (labels[:, :WIDTH, None] == [1, 2]).astype(np.uint8)
    for bare in (tmp_path / "a.npy", labels[:, :WIDTH], tmp_path / "a.csv", one_hot):
        with pytest.raises(SceneError, match=r"and it has none; give labels .* once per image"):
            load_custom_scene(files, bare)
        load_custom_scene(files, [bare, bare])
        load_custom_scene(files[:1], [bare])
    mosaic = write_tiff(tmp_path / "mosaic.tif", labels[:, :, None].astype(np.uint8))
    with pytest.warns(UserWarning, match="another grid"):
        scene = load_custom_scene(files, mosaic)
    assert scene.images is not None
    for number, part in enumerate((labels[:, :WIDTH], labels[:, WIDTH:])):
        assert_array_equal(scene.labels[scene.images[f"tile{number}"]], part)
    (tmp_path / "b.csv").write_text(f"x,y,line,class\n{LEFT + 1},{TOP - 1},7,1\n"
                                    f"{LEFT + 2 * WIDTH + 1},{TOP - 1},7,2\n")  # fmt: skip
    with pytest.warns(UserWarning, match="1 of 2 points lie outside"):
        scene = load_custom_scene(files, tmp_path / "b.csv", label_attribute="class")
    assert np.count_nonzero(scene.labels) == 2
    with pytest.raises(FileFormatError, match="missing"):
        load_custom_scene(files, tmp_path / "missing.npy")
    arrays = [str(tmp_path / f"{name}.npy") for name in ("first", "second")]
    for one in arrays:
        np.save(one, CUBE)
    same = write_tiff(tmp_path / "same.tif", labels[:, :WIDTH, None].astype(np.uint8))
    with pytest.raises(SceneError, match=r"same.tif alone, and .*first.npy has none"):
        load_custom_scene(arrays, same)
    assert not load_custom_scene(arrays).labels.any()


def test_class_names_are_given_to_the_classes_of_all_images(tmp_path: Path) -> None:
    ids = np.arange(20).reshape(4, 5) % 4
    first, second = np.array([0, 2, 3, 9])[ids], np.array([0, 2, 3, 0])[ids]
    images = [str(tmp_path / f"{name}.npy") for name in "ab"]
    for path in images:
        np.save(path, np.random.default_rng(0).random((4, 5, 6)))
    names = {2: "maize", 3: "soil", 9: "wheat"}
    every = [names.get(value, f"unused {value}") for value in range(1, 10)]
    for order in ([first, second], [second, first]):
        for given in (list(names.values()), every):
            scene = load_custom_scene(images, order, class_names=given)
            assert scene.info.class_names == ("maize", "soil", "wheat")
            assert scene.info.class_ids == (2, 3, 9)
            assert scene.images is not None
            for place, labels in zip(scene.images.values(), order, strict=True):
                assert_array_equal(np.array([0, 2, 3, 9])[scene.labels[place]], labels)
    with pytest.raises(SceneError, match=r"must have 3 entries, .* \(2, 3, 9\).* got 2"):
        load_custom_scene(images, [first, second], class_names=["maize", "soil"])
    with pytest.raises(SceneError, match=r"list such as \['soil', 'maize'\], got 'a,b,c'"):
        load_custom_scene(images, [first, second], class_names="a,b,c")


def test_images_with_names_and_images_with_numbers_are_told(tmp_path: Path) -> None:
    images = [str(tmp_path / f"{name}.npy") for name in "ab"]
    for path in images:
        np.save(path, np.random.default_rng(0).random((4, 5, 6)))
    points = tmp_path / "points.csv"
    points.write_text("row,column,class\n0,0,soil\n1,1,maize\n")
    numbers = np.eye(4, 5, dtype=int) + np.eye(4, 5, 1, dtype=int) * 2
    with pytest.warns(UserWarning, match="labels of b name no classes, and those of a do"):
        assert load_custom_scene(images, [points, numbers]).num_classes == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        scene = load_custom_scene(images, [points, numbers], class_names=["maize", "soil"])
        load_custom_scene(images, [points, None])
        load_custom_scene(images, [points, np.zeros((4, 5), dtype=int)])
    assert scene.info.class_names == ("maize", "soil")
    assert scene.images is not None
    assert_array_equal(scene.labels[scene.images["b"]], numbers)


def test_the_class_column_is_that_of_the_images_with_points(tmp_path: Path) -> None:
    images = [str(tmp_path / f"{name}.npy") for name in "ab"]
    for path in images:
        np.save(path, np.random.default_rng(0).random((4, 5, 6)))
    points, numbers = tmp_path / "points.csv", np.eye(4, 5, dtype=int)
    points.write_text("row,column,crop,owner\n0,0,2,A\n1,1,1,B\n")
    scene = load_custom_scene(images, [points, numbers], label_attribute="crop")
    assert scene.info.class_ids == (1, 2)
    assert np.count_nonzero(scene.labels) == 2 + numbers.sum()
    with pytest.raises(SceneError, match="label_attribute names a column of polygons or points"):
        load_custom_scene(images, [numbers, numbers], label_attribute="crop")


def test_a_further_image_without_wavelengths_is_not_resampled(tmp_path: Path) -> None:
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((4, 5, 6)))
    given = [450.0 + 90 * band for band in range(6)]
    with pytest.raises(SceneError, match=r"b\.npy has no wavelengths.* needs its own in its file"):
        load_custom_scene(
            [tmp_path / "a.npy", tmp_path / "b.npy"], wavelengths=given, resample=True
        )
