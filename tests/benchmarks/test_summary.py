from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hsi_diffusion.benchmarks.summary import summarise
from hsi_diffusion.runs import RunSettings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def write_run(
    folder: Path,
    *,
    seed: int,
    split: str,
    accuracy: float,
    control: bool = True,
    pretrained: bool = True,
    changes: dict[str, Any] | None = None,
) -> str:
    folder.mkdir()
    settings: dict[str, Any] = {"seed": seed, "split": split, **(changes or {})}
    if not pretrained:
        settings["pretrain"] = {"denoiser": None}
    RunSettings.from_dict(settings).save(folder / "config.yaml")
    figures = dict.fromkeys(("overall_accuracy", "average_accuracy", "kappa"), accuracy)
    metrics = {**figures, "seconds": {"a": 60.0, "b": 30.0 * (seed + 1)}}
    if control:
        metrics["raw_bands"] = figures
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return str(folder)


def test_groups_runs_by_all_but_the_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        write_run(tmp_path / "a", seed=1, split="0.1", accuracy=0.90),
        write_run(tmp_path / "b", seed=0, split="0.1", accuracy=0.94),
        write_run(tmp_path / "c", seed=0, split="blocks", accuracy=0.5),
        str(tmp_path / "unfinished"),
    ]
    assert summarise(folders) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == 2 + 4
    # sample standard deviation of 90 and 94: sqrt(8)
    assert lines[2].split(" | ")[3:6] == ["0, 1", "diffusion features", "92.00 ± 2.83"]
    assert "1.5 to 2.0 min" in lines[2]
    assert lines[4].split(" | ")[1] == "blocks"
    assert " 50.00 |" in lines[4]
    assert "left out" in printed.err


def test_a_run_without_a_control_has_no_row_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        write_run(tmp_path / "a", seed=0, split="5", accuracy=0.7, control=False),
        write_run(tmp_path / "b", seed=0, split="10", accuracy=0.8, control=False),
        write_run(tmp_path / "c", seed=1, split="10", accuracy=0.9),
    ]
    assert summarise(folders) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[3:6] for line in lines] == [
        ["0", "diffusion features", "70.00"],
        ["0, 1", "diffusion features", "85.00 ± 7.07"],
        ["1", "raw bands", "90.00"],
    ]


def test_a_baseline_is_on_raw_bands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(name: str, seed: int, accuracy: float, *, pretrained: bool) -> str:
        return write_run(
            tmp_path / name,
            seed=seed,
            split="10",
            accuracy=accuracy,
            control=pretrained,
            pretrained=pretrained,
        )

    folders = [
        run("a", 0, 0.7, pretrained=False),
        run("b", 1, 0.8, pretrained=False),
        run("c", 0, 0.9, pretrained=True),
    ]
    assert summarise(folders) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[3:6] for line in lines] == [
        ["0, 1", "raw bands", "75.00 ± 7.07"],
        ["0", "diffusion features", "90.00"],
        ["0", "raw bands", "90.00"],
    ]
    assert "1.5 to 2.0 min" in lines[0][-1]


def write_alone(folder: Path, seed: int, accuracy: float, changes: dict[str, Any]) -> str:
    """A run without a control."""
    return write_run(
        folder, seed=seed, split="10", accuracy=accuracy, control=False, changes=changes
    )


def test_runs_with_other_settings_are_kept_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, seed: int, accuracy: float, **changes: Any) -> str:
        return write_alone(tmp_path / name, seed, accuracy, changes)

    longer = {"classifier": {"steps": 7}, "pretrain": {"steps": 9}}
    folders = [
        run("a", 0, 0.7),
        run("b", 1, 0.9, logger="wandb", group="mine", root="elsewhere"),
        run("c", 1, 0.5, **longer),
        run("d", 2, 0.6, pretrained="one.ckpt"),
        run("e", 3, 0.6, pretrained="two.ckpt"),
    ]
    assert summarise(folders) == 0
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    usual = "classifier.steps=1000; pretrain.steps=1000; pretrained={}"
    assert [line[2:6] for line in lines] == [
        [
            f"spectraldiff, quick; {usual.format(None)}",
            "0, 1",
            "diffusion features",
            "80.00 ± 14.14",
        ],
        [
            "spectraldiff, quick; classifier.steps=7; pretrain.steps=9; pretrained=None",
            "1",
            "diffusion features",
            "50.00",
        ],
        [
            f"spectraldiff, quick; {usual.format('given')}",
            "2, 3",
            "diffusion features",
            "60.00 ± 0.00",
        ],
    ]


def test_a_seed_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(name: str, seed: int, accuracy: float, checkpoint: str | None = None) -> str:
        return write_alone(tmp_path / name, seed, accuracy, {"pretrained": checkpoint})

    folders = [
        run("a", 0, 0.7),
        run("b", 0, 0.7),
        run("c", 1, 0.9),
        run("d", 0, 0.5, "one.ckpt"),
        run("e", 0, 0.6, "two.ckpt"),
    ]
    assert summarise([*folders, folders[0]]) == 0
    printed = capsys.readouterr()
    lines = [line.split(" | ") for line in printed.out.splitlines()[2:]]
    assert [line[3:6] for line in lines] == [
        ["0, 1", "diffusion features", "80.00 ± 14.14"],
        ["0", "diffusion features", "50.00"],
    ]
    assert printed.err.splitlines() == [
        f"left out: {folders[1]} repeats seed 0 of {folders[0]}",
        f"left out: {folders[4]} repeats seed 0 of {folders[3]}",
        f"left out: {folders[0]} repeats seed 0 of {folders[0]}",
    ]


def test_what_a_run_does_not_know_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(split: str, seed: int, **found: Any) -> str:
        folder = tmp_path / f"{split}-{seed}"
        write_run(folder, seed=seed, split=split, accuracy=0.7, control=False)
        metrics = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps({**metrics, **found}))
        return str(folder)

    unknown = {"kappa": None, "resumed": True}
    folders = [run("5", 0, **unknown), run("10", 0, **unknown), run("10", 1)]
    assert summarise(folders) == 0
    lines = [line.split(" | ")[3:] for line in capsys.readouterr().out.splitlines()[2:]]
    assert lines == [
        ["0", "diffusion features", "70.00", "70.00", "-", "- |"],
        ["0, 1", "diffusion features", "70.00 ± 0.00", "70.00 ± 0.00", "70.00", "2.0 min |"],
    ]


def test_a_run_that_cannot_be_read_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        write_run(tmp_path / name, seed=0, split="5", accuracy=0.7, control=False) for name in "ab"
    ]
    (tmp_path / "a" / "config.yaml").write_text("sead: 1")
    assert summarise(folders) == 0
    assert f"left out: {folders[0]}: unknown setting sead" in capsys.readouterr().err


def test_nothing_to_summarise(tmp_path: Path) -> None:
    assert summarise([str(tmp_path)]) == 2
