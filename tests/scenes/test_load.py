from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.io
import tifffile

from hsi_diffusion.errors import DownloadError, FileFormatError, SceneError
from hsi_diffusion.scenes import CATALOGUE, Scene, SceneInfo, load_scene
from tests.scenes.mat73 import write_mat73

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHAPE = (4, 5, 6)


def small(name: str) -> SceneInfo:
    """A known scene's facts with a tiny cube and no checksums."""
    height, width, bands = SHAPE
    info = CATALOGUE[name]
    return replace(
        info,
        height=height,
        width=width,
        bands=bands,
        wavelengths=None,
        rgb_bands=(3, 2, 1),
        files=tuple(replace(file, sha256=None, size=None) for file in info.files),
    )


PAVIA = small("pavia_university")
HOUSTON = small("houston2013")
PINES = small("indian_pines")

CUBE = np.random.default_rng(0).integers(0, 5000, SHAPE).astype(np.uint16)
LABELS = np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [0, 0, 1, 1, 2], [9, 9, 0, 0, 0]])
TRAIN = np.where(np.arange(20).reshape(4, 5) % 2, LABELS, 0)
TEST = LABELS - TRAIN


def load_quietly(info: SceneInfo | str, root: Path) -> Scene:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_scene(info, root)


def assert_split(scene: Scene) -> None:
    """The scene holds LABELS as TRAIN and TEST."""
    assert scene.fixed_train is not None
    assert scene.fixed_test is not None
    assert np.array_equal(scene.labels, LABELS)
    assert np.array_equal(scene.fixed_train, TRAIN > 0)
    assert np.array_equal(scene.fixed_test, TEST > 0)


def write_pavia(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / "PaviaU.mat", {"paviaU": CUBE})
    scipy.io.savemat(folder / "PaviaU_gt.mat", {"paviaU_gt": LABELS.astype(np.uint8)})


@pytest.mark.parametrize(
    "folder", ["pavia_university", "PaviaU", "Pavia University", "pavia-u", "paviauni", "PU", "."]
)
def test_published_files_are_found_in_the_usual_folders(tmp_path: Path, folder: str) -> None:
    write_pavia(tmp_path / folder)
    scene = load_quietly(PAVIA, tmp_path)
    assert np.array_equal(scene.cube, CUBE)
    assert scene.cube.dtype == CUBE.dtype
    assert scene.cube.flags.c_contiguous
    assert np.array_equal(scene.labels, LABELS)
    assert scene.labels.dtype == np.int64
    assert scene.info is PAVIA
    assert scene.fixed_train is None


def test_published_names_win_over_arrays_of_the_same_shape(tmp_path: Path) -> None:
    write_pavia(tmp_path)
    np.save(tmp_path / "another_cube.npy", CUBE + 1)
    np.save(tmp_path / "another_map.npy", LABELS[::-1])
    (tmp_path / "notes.txt").write_text("hello")
    scene = load_quietly(PAVIA, tmp_path)
    assert np.array_equal(scene.cube, CUBE)
    assert np.array_equal(scene.labels, LABELS)


def test_published_name_with_another_content_is_told(tmp_path: Path) -> None:
    write_pavia(tmp_path)
    info = replace(PAVIA, files=tuple(replace(file, sha256="0" * 64) for file in PAVIA.files))
    with pytest.warns(UserWarning, match="not its checksum") as caught:
        load_scene(info, tmp_path)
    told = [str(warning.message) for warning in caught]
    assert len(told) == 2
    assert "PaviaU.mat has the name of the published file, but not its checksum" in told[0]
    assert "PaviaU_gt.mat has the name" in told[1]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("write", [scipy.io.savemat, write_mat73])
def test_other_names_are_found_by_shape_with_a_warning(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "mine.mat", {"data": CUBE})
    np.save(tmp_path / "truth.npy", LABELS.astype(np.float32))
    np.save(tmp_path / "too_small.npy", CUBE[1:])
    with pytest.warns(UserWarning, match="is taken from") as caught:
        scene = load_scene(PAVIA, tmp_path)
    told = [str(warning.message) for warning in caught]
    assert f"the cube is taken from {tmp_path / 'mine.mat'}:data, which is not" in told[0]
    assert f"the label map is taken from {tmp_path / 'truth.npy'}, which is not" in told[1]
    assert [warning.filename for warning in caught] == [__file__, __file__]
    assert np.array_equal(scene.cube, CUBE)
    assert np.array_equal(scene.labels, LABELS)


