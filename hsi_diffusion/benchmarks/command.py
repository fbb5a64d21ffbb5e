"""Methods on scenes and splits over seeds, in the tables that papers have.

What is compared is given by a plan, a YAML file or the name of one of the library's, or by options.
Runs that can share a pretraining do; finished ones are kept, so that a benchmark that was stopped
goes on where it stopped; failed runs are reported and skipped. Runs are done one after the other,
by --workers N processes of this machine, or by the workers of any Dask cluster (--scheduler
tcp://HOST:PORT) that see the same folders. Writes benchmark.md, .tex and .csv, per_class.csv,
maps, differences and learning curves (PNG and PDF) into --out; they hold all finished runs.
"""

from __future__ import annotations

import argparse
import difflib
import shlex
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi_diffusion.console import guarded, quieten
from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError
from hsi_diffusion.recipes import PRESETS, merge, methods, read_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsi_diffusion.benchmarks.cells import Cell
    from hsi_diffusion.benchmarks.plan import BenchmarkSettings
    from hsi_diffusion.reports import Measurement

PLANS = Path(__file__).resolve().parent / "plans"
NAMES = sorted(file.stem for file in PLANS.glob("*.yaml"))
EXAMPLES = f"""\
plans of the library:
  {", ".join(NAMES)}

examples:
  %(prog)s --methods knn svm diffcrn
  %(prog)s --methods svm spectral_former --scenes salinas --root data --splits 10 blocks
  %(prog)s --methods knn svm --cube field.tif --labels labels.tif --splits 10
  %(prog)s few_shot --preset cpu --root data --workers 2
"""
OF_ABLATION = """\
examples:
  %(prog)s --scenes indian_pines --root data --splits 10
  %(prog)s --preset quick --methods 'loss: *' 'contrast: none' --seeds 0 1 2
"""


def benchmark(
    arguments: Sequence[str] | None = None,
    *,
    command: str = "hsi-diffusion benchmark",
    plan: str | None = None,
    splits: Sequence[str] = ("0.1", "blocks"),
) -> int:
    """Run what is missing of a benchmark, and write its tables.

    Args:
        arguments: The command line; None: that of this process.
        command: How the command is called, for the help and the report.
        plan: The plan where the command line names none.
        splits: The splits where neither the plan nor the command line gives any.

    Returns:
        The exit status: 0 = all done, 1 = some runs failed, 2 = bad input, 130 = stopped.
    """
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser(command, splits, EXAMPLES if plan is None else OF_ABLATION).parse_args(given)
    options.plan = options.plan or plan
    name = Path(options.plan).stem if options.plan is not None else "benchmark"
    folder: Path = options.out or Path("runs") / name

    def work() -> int:
        try:
            return _work(options, splits, folder, f"{command} {shlex.join(given)}")
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from error

    return guarded(work, stopped=f"stopped; the same command goes on from {folder}")


def _work(options: argparse.Namespace, splits: Sequence[str], folder: Path, command: str) -> int:
    """Run what the options ask for, and write the tables; the exit status."""
    # imported here: with torch it takes seconds, and a wrong flag is told at once
    from hsi_diffusion.benchmarks.grid import run_grid
    from hsi_diffusion.benchmarks.plan import benchmark_cells
    from hsi_diffusion.benchmarks.tables import write_benchmark
    from hsi_diffusion.runs.folder import check_writable

    quieten()
    settings = _settings(options, splits)
    cells = benchmark_cells(settings)
    check_writable(folder)
    earlier = _measured_elsewhere(cells, options.also)
    known = {measurement.key for measurement in earlier}
    chosen = [] if options.tables_only else _chosen(settings, cells, options)
    wanted = [cell for cell in chosen if cell.key not in known]
    _check_scenes(wanted)
    # the tables hold also what was run before and is not asked for now
    results = run_grid(
        cells,
        folder,
        only=wanted,
        pretrained=options.pretrained,
        workers=options.workers,
        scheduler=options.scheduler,
        progress=options.progress,
    )
    found = options.also or any(result.metrics is not None for result in results)
    if options.tables_only and not found and any(folder.glob("cells/*/metrics.json")):
        raise ConfigurationError(
            f"{folder} holds finished runs but none of these settings, and its tables stay as they "
            "are: give the flags of the runs (--seeds, --preset, --set); where a data file was "
            "copied or changed since (its size or time tells), leave out --tables-only to measure "
            "again, or give the tables that are there with --also and another --out"
        )
    write_benchmark(settings, results, folder, command=command, earlier=earlier)
    print((folder / "benchmark.md").read_text(encoding="utf-8"))
    return int(any(result.error for result in results))


