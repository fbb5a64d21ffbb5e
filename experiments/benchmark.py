"""Methods on scenes and splits over seeds, in the tables that papers have.

What is compared stands in a YAML file (experiments/benchmarks) or on the command line. Runs that
can share a pretraining do; finished ones are kept, so that a benchmark that was stopped goes on
where it stopped; one that fails is told and left out. The same command in several processes, each
with a card of its own (CUDA_VISIBLE_DEVICES=0, =1, ...), shares out the runs among them. Writes
benchmark.md, .tex and .csv, per_class.csv, maps-N.png and differences.png into --out; they hold all
runs of the file that are finished.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi_diffusion.options import PRESETS

if TYPE_CHECKING:
    from hsi_diffusion.reports import Measurement
    from hsi_diffusion.runs import BenchmarkSettings, Cell

CONFIGS = Path(__file__).resolve().parent / "configs"
METHODS = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())
EXAMPLES = """\
examples:
  python experiments/benchmark.py --methods knn svm diffcrn
  python experiments/benchmark.py --methods svm spectral_former --scenes salinas --root data \\
      --splits 10 blocks --seeds 0 1 2
  python experiments/benchmark.py experiments/benchmarks/few_shot.yaml --preset cpu --root data
"""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", nargs="?", metavar="FILE.yaml", help="what to compare")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(METHODS)}; with FILE.yaml: run only these of its methods, by title",
    )
    parser.add_argument(
        "--scenes",
        nargs="+",
        metavar="NAME",
        help="as for run.py (default: simulated); with FILE.yaml: run only these of its scenes",
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        metavar="SPEC",
        help="as for run.py (default: 0.1 blocks); with FILE.yaml: run only these of its splits",
    )
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="default: 0 1 2")
    parser.add_argument("--preset", choices=PRESETS, help="default: cpu")
    parser.add_argument("--root", metavar="DIR", help="folder of the scenes' files (default: data)")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a setting of all methods, such as classifier.steps=300; as in run.py",
    )
    parser.add_argument("--title", help="headline, and the group's name in W&B")
    parser.add_argument("--logger", choices=("none", "csv", "wandb"), help="default: none")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: runs/NAME-OF-FILE or runs/benchmark"
    )
    parser.add_argument(
        "--pretrained",
        type=Path,
        metavar="DIR",
        help="folder of pretrainings, which benchmarks may share (default: OUT/pretrained)",
    )
    parser.add_argument(
        "--also",
        nargs="+",
        type=Path,
        default=[],
        metavar="DIR",
        help="folders with benchmark.csv and per_class.csv of the same benchmark, computed before "
        "or elsewhere: what they hold is not run again, and stands in the tables too",
    )
    parser.add_argument(
        "--tables-only", action="store_true", help="run nothing, write tables of what is there"
    )
    parser.add_argument("--progress", action="store_true", help="progress bars of every stage")
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    return options


def settings_from(options: argparse.Namespace) -> BenchmarkSettings:
    """What the file says, with what the options say laid over it."""
    from hsi_diffusion.errors import ConfigurationError
    from hsi_diffusion.runs import BenchmarkSettings, merge, parse_assignment, read_yaml

    if options.plan is None:
        if options.methods is None:
            raise ConfigurationError(
                f"name the methods to compare (--methods, of {', '.join(METHODS)}), or give a file"
            )
        scenes, splits = options.scenes or ["simulated"], options.splits or ["0.1", "blocks"]
        plain: dict[str, Any] = {
            "methods": options.methods,
            "columns": [{"scene": scene, "split": split} for scene in scenes for split in splits],
        }
    else:
        plain = read_yaml(options.plan)
    names = ("seeds", "preset", "root", "title", "logger")
    plain |= {name: value for name in names if (value := getattr(options, name)) is not None}
    for assignment in options.set:
        plain["set"] = merge(plain.get("set") or {}, parse_assignment(assignment))
    if options.plan is not None and options.seeds is not None:
        # of all, whatever the file says of one of them
        for part in (*(plain.get("columns") or ()), *(plain.get("methods") or ())):
            if isinstance(part, dict):
                part.pop("seeds", None)
    return BenchmarkSettings.from_dict(plain)


def wanted(
    settings: BenchmarkSettings, cells: list[Cell], options: argparse.Namespace
) -> list[Cell]:
    """The cells of a file's methods, scenes and splits that the options name; all by default."""
    from hsi_diffusion.errors import ConfigurationError

    if options.plan is None:
        return cells
    for name, chosen, known in (
        ("methods", options.methods, [method.name for method in settings.methods]),
        ("scenes", options.scenes, [str(c.scene.get("name")) for c in settings.columns]),
        ("splits", options.splits, [str(c.split.get("kind")) for c in settings.columns]),
    ):
        if unknown := sorted(set(chosen or ()) - set(known)):
            raise ConfigurationError(
                f"--{name} must name some of the file's ({', '.join(dict.fromkeys(known))}), got "
                f"{unknown[0]!r}"
            )
    rows = {
        variant.row
        for method in settings.methods
        if options.methods is None or method.name in options.methods
        for variant in method.variants()
    }
    found = [
        cell
        for cell in cells
        if cell.row in rows
        and (options.scenes is None or cell.settings.scene.name in options.scenes)
        and (options.splits is None or cell.settings.split.kind in options.splits)
    ]
    if not found:
        raise ConfigurationError(
            "the file has no run of --methods, --scenes and --splits together; leave one out"
        )
    return found


