"""Mean and standard deviation over the seeds of finished runs, as a Markdown table.

Runs of the same scene, split, method and preset make one row, whatever their seed.

Example: python experiments/summarise.py runs/*
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

HEADER = ("scene", "split", "method, preset", "seeds", "classifier on", "OA", "AA", "kappa", "time")
FIGURES = ("overall_accuracy", "average_accuracy", "kappa")


def duration(minutes: list[float]) -> str:
    """The shortest and the longest run, pretraining, features, classifier and control together."""
    low, high = f"{min(minutes):.1f}", f"{max(minutes):.1f}"
    return f"{low} min" if low == high else f"{low} to {high} min"


def read(folder: Path) -> dict[str, Any]:
    """The settings and figures of one finished run."""
    from hsi_diffusion.runs import read_yaml

    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {"settings": read_yaml(folder / "config.yaml"), "metrics": metrics}


def rows(runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """For each group of runs a row of their own, and one of their control where they have any."""
    from hsi_diffusion.reports import spread

    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        settings = run["settings"]
        split = settings["split"]
        kind = f"{split['kind']} ({split['train_mask']})" if split["train_mask"] else split["kind"]
        scene = settings["scene"]["cube"] or settings["scene"]["name"]
        learned = "raw bands" if settings["pretrain"] is None else "diffusion features"
        groups[scene, kind, f"{settings['method']}, {settings['preset']}", learned].append(run)
    table = []
    for (*group, learned), members in groups.items():
        minutes = [sum(m["metrics"]["seconds"].values()) / 60 for m in members]
        methods = [(m["settings"]["seed"], m["metrics"]) for m in members]
        controls = [(seed, m["raw_bands"]) for seed, m in methods if "raw_bands" in m]
        for name, found, time in (
            (learned, methods, duration(minutes)),
            ("raw bands", controls, ""),
        ):
            if not found:  # runs may do without the control
                continue
            seeds = ", ".join(str(seed) for seed in sorted(seed for seed, _ in found))
            scores = [spread([100 * m[figure] for _, m in found]) for figure in FIGURES]
            table.append((*group, seeds, name, *scores, time))
    return table


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 = done, 2 = no finished run was given."""
    from hsi_diffusion.reports import TextTable

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="output folder of a run")
    folders = parser.parse_args(arguments).runs
    finished = [folder for folder in folders if (folder / "metrics.json").is_file()]
    for folder in folders:
        if folder not in finished:
            print(f"left out: {folder} holds no metrics.json", file=sys.stderr)
    if not finished:
        print("error: none of these folders is that of a finished run", file=sys.stderr)
        return 2
    print(TextTable(HEADER, tuple(rows([read(folder) for folder in finished]))).to_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