def test_several_cubes_are_listed(tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, CUBE)
    with pytest.raises(SceneError, match=r"which cube of 'pavia_university' is meant") as caught:
        load_scene(PAVIA, tmp_path)
    assert f"Found {tmp_path / 'a.npy'}, {tmp_path / 'b.npy'};" in str(caught.value)


def test_several_label_maps_are_listed(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "PaviaU.mat", {"paviaU": CUBE})
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, LABELS)
    with pytest.raises(SceneError, match=r"which label map .* Found .*a\.npy, .*b\.npy; leave one"):
        load_scene(PAVIA, tmp_path)


def test_several_cubes_in_one_file_need_a_known_key(tmp_path: Path) -> None:
    write_pavia(tmp_path)
    scipy.io.savemat(tmp_path / "PaviaU.mat", {"paviaU": CUBE, "noise": CUBE + 1})
    assert np.array_equal(load_quietly(PAVIA, tmp_path).cube, CUBE)
    scipy.io.savemat(tmp_path / "PaviaU.mat", {"first": CUBE, "noise": CUBE + 1})
    with pytest.raises(SceneError, match=r"one array of shape \(4, 5, 6\).*:first .*:noise"):
        load_scene(PAVIA, tmp_path)


def test_published_name_with_another_shape(tmp_path: Path) -> None:
    write_pavia(tmp_path)
    scipy.io.savemat(tmp_path / "PaviaU.mat", {"paviaU": CUBE[1:]})
    with pytest.raises(SceneError, match=r"one array of shape \(4, 5, 6\).*:paviaU \(3, 5, 6\)"):
        load_scene(PAVIA, tmp_path)


def test_damaged_published_file(tmp_path: Path) -> None:
    write_pavia(tmp_path)
    path = tmp_path / "PaviaU.mat"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(FileFormatError, match=r"can't read .*PaviaU\.mat.*cut short"):
        load_scene(PAVIA, tmp_path)


@pytest.mark.filterwarnings("ignore:.*is not the published file")
def test_damaged_other_file_is_left_aside_with_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", CUBE)
    np.save(tmp_path / "truth.npy", LABELS)
    (tmp_path / "broken.tif").write_bytes(b"II*\x00 and nothing more")
    with pytest.warns(UserWarning, match=r"broken\.tif is left aside"):
        assert np.array_equal(load_scene(PAVIA, tmp_path).cube, CUBE)


def test_nothing_found_says_what_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "PaviaU").mkdir()
    with pytest.raises(SceneError, match=r"found no cube of shape \(4, 5, 6\)") as caught:
        load_scene(PAVIA, tmp_path)
    message = str(caught.value)
    assert "the published file is PaviaU.mat. Try download=True" in message
    assert PAVIA.homepage in message
    assert f"put it into {tmp_path / 'PaviaU'}" in message
    np.save(tmp_path / "PaviaU" / "PaviaU.mat.npy", CUBE)
    with (
        pytest.warns(UserWarning, match="the cube is taken"),
        pytest.raises(SceneError, match=r"no label map of shape \(4, 5\).*PaviaU_gt\.mat"),
    ):
        load_scene(PAVIA, tmp_path)


def test_nothing_found_says_what_is_there_instead(tmp_path: Path) -> None:
    np.save(tmp_path / "uncorrected.npy", np.zeros((4, 5, 9)))
    with pytest.raises(SceneError, match=r"uncorrected\.npy \(4, 5, 9\)\. Try download"):
        load_scene(PAVIA, tmp_path)


@pytest.mark.parametrize(
    ("folder", "home"),
    [("data", "data/pavia_university"), ("pavia_university", "pavia_university")],
)
def test_new_files_go_to_the_folder_of_the_scene(tmp_path: Path, folder: str, home: str) -> None:
    root = tmp_path / folder
    root.mkdir()
    with pytest.raises(SceneError) as caught:
        load_scene(PAVIA, root)
    assert str(caught.value).endswith(f"put it into {tmp_path / home}")


