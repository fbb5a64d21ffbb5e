from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes import SceneInfo, SourceFile

INFO = SceneInfo(
    name="toy",
    title="Toy",
    height=3,
    width=4,
    bands=5,
    wavelengths=(400.0, 500.0, 600.0, 590.0, 700.0),
    class_names=("a", "b"),
    class_ids=(1, 7),
    palette=((1, 2, 3), (255, 0, 0)),
    rgb_bands=(4, 2, 0),
)
CUBE = SourceFile(name="cube.tif", urls=("https://x/cube.tif",), sha256=None, size=3, role="cube")


def test_sizes_follow_from_the_facts() -> None:
    assert INFO.shape == (3, 4, 5)
    assert INFO.num_classes == 2


def test_facts_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        INFO.height = 4  # type: ignore[misc]


def test_roles_leave_archives_aside_and_come_once() -> None:
    labels = replace(CUBE, name="labels.tif", role="labels")
    archive = replace(CUBE, name="all.zip", role="archive")
    info = replace(INFO, files=(archive, CUBE, labels, replace(labels, name="labels.txt")))
    assert info.roles == ("cube", "labels")
    assert [file.name for file in info.files_of("labels")] == ["labels.tif", "labels.txt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "height must be at least 1, got 0"),
        ({"bands": -1, "wavelengths": None}, "bands must be at least 1, got -1"),
        ({"wavelengths": (1.0,)}, r"wavelengths must have 5 entries \(one per band\), got 1"),
        ({"class_ids": (1,)}, r"class_ids must have 2 entries \(one per class name\), got 1"),
        ({"palette": ()}, r"palette must have 2 entries \(one per class name\), got 0"),
        ({"class_names": ("a", "a")}, "class_names must differ from one another, got 'a' more"),
        ({"class_ids": (7, 1)}, "class_ids must be ascending"),
        ({"class_ids": (1, 1)}, "class_ids must be ascending"),
        ({"class_ids": (0, 1)}, "0 means unlabelled"),
        ({"palette": ((0, 0, 256), (0, 0, 0))}, r"palette must hold \(red, green, blue\)"),
        ({"palette": ((0, 0), (0, 0, 0))}, r"palette must hold \(red, green, blue\)"),
        ({"rgb_bands": (0, 1, 5)}, "rgb_bands must be bands from 0 to 4"),
        ({"rgb_bands": (0, 1)}, "rgb_bands must have 3 entries"),
        ({"split_class_order": (1, 1)}, "split_class_order must hold each class"),
        (
            {"files": (replace(CUBE, archive="all.zip", member="cube.tif"),)},
            "'all.zip', which must be one of the scene's files",
        ),
    ],
)
def test_contradicting_facts_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        replace(INFO, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"archive": "all.zip"}, "archive and member together"),
        ({"sha256": "A" * 64}, "64 lower-case hexadecimal digits"),
        ({"sha256": "abc"}, "64 lower-case hexadecimal digits"),
    ],
)
def test_source_file_refuses_half_facts(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SceneError, match=message):
        replace(CUBE, **change)
