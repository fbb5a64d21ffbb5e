"""Mean and standard deviation over the seeds of finished runs, as a Markdown table.

Runs whose settings are the same but for the seed make one row; rows of one method and preset that
have other settings say which. A seed counts once: what repeats it is reported and left out. It does
not matter where a scene's files and the checkpoints of --pretrained lie, nor where a run was
followed. Times are those of the runs that were never stopped, a dash where there is none.

Example: python experiments/summarise.py runs/*
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hsi_diffusion.benchmarks.cells import read_run
from hsi_diffusion.errors import HsiDiffusionError
from hsi_diffusion.files import digest_of
from hsi_diffusion.reports import TextTable, spread
from hsi_diffusion.reports.tables import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADER = ("scene", "split", "method, preset", "seeds", "classifier on", "OA", "AA", "kappa", "time")
FIGURES = ("overall_accuracy", "average_accuracy", "kappa")
CHECKPOINT = "pretrained"


class FinishedRun(NamedTuple):
    """One finished run: where it is, what decided it, and what its metrics.json holds."""

    folder: Path
    group: tuple[str, ...]
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def key(self) -> str:
        """Digest of what decided it but for the seed."""
        return digest_of(self.settings)


def summarise(arguments: Sequence[str] | None = None) -> int:
    """Print the table of the runs on the command line.

    Args:
        arguments: The command line; None: that of this process.

    Returns:
        The exit status: 0 = done, 2 = no finished run was given.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output folder of a run")
    finished = list(_readable(parser.parse_args(arguments).runs))
    if not finished:
        print("error: none of these folders is that of a finished run", file=sys.stderr)
        return 2
    print(TextTable(HEADER, tuple(_rows(_each_seed_once(finished)))).to_markdown())
    return 0


def _readable(folders: Sequence[Path]) -> Iterator[FinishedRun]:
    """The finished runs among the folders; the others are reported."""
    for folder in folders:
        if not (folder / "metrics.json").is_file():
            print(f"left out: {folder} holds no metrics.json", file=sys.stderr)
            continue
        try:
            group, seed, settings = read_run(folder)
        except HsiDiffusionError as error:
            print(f"left out: {folder}: {error}", file=sys.stderr)
            continue
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        if settings.get(CHECKPOINT) is not None:  # another file for every seed, usually
            settings[CHECKPOINT] = "given"
        yield FinishedRun(folder, group, seed, settings, metrics)


def _each_seed_once(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs, each seed of the same settings once; the others are reported."""
    first: dict[tuple[int, str], FinishedRun] = {}
    for run in runs:
        known = first.setdefault((run.seed, run.key), run)
        if known is not run:
            print(
                f"left out: {run.folder} repeats seed {run.seed} of {known.folder}", file=sys.stderr
            )
    return list(first.values())


def _rows(runs: Sequence[FinishedRun]) -> Iterator[tuple[str, ...]]:
    """For each group of runs a row for every kind of settings, and one for its control."""
    groups: dict[tuple[str, ...], dict[str, list[FinishedRun]]] = {}
    for run in runs:
        groups.setdefault(run.group, {}).setdefault(run.key, []).append(run)
    for (scene, split, method, learned), kinds in groups.items():
        names = _differences([members[0].settings for members in kinds.values()])
        for members, differs in zip(kinds.values(), names, strict=True):
            yield from _rows_of((scene, split, f"{method}{differs}"), learned, members)


def _differences(kinds: Sequence[dict[str, Any]]) -> list[str]:
    """For each of several settings, what not all of them have, to stand behind their name."""
    names = sorted({name for settings in kinds for name in settings})
    told = [n for n in names if any(s.get(n) != kinds[0].get(n) for s in kinds)]
    return ["".join(f"; {name}={s[name]}" for name in told if name in s) for s in kinds]


def _rows_of(
    group: tuple[str, ...], learned: str, members: Sequence[FinishedRun]
) -> Iterator[tuple[str, ...]]:
    """The row of runs that differ by their seed only, and that of their control."""
    whole = [run.metrics["seconds"] for run in members if not run.metrics.get("resumed")]
    minutes = sorted(sum(seconds.values()) / 60 for seconds in whole)
    ends = dict.fromkeys(f"{time:.1f}" for time in minutes[:1] + minutes[-1:])
    time = f"{' to '.join(ends)} min" if ends else NOTHING
    methods = [(run.seed, run.metrics) for run in members]
    controls = [(seed, m["raw_bands"]) for seed, m in methods if "raw_bands" in m]
    for name, found, took in ((learned, methods, time), ("raw bands", controls, "")):
        if found:  # runs may do without the control
            seeds = ", ".join(str(seed) for seed in sorted(seed for seed, _ in found))
            values = [[m[figure] for _, m in found if m[figure] is not None] for figure in FIGURES]
            scores = [spread([100 * value for value in known]) for known in values]
            yield (*group, seeds, name, *scores, took)