def measured_elsewhere(cells: list[Cell], folders: list[Path]) -> list[Measurement]:
    """What the folders of --also hold; of these cells nothing that was made with other settings."""
    from hsi_diffusion.reports import read_measurements
    from hsi_diffusion.runs import control_row, without_strangers

    held = [
        measurement
        for folder in folders
        for measurement in read_measurements(folder / "benchmark.csv", folder / "per_class.csv")
    ]
    found, strangers = without_strangers(held, cells, control_row)
    if strangers:
        first = strangers[0]
        print(
            f"warning: --also: {len(strangers)} measurements were made with other settings than "
            f"this benchmark's, and are left out (the first: {first.row}, {first.column}, seed "
            f"{first.seed}); give the same --preset and --set as there",
            file=sys.stderr,
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing and write the tables; 0 = all done, 1 = some failed, 2 = bad input."""
    options = parse_arguments(arguments)
    # imported here, so that --help answers at once
    from hsi_diffusion.errors import HsiDiffusionError
    from hsi_diffusion.runs import (
        benchmark_cells,
        cell_key,
        grid_results,
        quieten,
        run_grid,
        write_benchmark,
    )

    name = Path(options.plan).stem if options.plan is not None else "benchmark"
    folder = options.out or Path("runs") / name
    quieten()
    try:
        settings = settings_from(options)
        cells = benchmark_cells(settings, CONFIGS)
        earlier = measured_elsewhere(cells, options.also)
        known_before = {(m.row, m.column, m.seed) for m in earlier}
        chosen = [] if options.tables_only else wanted(settings, cells, options)
        chosen = [cell for cell in chosen if cell_key(cell) not in known_before]
        pretrained = options.pretrained
        ran = run_grid(chosen, folder, pretrained=pretrained, progress=options.progress)
        results = {result.cell.name: result for result in ran}
        # what was run before, and is not asked for now, belongs into the tables as well
        known = [
            results.get(result.cell.name, result)
            for result in grid_results(cells, folder, pretrained=pretrained)
        ]
        command = shlex.join(["python", "experiments/benchmark.py", *options.arguments])
        write_benchmark(settings, known, folder, command=command, earlier=earlier)
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second out of the first
        print(f"stopped; the same command goes on from {folder}", file=sys.stderr)
        return 130
    print((folder / "benchmark.md").read_text(encoding="utf-8"))
    return int(any(result.error for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