def ablate(arguments: Sequence[str] | None = None) -> int:
    """Run the plan ``ablation``, which changes one part of DiffCRN at a time.

    Args:
        arguments: The command line, as of :func:`benchmark`; None: that of this process.

    Returns:
        The exit status, as of :func:`benchmark`.
    """
    named = {"command": "hsi-diffusion ablate", "plan": "ablation"}
    return benchmark(arguments, **named, splits=("10", "blocks"))


def _settings(options: argparse.Namespace, splits: Sequence[str]) -> BenchmarkSettings:
    """Read the plan, with the options laid over it; ``splits`` where neither gives any."""
    from hsi_diffusion.benchmarks.plan import BenchmarkSettings
    from hsi_diffusion.recipes import from_flags
    from hsi_diffusion.runs import RunSettings

    if options.plan is None and options.methods is None:
        raise ConfigurationError(
            f"name the methods to compare (--methods, of {', '.join(methods())}), or give a plan"
        )
    plain: dict[str, Any] = {"methods": options.methods}
    if options.plan is not None:
        own = PLANS / f"{options.plan}.yaml"
        if not own.is_file() and not Path(options.plan).exists():
            near = difflib.get_close_matches(options.plan, NAMES, n=1)
            raise ConfigurationError(
                f"there is no plan {options.plan}: give a YAML file, or one of {', '.join(NAMES)}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        plain = read_yaml(own if own.is_file() else options.plan)
    scenes, splits = options.scenes or ["simulated"], options.splits or splits
    image = {
        name: given[0] if len(given) == 1 else given
        for name in ("cube", "labels")
        if (given := getattr(options, name))
    }
    if image:
        if options.plan is not None or options.scenes is not None or options.cube is None:
            raise ConfigurationError(
                "--cube FILE --labels FILE stand in the place of --scenes, without a plan, which "
                "says in a column scene: {name: custom, cube: FILE, labels: FILE}"
            )
        scenes = [{"name": "custom", **image}]
    plain.setdefault("columns", [{"scene": s, "split": kind} for s in scenes for kind in splits])
    names = ("seeds", "preset", "root", "title", "logger")
    plain |= {name: value for name in names if (value := getattr(options, name)) is not None}
    for assignment in options.set:
        key, equals, _ = assignment.partition("=")
        if not (key and equals):
            raise ConfigurationError(f"--set must look like KEY=VALUE, got {assignment!r}")
        change = from_flags(RunSettings, [f"--{assignment}"])
        plain["set"] = merge(plain.get("set") or {}, change)
    columns, titled = plain["columns"] or (), plain.get("methods") or ()
    for name, parts in (("seeds", (*columns, *titled)), ("preset", titled)):
        for part in parts:  # of all, whatever the plan says of one of them
            if getattr(options, name) is not None and isinstance(part, dict):
                part.pop(name, None)
    return BenchmarkSettings.from_dict(plain)


def _parser(command: str, splits: Sequence[str], examples: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command,
        description=__doc__,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    names: dict[str, Any] = {"nargs": "+", "metavar": "NAME"}
    folders: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    add("plan", nargs="?", metavar="PLAN", help="what to compare: FILE.yaml, or a plan by name")
    add(
        "--methods", **names, help=f"of {', '.join(methods())}; of a plan, by title: run only these"
    )
    add("--scenes", **names, help="as for run (default: simulated); of a plan: run only these")
    file: dict[str, Any] = {"metavar": "FILE[:KEY]", "action": "append"}
    own = "your own image in the place of --scenes, or several of one sensor, as for run"
    add("--cube", **file, help=own)
    add("--labels", **file, help="their labels; whatever else they need is said in a plan")
    add(
        "--splits",
        **names,
        help=f"as for run (default: {' '.join(splits)}); of a plan: likewise",
    )
    add("--seeds", nargs="+", type=int, metavar="N", help="default: 0 1 2")
    add("--preset", choices=PRESETS, help="default: cpu")
    add("--root", metavar="DIR", help="folder of the scenes' files (default: data)")
    changes = (
        "change a setting of all methods, such as classifier.steps=300, as in run; where a "
        "method of a plan has it in a set of its own, that one counts"
    )
    add("--set", metavar="KEY=VALUE", action="append", default=[], help=changes)
    add("--title", help="headline, and the group's name in W&B")
    add("--logger", choices=("none", "csv", "wandb"), help="default: none")
    add("--out", **folders, help="default: runs/NAME-OF-PLAN or runs/benchmark")
    shared = "folder of pretrainings, which benchmarks may share (default: OUT/pretrained)"
    add("--pretrained", **folders, help=shared)
    elsewhere = (
        "folders with benchmark.csv and per_class.csv of the same benchmark, computed before or "
        "elsewhere: what they hold is not run again, and stands in the tables too"
    )
    add("--also", nargs="+", **folders, default=[], help=elsewhere)
    add("--tables-only", action="store_true", help="run nothing, write tables of what is there")
    add("--workers", type=int, metavar="N", help="processes of this machine that do the runs")
    add("--scheduler", metavar="tcp://HOST:PORT", help="Dask cluster whose workers do the runs")
    add("--progress", action="store_true", help="progress bars of every stage")
    return parser


def _chosen(
    settings: BenchmarkSettings, cells: Sequence[Cell], options: argparse.Namespace
) -> list[Cell]:
    """The cells of a plan's methods, scenes and splits that the options name; all by default."""
    from hsi_diffusion.benchmarks.measurements import control_row

    titles = [method.name for method in settings.methods]
    for name, chosen, known in (
        ("methods", options.methods, titles),
        ("scenes", options.scenes, [str(c.scene.get("name")) for c in settings.columns]),
        ("splits", options.splits, [str(c.split.get("kind")) for c in settings.columns]),
    ):
        unknown = [one for one in chosen or () if not any(_fits(item, [one]) for item in known)]
        if unknown:
            raise ConfigurationError(
                f"--{name} must name some of the plan's ({', '.join(dict.fromkeys(known))}), got "
                f"{unknown[0]!r}"
            )
    rows = {
        variant.row
        for method in settings.methods
        for variant in method.variants()
        if _fits(method.name, options.methods)
        or settings.reference in (variant.row, control_row(variant.row))
    }
    columns = {
        column.name
        for column in settings.columns
        if _fits(str(column.scene.get("name")), options.scenes)
        and _fits(str(column.split.get("kind")), options.splits)
    }
    found = [cell for cell in cells if cell.row in rows and cell.column in columns]
    if not found:
        raise ConfigurationError(
            "the plan has no run of --methods, --scenes and --splits together; leave one out"
        )
    return found


def _check_scenes(cells: Sequence[Cell]) -> None:
    """Stop where none of the runs finds its scene; where some do, the others fail one by one."""
    from hsi_diffusion.scenes import CATALOGUE, scene_info
    from hsi_diffusion.scenes.search import SceneFiles

    errors: dict[tuple[str, str], HsiDiffusionError | None] = {}
    for settings in (cell.settings for cell in cells):
        place = str(settings.scene), settings.root
        if place not in errors:
            errors[place] = None
            if settings.scene in CATALOGUE and not settings.download:
                try:
                    SceneFiles(scene_info(place[0]), Path(settings.root)).cube()
                except HsiDiffusionError as error:
                    errors[place] = error
    found = [error for error in errors.values() if error is not None]
    if found and len(found) == len(errors):
        raise found[0]


def _fits(name: str, patterns: Sequence[str] | None) -> bool:
    """Whether a name is one of these, or fits one of them (``*`` for anything); None: any does."""
    return patterns is None or any(one == name or fnmatchcase(name, one) for one in patterns)


def _measured_elsewhere(cells: Sequence[Cell], folders: Sequence[Path]) -> list[Measurement]:
    """What the folders of --also hold; of these cells nothing that was made with other settings."""
    from hsi_diffusion.benchmarks.measurements import matching
    from hsi_diffusion.reports import read_measurements

    held = [
        measurement
        for folder in folders
        for measurement in read_measurements(folder / "benchmark.csv", folder / "per_class.csv")
    ]
    found, others = matching(held, cells)
    if others:
        first = others[0]
        print(
            f"warning: --also: {len(others)} measurements were made with other settings than "
            f"this benchmark's, and are left out (the first: {first.row}, {first.column}, seed "
            f"{first.seed}); give the same --preset and --set as there",
            file=sys.stderr,
        )
    return found