def test_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"root must be the folder .* which is not there"):
        load_scene("salinas", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(SceneError, match=r"which is not a folder"):
        load_scene("salinas", tmp_path / "file")


def test_unknown_class_values_name_the_file(tmp_path: Path) -> None:
    write_pavia(tmp_path)
    scipy.io.savemat(tmp_path / "PaviaU_gt.mat", {"paviaU_gt": LABELS + 1})
    with pytest.raises(SceneError, match=r"PaviaU_gt\.mat:paviaU_gt must be .* 3 pixels .*: 10"):
        load_scene(PAVIA, tmp_path)


@pytest.mark.filterwarnings("ignore:.*the cube is taken")
def test_packing_with_a_split_brings_it_along(tmp_path: Path) -> None:
    arrays = {"input": CUBE, "TR": TRAIN, "TE": TEST}
    scipy.io.savemat(tmp_path / "Pavia.mat", arrays)
    with pytest.warns(UserWarning, match=r"Pavia\.mat:TR \+ .*Pavia\.mat:TE"):
        assert_split(load_scene(PAVIA, tmp_path))


@pytest.mark.filterwarnings("ignore:.*the cube is taken")
def test_split_of_indian_pines_has_its_own_class_order(tmp_path: Path) -> None:
    own = np.zeros(SHAPE[:2], dtype=int)
    own.flat[:17] = range(17)
    train = np.where(own % 2, own, 0)
    scipy.io.savemat(tmp_path / "IndianPine.mat", {"input": CUBE, "TR": train, "TE": own - train})
    with pytest.warns(UserWarning, match="label map is taken"):
        labels = load_scene(PINES, tmp_path).labels
    expected = [0, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16, 1, 7, 9]
    assert labels.ravel()[:17].tolist() == expected


@pytest.mark.filterwarnings("ignore:.*the cube is taken")
def test_packing_with_a_map(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "all.mat", {"ori_data": CUBE, "map": LABELS, "extra": LABELS * 0})
    np.save(tmp_path / "other.npy", LABELS[::-1])
    with pytest.warns(UserWarning, match=r"all\.mat:map"):
        assert np.array_equal(load_scene(PAVIA, tmp_path).labels, LABELS)


@pytest.mark.filterwarnings("ignore:.*the cube is taken")
def test_map_beside_the_cube_is_meant(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"input": CUBE, "TR": TRAIN, "TE": TEST})
    scipy.io.savemat(tmp_path / "b.mat", {"TR": TEST, "TE": TRAIN})
    with pytest.warns(UserWarning, match=r"a\.mat:TR"):
        assert_split(load_scene(PAVIA, tmp_path))


def test_overlapping_split_is_refused(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "Pavia.mat", {"input": CUBE, "TR": LABELS, "TE": TEST})
    with (
        pytest.warns(UserWarning, match="is taken from"),
        pytest.raises(SceneError, match=f"disjoint, they share {np.count_nonzero(TEST)}"),
    ):
        load_scene(PAVIA, tmp_path)


def roi_text(labels: NDArray[Any]) -> str:
    """The pixels of a label map as ENVI lists them."""
    height, width = labels.shape
    lines = ["; ENVI Output of ROIs (4.8)", f"; File Dimension: {width} x {height}"]
    points = []
    for value in range(1, 16):
        rows, columns = np.nonzero(labels == value)
        lines += [f"; ROI name: class {value}", f"; ROI npts: {len(rows)}"]
        points += [f"  1 {x + 1} {y + 1}" for y, x in zip(rows, columns, strict=True)]
    return "\n".join([*lines, *points])


PREFIX = "2013_IEEE_GRSS_DF_Contest_"


