"""Mean and standard deviation over the seeds of finished runs, as a Markdown table.

Runs whose settings are the same but for the seed make one row; rows of one method and preset that
have other settings say which. A seed counts once: what repeats it is told and left out. It does not
matter where a scene's files and the checkpoints of --pretrained lie, nor where a run was followed.

Example: python experiments/summarise.py runs/*
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    Group = tuple[str, ...]

HEADER = ("scene", "split", "method, preset", "seeds", "classifier on", "OA", "AA", "kappa", "time")
FIGURES = ("overall_accuracy", "average_accuracy", "kappa")
CHECKPOINT = "pretrain.checkpoint"
PLACES = ("scene.root", "scene.download")
"""Settings that say where something is, and decide nothing of what comes out."""


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        folder: Its output folder.
        settings: What decided it, by dotted names.
        metrics: What its metrics.json holds.
    """

    folder: Path
    settings: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.settings["seed"])

    @property
    def group(self) -> Group:
        """Scene, split, method and preset, and what the method learns from."""
        own = self.settings
        mask = own["split.train_mask"]
        kind = f"{own['split.kind']} ({mask})" if mask else own["split.kind"]
        learned = "raw bands" if "pretrain" in own else "diffusion features"  # pretrain: null
        scene = own["scene.cube"] or own["scene.name"]
        return scene, kind, f"{own['method']}, {own['preset']}", learned

    @property
    def decisive(self) -> dict[str, Any]:
        """All settings but the seed that decide what came out."""
        from hsi_diffusion.runs.folder import FOLLOWED

        passing = {"seed", *FOLLOWED, *PLACES}
        found = {name: value for name, value in self.settings.items() if name not in passing}
        if found.get(CHECKPOINT) is not None:  # another file for every seed, usually
            found[CHECKPOINT] = "given"
        return found


def read(folder: Path) -> Run:
    """The settings and figures of one finished run."""
    from hsi_diffusion.runs import RunSettings, read_yaml

    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    # with what an older config.yaml does not name yet, at its default
    settings = RunSettings.from_dict(read_yaml(folder / "config.yaml")).to_dict()
    return Run(folder, dict(flat(settings)), metrics)


def flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted names, such as "pretrain.steps"."""
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def without_repeats(runs: list[Run]) -> list[Run]:
    """The runs, each seed of the same settings once; the others are told."""
    from hsi_diffusion.files import digest_of

    first: dict[tuple[int, str], Run] = {}
    for run in runs:
        known = first.setdefault((run.seed, digest_of(run.decisive)), run)
        if known is run:
            continue
        other = known.settings.get(CHECKPOINT) != run.settings.get(CHECKPOINT)
        why = f" from another {CHECKPOINT}, so it belongs into another table" if other else ""
        print(
            f"left out: {run.folder} repeats seed {run.seed} of {known.folder}{why}",
            file=sys.stderr,
        )
    return list(first.values())


def rows(runs: list[Run]) -> list[tuple[str, ...]]:
    """For each group of runs a row of their own, and one of their control where they have any."""
    from hsi_diffusion.files import digest_of

    groups: dict[Group, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        groups[run.group][digest_of(run.decisive)].append(run)
    table: list[tuple[str, ...]] = []
    for (*group, method, learned), kinds in groups.items():
        names = differences([members[0].decisive for members in kinds.values()])
        for members, differs in zip(kinds.values(), names, strict=True):
            table += rows_of((*group, f"{method}{differs}"), learned, members)
    return table


def differences(kinds: list[dict[str, Any]]) -> list[str]:
    """For each of several settings, what not all of them have, to stand behind their name."""
    names = sorted({name for settings in kinds for name in settings})
    told = [n for n in names if any(s.get(n) != kinds[0].get(n) for s in kinds)]
    return ["".join(f"; {name}={s[name]}" for name in told if name in s) for s in kinds]


def rows_of(group: Group, learned: str, members: list[Run]) -> Iterator[tuple[str, ...]]:
    """The row of runs that differ by their seed only, and that of their control."""
    from hsi_diffusion.reports import spread

    minutes = [sum(run.metrics["seconds"].values()) / 60 for run in members]
    methods = [(run.seed, run.metrics) for run in members]
    controls = [(seed, m["raw_bands"]) for seed, m in methods if "raw_bands" in m]
    for name, found, time in ((learned, methods, duration(minutes)), ("raw bands", controls, "")):
        if not found:  # runs may do without the control
            continue
        seeds = ", ".join(str(seed) for seed in sorted(seed for seed, _ in found))
        scores = [spread([100 * m[figure] for _, m in found]) for figure in FIGURES]
        yield (*group, seeds, name, *scores, time)


def duration(minutes: list[float]) -> str:
    """The shortest and the longest run, pretraining, features, classifier and control together."""
    low, high = f"{min(minutes):.1f}", f"{max(minutes):.1f}"
    return f"{low} min" if low == high else f"{low} to {high} min"


def readable(folders: list[Path]) -> Iterator[Run]:
    """The finished runs among the folders; the others are told."""
    from hsi_diffusion.errors import HsiDiffusionError

    for folder in folders:
        if not (folder / "metrics.json").is_file():
            print(f"left out: {folder} holds no metrics.json", file=sys.stderr)
            continue
        try:
            yield read(folder)
        except HsiDiffusionError as error:
            print(f"left out: {folder}: {error}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 = done, 2 = no finished run was given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output folder of a run")
    folders = parser.parse_args(arguments).runs
    # imported here, so that --help answers at once
    from hsi_diffusion.reports import TextTable

    finished = list(readable(folders))
    if not finished:
        print("error: none of these folders is that of a finished run", file=sys.stderr)
        return 2
    print(TextTable(HEADER, tuple(rows(without_repeats(finished)))).to_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
