"""Presets: files over each other, and what changes for a scene and for few labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.recipes import (
    PRESETS,
    merge,
    parse_yaml,
    preset_for,
    read_preset,
    read_yaml,
)

if TYPE_CHECKING:
    from pathlib import Path


def folder_of(where: Path, files: dict[str, str]) -> Path:
    """A folder of recipes of one's own."""
    where.mkdir()
    for name, text in files.items():
        (where / f"{name}.yaml").write_text(text)
    return where


def test_a_preset_of_its_own_wins_over_the_one_for_all(tmp_path: Path) -> None:
    own = folder_of(tmp_path / "own", {"any": "seed: 1", "cpu": "seed: 2"})
    assert [read_preset(own, name)["seed"] for name in PRESETS] == [1, 2, 1]


def test_a_preset_is_laid_over_that_of_its_base(tmp_path: Path) -> None:
    one = folder_of(
        tmp_path / "one",
        {
            "quick": "{choice: {steps: 1}, classifier: {steps: 5, patch_size: 7}}",
            "any": "{choice: {steps: 2}, classifier: {steps: 50}}",
        },
    )
    two = folder_of(tmp_path / "two", {"any": f"{{base: {one}, classifier: {{steps: 6}}}}"})
    three = folder_of(tmp_path / "three", {"cpu": f"{{base: {two}, choice: {{steps: 3}}}}"})
    assert read_preset(two, "quick") == {
        "choice": {"steps": 1},
        "classifier": {"steps": 6, "patch_size": 7},
    }
    assert read_preset(three, "cpu") == {"choice": {"steps": 3}, "classifier": {"steps": 6}}
    (one / "any.yaml").write_text(f"base: {three}")
    with pytest.raises(ConfigurationError, match=r"its own base, got .*three -> .*one -> .*three$"):
        read_preset(three, "cpu")
    (one / "any.yaml").write_text("base: four")
    with pytest.raises(ConfigurationError, match=r"method must be one of .*, got 'four'"):
        read_preset(three, "cpu")
    (one / "any.yaml").write_text("base: svm")  # one of the library's
    assert read_preset(three, "cpu")["pretrain"] == {"denoiser": None}


def test_unknown_methods_and_presets_are_named(tmp_path: Path) -> None:
    own = folder_of(tmp_path / "own", {"cpu": ""})
    with pytest.raises(
        ConfigurationError, match=r"method must be one of cnn1d, .*, or a folder .*, got 'kn'"
    ):
        read_preset("kn", "cpu")
    with pytest.raises(ConfigurationError, match="preset must be one of quick, cpu, paper, got"):
        read_preset("svm", "papr")
    with pytest.raises(
        ConfigurationError, match=r"preset of .*own must be one of cpu, got 'paper'"
    ):
        read_preset(own, "paper")


@pytest.mark.parametrize(
    ("scene", "split", "steps", "padding"),
    [
        ("salinas", "0.1", 2, "zeros"),
        ("custom", "blocks", 5, "zeros"),
        ("salinas", "fields", 5, "zeros"),
        ("custom", "polygons", 5, "zeros"),
        ("custom", "images", 5, "zeros"),
        ("custom", "fixed", 1, "zeros"),
        ("custom", "10", 1, "reflect"),
        ("salinas", "10", 2, "reflect"),
        ("custom", "30", 1, "reflect"),
        ("custom", "31", 1, "zeros"),
        ("custom", "200", 1, "zeros"),
    ],
)
def test_sections_change_only_their_scene_and_their_kind_of_split(
    scene: str, split: str, steps: int, padding: str
) -> None:
    preset = {
        "pretrain": {"steps": 1, "padding": "zeros"},
        "scenes": {"salinas": {"pretrain": {"steps": 2}}},
        "few_shot": {"pretrain": {"padding": "reflect"}},
        "disjoint": {"pretrain": {"steps": 5}},
    }
    found = preset_for(preset, scene=scene, split=split)
    assert found == {"pretrain": {"steps": steps, "padding": padding}}


BASE: dict[str, Any] = {"class_path": "UNet2D", "init_args": {"channels": 8, "blocks": 2}}


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        ({"b": 1}, 2, 2),
        ({"b": 1}, {"c": 2}, {"b": 1, "c": 2}),
        ([1, 2], [3], [3]),
        (BASE, None, None),
        (BASE, "UNet3D", "UNet3D"),
        # arguments alone are laid over those of the part
        (BASE, {"channels": 4}, BASE | {"init_args": {"channels": 4, "blocks": 2}}),
        (BASE, {"init_args": {"blocks": 1}}, BASE | {"init_args": {"channels": 8, "blocks": 1}}),
        ("UNet2D", {"channels": 4}, {"class_path": "UNet2D", "init_args": {"channels": 4}}),
        # a class that is named starts anew, also where it is the same one
        (BASE, {"class_path": "UNet3D"}, {"class_path": "UNet3D"}),
        (BASE, {"class_path": "UNet2D", "init_args": {}}, BASE | {"init_args": {}}),
        (None, {"class_path": "UNet3D"}, {"class_path": "UNet3D"}),
    ],
)
def test_settings_are_laid_over_each_other(base: Any, changes: Any, expected: Any) -> None:
    given = {"a": base, "other": 5}
    assert merge(given, {"a": changes}) == {"a": expected, "other": 5}
    assert given == {"a": base, "other": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("- 1", "must hold a mapping"), (None, "there is no")],
)
def test_bad_files_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        read_yaml(file)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "cube.npy").write_bytes(b"\x93NUMPY")
    for path in (tmp_path / "cube.npy", tmp_path):
        with pytest.raises(ConfigurationError, match=r"can't be read .* the config\.yaml of a run"):
            read_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2E+4", -20000.0),
        ("1.0e-3", 0.001),
        ("10", 10),
        ("[5e1, 2]", [50.0, 2]),
        ("{a: 1e-3}", {"a": 0.001}),
        ("e3", "e3"),
        ("3d", "3d"),
        ("'1e-3'", "1e-3"),
        ("", None),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, value: object) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)
