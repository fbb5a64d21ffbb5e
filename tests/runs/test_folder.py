"""A run's folder: nothing is lost, and nothing half-written stands in the way."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hsi_diffusion.errors import ConfigurationError, OutputError, OutputExistsError
from hsi_diffusion.recipes import merge
from hsi_diffusion.runs import RunSettings
from hsi_diffusion.runs.folder import (
    check_output,
    check_resumable,
    prepare_output,
    remove_if_only_begun,
)

BEGUN = ("config.yaml", "logs/pretrain/metrics.csv")
STOPPED = (*BEGUN, "checkpoints/pretrain.ckpt")
FINISHED = (
    *STOPPED,
    "metrics.json",
    "report.md",
    "split.png",
    "features/1.h5",
    f".split-{'0a' * 8}.npz",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


def fill(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("content")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_is_made_and_only_when_asked(folder: Path) -> None:
    check_output(folder, overwrite=False)
    assert not folder.parent.exists()
    prepare_output(folder, overwrite=False)
    assert list(folder.iterdir()) == []
    prepare_output(folder, overwrite=False)  # an empty one is as good


@pytest.mark.parametrize("names", [BEGUN, STOPPED, FINISHED])
def test_a_run_is_replaced_only_when_asked(folder: Path, names: tuple[str, ...]) -> None:
    fill(folder, names)
    with pytest.raises(OutputExistsError, match=r"--out.*--overwrite") as caught:
        prepare_output(folder, overwrite=False)
    assert ("did not finish" in str(caught.value)) == (names is not FINISHED)
    check_output(folder, overwrite=True)
    assert files(folder) == set(names)
    prepare_output(folder, overwrite=True)
    assert files(folder) == set()


def test_what_wandb_has_not_sent_yet_is_never_removed(folder: Path) -> None:
    offline = "wandb/offline-run-20261129_120000-abc/run-abc.wandb"
    fill(folder, (*FINISHED, "wandb/run.id", offline))
    prepare_output(folder, overwrite=True)
    assert files(folder) == {offline}, "and the next run is another one"
    fill(folder, BEGUN)
    remove_if_only_begun(folder)
    assert files(folder) == {offline}
    prepare_output(folder, overwrite=False)  # it stands in nobody's way
    assert files(folder) == {offline}


def test_a_config_of_the_users_is_never_taken_for_a_run(folder: Path) -> None:
    own = ("config.yaml", "logs/notes.txt")
    fill(folder, own)
    with pytest.raises(OutputExistsError, match=r"is not empty; name another one with --out"):
        prepare_output(folder, overwrite=False)
    assert files(folder) == set(own)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("thesis.tex",), r"holds files but no config\.yaml"),
        ((*FINISHED, "thesis.tex"), r"holds what no run writes \(thesis\.tex\)"),
        (("config.yaml", "src/model.py"), r"holds what no run writes \(src\)"),
        (("config.yaml", ".git/HEAD"), r"holds what no run writes \(\.git\)"),
    ],
)
def test_only_runs_are_ever_replaced(folder: Path, names: tuple[str, ...], message: str) -> None:
    fill(folder, names)
    with pytest.raises(OutputExistsError, match=message):
        prepare_output(folder, overwrite=True)
    remove_if_only_begun(folder)
    assert files(folder) == set(names)


def test_what_the_new_run_reads_is_not_removed(folder: Path) -> None:
    fill(folder, FINISHED)
    checkpoint = folder / "checkpoints" / "pretrain.ckpt"
    with pytest.raises(OutputExistsError, match=r"pretrain\.ckpt lies in the output folder"):
        prepare_output(folder, overwrite=True, inputs=[folder.parent, checkpoint])
    assert files(folder) == set(FINISHED)


def test_a_link_to_a_folder_is_emptied_and_stays(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    fill(disk, FINISHED)
    folder.parent.mkdir()
    folder.symlink_to(disk)
    prepare_output(folder, overwrite=True)
    assert folder.is_symlink()
    assert files(disk) == set()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputExistsError, match="is a file; name a folder"):
        prepare_output(tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError, match=r"file is not a folder"):
        prepare_output(tmp_path / "file" / "run", overwrite=False)


def test_a_folder_that_may_not_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(OutputError, match="you may not write there"):
            check_output(folder, overwrite=False)

    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(OutputError, match=r"can't make .*: Permission denied; name another"):
            prepare_output(folder, overwrite=False)


def test_only_what_has_just_begun_is_removed(folder: Path) -> None:
    fill(folder, BEGUN)
    remove_if_only_begun(folder)
    assert not folder.exists()
    remove_if_only_begun(folder)
    fill(folder, STOPPED)
    remove_if_only_begun(folder)
    assert files(folder) == set(STOPPED)


def test_a_run_goes_on_with_its_own_settings_only(folder: Path) -> None:
    plain: dict[str, Any] = {"pretrain": {"steps": 9}, "classifier": {"warmup": 0.1}}
    settings = RunSettings.from_dict(plain)
    with pytest.raises(OutputError, match=r"holds no config\.yaml"):
        check_resumable(folder, settings)
    folder.mkdir(parents=True)
    settings.save(folder / "config.yaml")
    check_resumable(folder, settings)
    check_resumable(folder, replace(settings, logger="wandb", group="others"))  # only followed
    changes = {
        "pretrain": {"steps": 8},
        "classifier": {"members": 2, "network": "CNN2D"},
    }
    changed = RunSettings.from_dict(merge(plain, changes))
    names = r"\(classifier\.members, classifier\.network\.class_path, pretrain\.steps\)"
    with pytest.raises(ConfigurationError, match=names):
        check_resumable(folder, changed)
    (folder / "metrics.json").touch()
    with pytest.raises(OutputError, match="is finished"):
        check_resumable(folder, settings)


def test_a_checkpoint_is_the_same_however_it_is_spelled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings(checkpoint: str | None) -> RunSettings:
        return RunSettings(pretrained=checkpoint)

    monkeypatch.chdir(tmp_path)
    folder.mkdir(parents=True)
    settings("old/pretrain.ckpt").save(folder / "config.yaml")
    for spelling in (str(tmp_path / "old" / "pretrain.ckpt"), "runs/../old/pretrain.ckpt"):
        check_resumable(folder, settings(spelling))
    for other in ("older/pretrain.ckpt", None):
        with pytest.raises(ConfigurationError, match=r"\(pretrained\)"):
            check_resumable(folder, settings(other))