def write_houston_cube(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(
        folder / f"{PREFIX}CASI.tif",
        CUBE.transpose(2, 0, 1),
        planarconfig="separate",
        photometric="minisblack",
    )
    # another 2-D image of the scene's size lies beside it
    tifffile.imwrite(folder / f"{PREFIX}LiDAR.tif", np.zeros(SHAPE[:2], dtype=np.float32))


@pytest.mark.parametrize("kind", ["txt", "tif", "mixed"])
def test_houston_as_published(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "houston2013" / "2013_DFTC"
    write_houston_cube(folder)
    if kind == "tif":
        tifffile.imwrite(folder / f"{PREFIX}Samples_TR.tif", TRAIN.astype(np.uint8))
    else:
        (folder / f"{PREFIX}Samples_TR.txt").write_text(roi_text(TRAIN))
    if kind == "txt":
        (folder.parent / f"{PREFIX}Samples_VA.txt").write_text(roi_text(TEST))
    else:
        tifffile.imwrite(folder / f"{PREFIX}Samples_VA.tif", TEST.astype(np.uint8))
    scene = load_quietly(HOUSTON, tmp_path)
    assert np.array_equal(scene.cube, CUBE)
    assert_split(scene)


def test_houston_with_packed_maps(tmp_path: Path) -> None:
    write_houston_cube(tmp_path)
    packed = {"houston_gt_tr": TRAIN, "houston_gt_te": TEST}
    scipy.io.savemat(tmp_path / "houston_gt_tr_te.mat", packed)
    with pytest.warns(UserWarning, match="houston_gt_tr_te"):
        assert_split(load_scene(HOUSTON, tmp_path))


def test_houston_needs_both_maps(tmp_path: Path) -> None:
    write_houston_cube(tmp_path)
    with pytest.raises(
        SceneError, match=r"no training pixels .*Samples_TR\.txt or .*Samples_TR\.tif"
    ):
        load_scene(HOUSTON, tmp_path)
    (tmp_path / f"{PREFIX}Samples_TR.txt").write_text(roi_text(TRAIN))
    with pytest.raises(
        SceneError, match=r"no test pixels .*Samples_VA\.txt or .*by hand from https"
    ):
        load_scene(HOUSTON, tmp_path)


def test_houston_maps_are_the_contest_s(shared_data: Path, tmp_path: Path) -> None:
    for path in (shared_data / "houston2013").glob("*Samples*"):
        shutil.copy(path, tmp_path)
    info = replace(CATALOGUE["houston2013"], bands=1, wavelengths=None, rgb_bands=(0, 0, 0))
    np.save(tmp_path / "one_band.npy", np.arange(349 * 1905).reshape(349, 1905, 1))
    with pytest.warns(UserWarning, match="the cube is taken") as caught:
        scene = load_scene(info, tmp_path)
    assert len(caught) == 1
    assert scene.fixed_train is not None
    assert scene.fixed_test is not None
    assert np.count_nonzero(scene.fixed_train) == 2832
    assert np.count_nonzero(scene.fixed_test) == 12197
    assert np.count_nonzero(scene.labels) == 15029


def test_download_asks_only_for_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def fetch(info: SceneInfo, folder: Path, *, roles: list[str]) -> None:
        asked.append((folder.name, tuple(roles)))
        write_pavia(folder)

    monkeypatch.setattr("hsi_diffusion.scenes.load.download_scene", fetch)
    root = tmp_path / "new"
    assert np.array_equal(load_scene(PAVIA, root, download=True).cube, CUBE)
    (root / "pavia_university" / "PaviaU_gt.mat").unlink()
    load_scene(PAVIA, root, download=True)
    load_scene(PAVIA, root, download=True)
    everything = ("cube", "labels")
    expected = [everything, ("labels",), ()]
    assert asked == [("pavia_university", roles) for roles in expected]


def test_download_without_a_source_says_where_to_get_it(tmp_path: Path) -> None:
    info = replace(HOUSTON, files=HOUSTON.files_of("train_labels")[1:])
    with pytest.raises(DownloadError, match=r"by hand.*machinelearning.*no redistribution"):
        load_scene(info, tmp_path, download=True)


def test_indian_pines_is_the_published_file_and_not_its_8_bit_copy(shared_data: Path) -> None:
    scene = load_quietly("indian_pines", shared_data)
    assert scene.cube.shape == (145, 145, 200)
    assert scene.cube.dtype == np.dtype(np.uint16)
    counts = [46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93]
    assert np.bincount(scene.labels.ravel())[1:].tolist() == counts


def test_salinas_a_closes_the_gaps_of_its_class_values(shared_data: Path) -> None:
    scene = load_quietly("salinas_a", shared_data)
    assert (scene.cube.min(), scene.cube.max()) == (-9, 8373)
    assert np.bincount(scene.labels.ravel()).tolist() == [1790, 391, 1343, 616, 1525, 674, 799]
    raw = scipy.io.loadmat(shared_data / "salinas_a" / "SalinasA_gt.mat")["salinasA_gt"]
    assert np.array_equal(np.array([0, *scene.info.class_ids])[scene.labels], raw)


def test_scene_without_its_cube_says_so(shared_data: Path) -> None:
    with pytest.raises(SceneError, match=r"found no cube .*Salinas_corrected\.mat"):
        load_scene("salinas", shared_data)
