"""Where a lead comes from, of runs whose maps are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion import make_split, runs
from hsi_diffusion.patches import field_map
from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from hsi_diffusion import Scene, Split

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    return load_script(repository, "lead_by_field")


def settings(seed: int) -> runs.RunSettings:
    simulated = {"height": 60, "width": 60, "bands": 4, "num_classes": 3, "seed": 1}
    return runs.RunSettings.from_dict({"simulated": simulated, "split": "fields", "seed": seed})


def write(folder: Path, seed: int, split: Split, found: NDArray[np.int64]) -> str:
    folder.mkdir(parents=True)
    settings(seed).save(folder / "config.yaml")
    split.save(folder / "split.npz")
    np.save(folder / "classification_map.npy", found)
    return str(folder)


def cells(text: str, start: str) -> list[list[str]]:
    """The rows of the tables that begin with a cell."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [line for line in lines if line[0] == start]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return runs.read_scene(settings(0))


def test_a_lead_of_one_class_is_gone_without_it(
    script: ModuleType, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, shares = scene.labels, []
    spoilt = np.where(labels == 2, 1, labels)
    first, second = [], []
    for seed in SEEDS:
        split = make_split(labels, "fields", patch_size=1, seed=seed)
        shares.append(np.isin(split.test, np.flatnonzero(labels == 2)).mean())
        first.append(write(tmp_path / "first" / str(seed), seed, split, labels))
        second.append(write(tmp_path / "second" / str(seed), seed, split, spoilt))
    out = tmp_path / "lead.md"
    assert script.main(["--first", *first, "--second", *second, "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    whole, without, *_ = cells(text, "first - second")
    assert whole[1:3] == ["all test pixels", "3"]
    expected = f"{100 * np.mean(shares):+.2f} ± {100 * np.std(shares, ddof=1):.2f}"
    assert whole[3] == expected
    name = scene.info.class_names[1]
    assert without[1] == f"all test pixels, without {name}"
    assert without[3] == "+0.00 ± 0.00"
    [points] = [row for row in cells(text, name) if "." in row[1]]
    # the lead is all of its test pixels
    assert float(points[2]) == pytest.approx(float(points[1]), abs=0.06)
    sizes = sorted(np.bincount(field_map(labels)[labels == 2])[1:].tolist())
    fields = [row for row in cells(text, name) if "." not in row[1]]
    assert fields
    assert {int(row[1]) for row in fields} <= set(sizes)
    assert {tuple(row[3:]) for row in fields} == {("100", "0")}


def test_a_class_that_is_there_is_left_out_where_none_has_a_lead(
    script: ModuleType, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = make_split(scene.labels, "fields", patch_size=1, seed=0)
    # behind in all classes, least in the second one
    spoilt = np.where(scene.labels == 2, scene.labels, 0)
    spoilt.ravel()[split.test[scene.labels.ravel()[split.test] == 2][:1]] = 1
    first = write(tmp_path / "first", 0, split, spoilt)
    second = write(tmp_path / "second", 0, split, scene.labels)
    assert script.main(["--first", first, "--second", second]) == 0
    [_, without, *_] = cells(capsys.readouterr().out, "first - second")
    assert without[1] == f"all test pixels, without {scene.info.class_names[1]}"
    assert without[3] == "-100.00"


def test_runs_that_cannot_be_paired_are_refused(
    script: ModuleType, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, seed: int, drawn: int) -> str:
        split = make_split(scene.labels, "fields", patch_size=1, seed=drawn)
        return write(tmp_path / name, seed, split, scene.labels)

    one, other, apart = run("one", 0, 0), run("other", 0, 1), run("apart", 1, 1)
    assert script.main(["--first", one, "--second", other]) == 2
    assert "have different test pixels" in capsys.readouterr().err
    assert script.main(["--first", one, "--second", apart]) == 2
    assert "must have runs of the same seeds" in capsys.readouterr().err
    again = run("again", 0, 0)
    assert script.main(["--first", one, again, "--second", other]) == 2
    assert f"{one} and {again} both have seed 0" in capsys.readouterr().err
    assert script.main(["--first", one]) == 2
    assert "control_map.npy is missing" in capsys.readouterr().err


def test_a_run_is_compared_with_its_own_control(
    script: ModuleType, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = make_split(scene.labels, "fields", patch_size=1, seed=0)
    run = write(tmp_path / "run", 0, split, scene.labels)
    np.save(tmp_path / "run" / "control_map.npy", np.ones_like(scene.labels))
    assert script.main(["--first", run]) == 0
    other = 100 * (scene.labels.ravel()[split.test] != 1).mean()
    [whole, *_] = cells(capsys.readouterr().out, "first - second")
    assert whole[3] == f"{other:+.2f}"
