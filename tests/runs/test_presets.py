from __future__ import annotations

from pathlib import Path

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import PRESETS
from hsi_diffusion.runs import (
    RunSettings,
    merge,
    parse_yaml,
    preset_for,
    read_preset,
    read_yaml,
)

CONFIGS = sorted((Path(__file__).parents[2] / "experiments" / "configs").glob("*/*.yaml"))


METHODS = sorted({file.parent.name for file in CONFIGS})


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_presets_are_valid_for_every_scene(method: str, name: str) -> None:
    preset = read_preset(CONFIGS[0].parents[1], method, name)
    for scene in (*preset.get("scenes", {}), "custom"):
        for split in ("0.1", "10"):
            settings = RunSettings.from_dict(preset_for(preset, scene=scene, split=split))
            assert settings.pretrain is None or settings.pretrain.steps > 0


def test_there_are_presets() -> None:
    names = {(file.parent.name, file.stem) for file in CONFIGS}
    assert {("spectraldiff", preset) for preset in PRESETS} <= names


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_every_preset(method: str, preset: str) -> None:
    found = read_preset(CONFIGS[0].parents[1], method, preset)
    assert (found["method"], found["preset"]) == (method, preset)


def test_a_preset_of_its_own_wins_over_the_one_for_all(tmp_path: Path) -> None:
    (tmp_path / "svm").mkdir()
    for name, seed in (("any", 1), ("cpu", 2)):
        (tmp_path / "svm" / f"{name}.yaml").write_text(f"seed: {seed}")
    seeds = [read_preset(tmp_path, "svm", name)["seed"] for name in PRESETS]
    assert seeds == [1, 2, 1]


def test_a_preset_is_laid_over_that_of_its_base(tmp_path: Path) -> None:
    for method, name, text in (
        ("one", "quick", "{seed: 1, classifier: {steps: 5, patch_size: 7}}"),
        ("one", "any", "{seed: 2, classifier: {steps: 50}}"),
        ("two", "any", "{base: one, classifier: {steps: 6}}"),
        ("three", "cpu", "{base: two, seed: 3}"),
    ):
        (tmp_path / method).mkdir(exist_ok=True)
        (tmp_path / method / f"{name}.yaml").write_text(text)
    assert read_preset(tmp_path, "two", "quick") == {
        "method": "two",
        "preset": "quick",
        "seed": 1,
        "classifier": {"steps": 6, "patch_size": 7},
    }
    assert read_preset(tmp_path, "three", "cpu")["classifier"] == {"steps": 6}
    assert read_preset(tmp_path, "three", "cpu")["seed"] == 3
    (tmp_path / "one" / "any.yaml").write_text("base: three")
    with pytest.raises(ConfigurationError, match="its own base, got three -> two -> one -> three"):
        read_preset(tmp_path, "three", "cpu")
    (tmp_path / "one" / "any.yaml").write_text("base: four")
    with pytest.raises(ConfigurationError, match="method must be one of one, three, two, got 'fo"):
        read_preset(tmp_path, "three", "cpu")


def test_unknown_methods_and_presets_are_named(tmp_path: Path) -> None:
    (tmp_path / "svm").mkdir()
    (tmp_path / "svm" / "cpu.yaml").touch()
    with pytest.raises(ConfigurationError, match="method must be one of svm, got 'knn'"):
        read_preset(tmp_path, "knn", "cpu")
    with pytest.raises(ConfigurationError, match="preset must be one of quick, cpu, paper"):
        read_preset(tmp_path, "svm", "papr")
    with pytest.raises(ConfigurationError, match="preset of svm must be one of cpu, got 'paper'"):
        read_preset(tmp_path, "svm", "paper")


@pytest.mark.parametrize(
    ("scene", "split", "steps", "padding"),
    [
        ("salinas", "0.1", 2, "zeros"),
        ("custom", "blocks", 1, "zeros"),
        ("custom", "10", 1, "reflect"),
        ("salinas", "10", 2, "reflect"),
        ("custom", "30", 1, "reflect"),
        ("custom", "31", 1, "zeros"),
        ("custom", "200", 1, "zeros"),
    ],
)
def test_sections_change_only_their_scene_and_few_labels(
    scene: str, split: str, steps: int, padding: str
) -> None:
    preset = {
        "pretrain": {"steps": 1, "padding": "zeros"},
        "scenes": {"salinas": {"pretrain": {"steps": 2}}},
        "few_shot": {"pretrain": {"padding": "reflect"}},
    }
    found = preset_for(preset, scene=scene, split=split)
    assert found == {"pretrain": {"steps": steps, "padding": padding}}


def test_merge_replaces_what_is_no_mapping() -> None:
    assert merge({"a": {"b": 1}}, {"a": 2}) == {"a": 2}


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
