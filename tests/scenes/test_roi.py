from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from hsi_diffusion.errors import FileFormatError
from hsi_diffusion.scenes import (
    load_custom_scene,
    open_raster,
    read_array,
    read_labels,
    read_roi,
)

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
; ENVI Output of ROIs (4.8) [Tue Oct 31 19:11:26 2023]
; Number of ROIs: 2
; File Dimension: 4 x 3
;
; ROI name: grass healthy
; ROI rgb value: {0, 205, 0}
; ROI npts: 2
;
; ROI name: water
; ROI rgb value: {0, 255, 255}
; ROI npts: 1
;   ID  X  Y  Map X  Map Y
     1  1  1  271460.5  3290891.1
     2  4  1  271463.0  3290891.1

     1  2  3  271461.0  3290889.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "points.txt"
    path.write_text(text)
    return path


def test_points_become_a_label_map(tmp_path: Path) -> None:
    labels = read_roi(write(tmp_path, TEXT))
    assert labels.dtype == np.int64
    assert labels.tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 2, 0, 0]]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_endings_and_repeated_points_do_not_matter(tmp_path: Path, ending: str) -> None:
    text = TEXT.replace("npts: 2", "npts: 3").replace("     2  4", "     2  1  1\n     3  4")
    path = tmp_path / "points.txt"
    path.write_bytes(text.replace("\n", ending).encode())
    assert np.count_nonzero(read_roi(path)) == 3


def test_empty_regions_are_allowed(tmp_path: Path) -> None:
    header = TEXT[: TEXT.index("     1")]
    text = header.replace("npts: 2", "npts: 0").replace("npts: 1", "npts: 0")
    assert not read_roi(write(tmp_path, text)).any()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("; ENVI Output of ROIs", "; something", "is not an ENVI 'Output of ROIs' text"),
        ("; File Dimension: 4 x 3\n", "", "must give the file dimension"),
        ("; ROI npts: 1\n", "", "a name and a number of points for each region"),
        ("npts: 1", "npts: 5", "promises 7 points in 2 regions, got 3; .* cut short"),
        ("     2  4  1", "     2  5  1", r"1\.\.4 x 1\.\.3, got 1 outside.* column 5, row 1"),
        ("     1  2  3", "     1  2  0", "column 2, row 0"),
        ("     1  2  3", "     1  4  1", "one region, got 1 in two, the first at column 4, row 1"),
        ("     1  2  3", "     1  2  x", "each point must be a line of number, column and row"),
        ("     1  2  3  271461.0  3290889.0", "     1  2", "each point must be a line.* cut short"),
    ],
)
def test_broken_texts(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(FileFormatError, match=message):
        read_roi(write(tmp_path, TEXT.replace(old, new)))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no file"):
        read_roi(tmp_path / "points.txt")


@pytest.mark.parametrize("mark", ["", "\ufeff"])  # editors on Windows put the second in front
def test_is_read_like_any_other_map(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path, mark + TEXT)
    assert read_array(path, ndim=2).tolist() == read_roi(path).tolist()


def test_houston_test_pixels_are_those_of_the_published_map(shared_data: Path) -> None:
    stem = shared_data / "houston2013" / "2013_IEEE_GRSS_DF_Contest_Samples_VA"
    labels = read_roi(stem.with_suffix(".txt"))
    assert np.array_equal(labels, tifffile.imread(stem.with_suffix(".tif")))


def test_regions_keep_their_names_and_colours(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).random((3, 4, 5))
    labels = read_labels(write(tmp_path, TEXT), open_raster(cube))
    assert labels.names == {1: "grass healthy", 2: "water"}
    assert labels.palette == {1: (0, 205, 0), 2: (0, 255, 255)}
    info = load_custom_scene(cube, write(tmp_path, TEXT)).info
    assert (info.class_names, info.palette[1]) == (("grass healthy", "water"), (0, 255, 255))
    for text in (TEXT.replace("water", "grass healthy"), TEXT.replace(" water", "")):
        assert read_labels(write(tmp_path, text), open_raster(cube)).names == {}
    text = TEXT.replace("; ROI rgb value: {0, 205, 0}\n", "")
    assert read_labels(write(tmp_path, text), open_raster(cube)).palette == {}
