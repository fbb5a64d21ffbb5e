"""A grid of runs: shared pretrainings, failures left behind, nothing repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hsi_diffusion.benchmarks import cells
from hsi_diffusion.benchmarks.cells import Cell
from hsi_diffusion.benchmarks.grid import CellResult, run_grid
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.recipes import merge
from hsi_diffusion.runs import RunSettings
from tests.benchmarks.tiny import MNF, TINY

if TYPE_CHECKING:
    from pathlib import Path


def cell(row: str, changes: dict[str, Any] | None = None, *, seed: int = 0) -> Cell:
    settings = merge(merge(TINY, {"seed": seed}), changes or {})
    return Cell(row, "8", RunSettings.from_dict(settings))


def test_seeds_may_share_one_pretraining(tmp_path: Path) -> None:
    own, other = cell("preset", seed=1), cell("preset", seed=2)
    shared = replace(other, pretraining_seed=1)
    assert shared.name != other.name
    results = run_grid([own, shared], tmp_path, say=lambda _: None)
    assert [result.error for result in results] == [None, None]
    (folder,) = (tmp_path / "pretrained").iterdir()
    assert folder == own.pretraining_folder(tmp_path / "pretrained")
    assert results[0].pretraining_seconds == results[1].pretraining_seconds is not None
    assert results[0].metrics != results[1].metrics  # another split


def test_cells_share_pretrainings_and_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [
        cell("preset"),
        cell("wide patches", {"classifier": {"patch_size": 7}}),
        cell("broken", {"features": {"levels": [9]}}),
        cell("spread labels", {"spreading": {"label_weight": 1.0, "space": {"transform": MNF}}}),
        cell("other loss", {"pretrain": {"losses": {"l2": 1.0}}}),
    ]
    said: list[str] = []
    first = run_grid(wanted, tmp_path, say=said.append)
    assert [result.error is None for result in first] == [True, True, False, True, True]
    assert "levels" in str(first[2].error) or "indices" in str(first[2].error)
    assert len(list((tmp_path / "pretrained").glob("*/checkpoints/pretrain.ckpt"))) == 2
    assert first[0].pretraining_seconds == first[1].pretraining_seconds
    assert all(
        r.metrics is not None and "overall_accuracy" in r.metrics
        for r in (first[0], first[3], first[4])
    )
    assert sum("failed" in line for line in said) == 1

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("this was run before")

    monkeypatch.setattr(cells, "pretrain_alone", never)
    monkeypatch.setattr(cells, "run", never)
    assert first[3].metrics != first[0].metrics
    again = run_grid([wanted[0], wanted[1], wanted[4]], tmp_path, say=said.append)
    assert [r.metrics for r in again] == [first[0].metrics, first[1].metrics, first[4].metrics]


def test_an_interrupted_cell_gives_what_an_uninterrupted_one_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = run_grid([cell("preset")], tmp_path / "whole", say=lambda _: None)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hsi_diffusion.classifiers.NetworkClassifier.predict", stop)
        with pytest.raises(KeyboardInterrupt):
            run_grid([cell("preset")], tmp_path / "cut", say=lambda _: None)
    (resumed,) = run_grid([cell("preset")], tmp_path / "cut", say=lambda _: None)
    assert whole.metrics is not None
    assert resumed.metrics is not None
    for metrics in (whole.metrics, resumed.metrics):
        del metrics["seconds"], metrics["costs"], metrics["resumed"]
    assert resumed.metrics == whole.metrics


def test_a_stopped_cell_is_begun_again_where_its_pretraining_lies_elsewhere_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hsi_diffusion.classifiers.NetworkClassifier.predict", stop)
        with pytest.raises(KeyboardInterrupt):
            run_grid([cell("preset")], tmp_path / "before", say=lambda _: None)
    moved = (tmp_path / "before").rename(tmp_path / "after")
    (begun,) = (moved / "cells").iterdir()
    followed = begun / "wandb" / "offline-run-1" / "run-1.wandb"
    followed.parent.mkdir(parents=True)
    followed.touch()
    (again,) = run_grid([cell("preset")], moved, say=lambda _: None)
    assert again.error is None
    assert again.metrics is not None
    assert not again.metrics["resumed"]
    assert followed.is_file(), "it may not have been synchronised yet"


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("benchmarks.cells.pretrain_alone", "pretraining-"),
        ("modules.DiffusionPretrainModule.extract_features", "preset-"),
    ],
)
def test_an_error_in_the_code_is_kept_for_the_reader_until_the_cell_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, name: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by zero")

    with monkeypatch.context() as patch:
        patch.setattr(f"hsi_diffusion.{stage}", fail)
        (failed,) = run_grid([cell("preset")], tmp_path, say=lambda _: None)
    assert "ZeroDivisionError: by zero" in str(failed.error)
    (trace,) = (tmp_path / "errors").glob(f"{name}*.txt")
    assert str(trace) in str(failed.error)
    assert "raise ZeroDivisionError" in trace.read_text(encoding="utf-8")
    (again,) = run_grid([cell("preset")], tmp_path, say=lambda _: None)
    assert again.error is None
    assert again.metrics is not None
    assert not trace.exists()


def test_grids_may_share_their_pretrainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    (first,) = run_grid([cell("preset")], tmp_path / "a", pretrained=shared, say=lambda _: None)
    assert not (tmp_path / "a" / "pretrained").exists()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("this was pretrained before")

    monkeypatch.setattr(cells, "pretrain_alone", never)
    other = cell("other", {"classifier": {"patch_size": 7}})
    (second,) = run_grid([other], tmp_path / "b", pretrained=shared, say=lambda _: None)
    assert second.error is None
    assert second.pretraining_seconds == first.pretraining_seconds is not None
    assert run_grid([other], tmp_path / "b", only=(), pretrained=shared) == [second]


def test_what_is_there_is_read_without_running_anything(tmp_path: Path) -> None:
    first, second = cell("preset"), cell("other", {"classifier": {"patch_size": 7}})
    (ran,) = run_grid([first], tmp_path, say=lambda _: None)
    known, unknown = run_grid([first, second], tmp_path, only=())
    assert (known, unknown) == (ran, CellResult(second, None, None, ran.pretraining_seconds))
    assert not list(tmp_path.glob("cells/*/features"))  # they would fill a disk


def test_the_time_of_a_pretraining_that_was_stopped_is_not_known(tmp_path: Path) -> None:
    place = cell("preset").pretraining_folder(tmp_path / "pretrained")
    assert place is not None
    (place / "checkpoints").mkdir(parents=True)  # as a grid leaves it that was stopped early
    (ran,) = run_grid([cell("preset")], tmp_path, say=lambda _: None)
    assert ran.metrics is not None
    assert ran.pretraining_seconds is None


def test_settings_are_checked_before_anything_is_pretrained(tmp_path: Path) -> None:
    (result,) = run_grid(
        [cell("broken", {"features": {"timesteps": [700]}})], tmp_path, say=lambda _: None
    )
    assert "700" in str(result.error)
    assert list(tmp_path.iterdir()) == []


def test_a_pretraining_has_one_folder_for_all_runs_that_can_share_it(tmp_path: Path) -> None:
    def place(changes: dict[str, Any]) -> Path:
        folder = cell("any", changes).pretraining_folder(tmp_path)
        assert folder is not None
        return folder

    own = place({})
    assert own.parent == tmp_path
    assert place({"classifier": {"steps": 9}, "split": "5"}) == own
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"simulated": {"bands": 17}},
        {"pretrain": {"steps": 4}},
        {"pretrain": {"prediction": "noise"}},
        {"scene": None, "cube": "image.npy"},
        {"scene": None, "cube": "image.npy", "nodata": -1},
        {"scene": None, "cube": "image.npy", "sample": 99},
    ]
    assert len({own, *map(place, others)}) == 1 + len(others)


def test_names_differ_with_the_settings() -> None:
    names = {cell("a").name, cell("a", seed=1).name, cell("b").name}
    names.add(cell("a", {"classifier": {"steps": 9}}).name)
    assert len(names) == 4
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


def test_seeds_share_the_pixels_of_some_splits() -> None:
    def shared(split: str) -> bool:
        return cell("any", {"split": split}).has_one_split

    assert all(map(shared, ("fixed", "images", "images:b", "stored.npz")))
    assert not any(map(shared, ("10", "0.1", "blocks", "fields:0.2", "polygons")))


def test_names_are_as_long_as_file_systems_take(tmp_path: Path) -> None:
    assert cell("short").name.startswith("short-8-seed0-")
    for letter in ("x", "ä"):
        long = cell(letter * 300)
        (tmp_path / "errors").mkdir(exist_ok=True)
        (tmp_path / "errors" / f"{long.name}.txt").touch()
        assert long.name != cell(letter * 300, seed=1).name
    (known,) = run_grid([cell("x" * 300)], tmp_path, only=())
    assert known.metrics is None


def test_processes_that_were_started_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "process_rank", lambda: 1)
    with pytest.raises(ConfigurationError, match=r"started once, not with torchrun"):
        run_grid([cell("preset")], tmp_path)


def test_several_devices_are_refused(tmp_path: Path) -> None:
    several = replace(cell("preset"), settings=replace(cell("preset").settings, devices=2))
    with pytest.raises(ConfigurationError, match="devices and nodes must be 1"):
        run_grid([several], tmp_path)


def test_a_run_that_had_only_begun_is_begun_again(tmp_path: Path) -> None:
    """A process that was killed while it wrote its first file leaves something without a name."""
    folder = tmp_path / "cells" / cell("preset").name
    folder.mkdir(parents=True)
    (folder / ".config-0123456789abcdef.yaml").write_text("seed", encoding="utf-8")
    (ran,) = run_grid([cell("preset")], tmp_path, say=lambda _: None)
    assert (ran.error, ran.metrics is None) == (None, False)
    assert sorted(path.name for path in folder.glob(".*")) == []
