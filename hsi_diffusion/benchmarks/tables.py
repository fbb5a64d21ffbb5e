"""What a benchmark leaves behind: tables as papers have them, maps side by side, every value."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.benchmarks.measurements import control_row, failures, measurements
from hsi_diffusion.files import write_text
from hsi_diffusion.hardware import describe_hardware
from hsi_diffusion.reports import (
    UNSEEN_FIELDS,
    Measurement,
    comparison_table,
    differences_figure,
    grid_table,
    learning_curves,
    map_gallery,
    measurements_csv,
    paper_table,
    per_class_csv,
    save_both,
    significance_table,
    verdicts,
)
from hsi_diffusion.runs import read_scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hsi_diffusion.benchmarks.grid import CellResult
    from hsi_diffusion.benchmarks.plan import BenchmarkSettings, ColumnSettings
    from hsi_diffusion.scenes import Scene

LEGEND = (
    "Test pixels only: per class, OA, AA, kappa, FWIoU and MIoU in percent (kappa times 100), mean "
    "and sample standard deviation over the seeds. {seeds}; the best mean of a row is bold where "
    "all methods have the same seeds. "
    "Training: all that comes before the last map, a shared pretraining included; a dash where a "
    "run was stopped on its way. Test: the map of the whole scene, its features at hand. "
    "Parameters: denoiser and classifier."
)
SEEDS = "Each seed has a split (unless one is fixed), a pretraining and classifiers of its own"
SHARED = (
    "Each seed has a split (unless one is fixed) and classifiers of its own; the seeds share "
    "{number} of a kind, taking turns"
)
BLOCKS = (
    "Labels and patches are disjoint: no test pixel has a training pixel within {guard} pixels. "
    "What a blur or a denoiser sees beyond a patch, without labels, reaches farther."
)
ONE_SPLIT = (
    "There is one split: all seeds learn and test the same pixels, and differ at most in which of "
    "them validate, in pretraining and in initial weights. So the p-values below say nothing of "
    "other training pixels."
)

ABLATION = (
    "Overall accuracy on the test pixels in percent, mean and sample standard deviation over the "
    'seeds. {seeds}. The difference to "{reference}" is taken seed by seed. A dash: the variant '
    "changes nothing there, or has not been run."
)


def write_benchmark(
    settings: BenchmarkSettings,
    results: Sequence[CellResult],
    folder: Path,
    *,
    command: str,
    earlier: Sequence[Measurement] = (),
) -> None:
    """Write ``benchmark.md``, ``.tex`` and ``.csv``, ``per_class.csv``, maps and differences.

    Args:
        settings: What was compared.
        results: What became of every cell; those without metrics are left out of the tables.
        folder: The benchmark's folder, which holds the cells.
        command: The command line that repeats it.
        earlier: Measurements of the same benchmark from elsewhere, for cells without metrics.
    """
    found = _joined(results, earlier)
    write_text(folder / "benchmark.csv", measurements_csv(found))
    write_text(folder / "per_class.csv", per_class_csv(found))
    shared = settings.pretrainings
    several = "one pretraining" if shared == 1 else f"{shared} pretrainings"
    seeds = SEEDS if shared is None else SHARED.format(number=several)
    text, latex = [f"# {settings.title}"], list[str]()
    if settings.note is not None:
        text.append(" ".join(settings.note.split()))
    pairs = _pairs(settings, found)
    if settings.reference is None:
        same = {result.cell.column for result in results if result.cell.has_one_split}
        text += verdicts(found, pairs, one_split=same)
        text.append(LEGEND.format(seeds=seeds))
        # what fills a grid has a table of its own
        grid = _grid_rows(settings)
        plain = [m for m in found if m.row not in grid]
        if len({m.column for m in plain}) > 1:
            text += ["## Overall accuracy", comparison_table(plain).to_markdown()]
        for number, column in enumerate(settings.columns, start=1):
            own = [m for m in found if m.column == column.name]
            if own:
                maps = folder / f"maps-{number}.png"
                text += _column(settings, column, own, results, maps=maps, latex=latex)
        text += _curves(settings, plain, folder)
        if pairs:
            save_both(differences_figure(found, pairs), folder / "differences.png")
            text.append("## All differences\n\n![Differences of OA, seed by seed](differences.png)")
    else:
        text.append(ABLATION.format(seeds=seeds, reference=settings.reference))
        if any(m.row == settings.reference for m in found):
            table = comparison_table(found, reference=settings.reference)
            text.append(table.to_markdown())
            latex.append(table.to_latex(caption=settings.title, label="tab:benchmark-1"))
            changed = [row for row in {m.row: None for m in found} if row != settings.reference]
            tests = significance_table(found, [(row, settings.reference) for row in changed])
            text += ["Paired over the seeds, OA in points:", tests.to_markdown()]
    if failed := failures(results):
        text += ["Failed and skipped:", "\n".join(failed)]
    known = {m.key for m in found}
    missing = sum(result.cell.key not in known and not result.error for result in results)
    if missing:
        text.append(f"Not run yet: {missing} of {len(results)} runs.")
    text += [f"```bash\n{command}\n```", f"Machine: {describe_hardware()}"]
    write_text(folder / "benchmark.tex", "\n\n".join(latex) + "\n")
    write_text(folder / "benchmark.md", "\n\n".join(text) + "\n")


def _column(
    settings: BenchmarkSettings,
    column: ColumnSettings,
    own: Sequence[Measurement],
    results: Sequence[CellResult],
    *,
    maps: Path,
    latex: list[str],
) -> list[str]:
    """Everything of one scene and split; its LaTeX table is put behind those of ``latex``."""
    measured = {measurement.row for measurement in own}
    here = [r for r in results if r.cell.column == column.name and r.cell.row in measured]
    scene = read_scene(here[0].cell.settings)
    text = [f"## {column.name}", *_notes(here)]
    if rows := [m for m in own if m.row not in _grid_rows(settings)]:
        table = paper_table(rows, scene.info.class_names)
        text.append(table.to_markdown())
        label = f"tab:benchmark-{len(latex) + 1}"
        latex.append(table.to_latex(caption=column.name, label=label))
    if column.published:
        values = ", ".join(f"{name} {value}" for name, value in column.published.items())
        text.append(f"Published OA, on splits of their own: {values}.")
    text += _grids(settings, own)
    text += _significance(settings, column, own)
    return text + _gallery(settings, here, scene, maps)


def _joined(results: Sequence[CellResult], earlier: Sequence[Measurement]) -> list[Measurement]:
    """Measurements of all cells in their order; the earlier ones where a cell was not run here."""
    before = {m.key: m for m in earlier}
    found = []
    for result in results:
        if result.metrics is not None:
            found += measurements([result])
            continue
        row, column, seed = result.cell.key
        keys = ((row, column, seed), (control_row(row), column, seed))
        found += [before[key] for key in keys if key in before]
    return found


def _curves(settings: BenchmarkSettings, found: Sequence[Measurement], folder: Path) -> list[str]:
    """Learning curves of each scene that was split by several numbers of labels per class."""
    scenes: dict[str, dict[str, str]] = {}
    for column in settings.columns:
        if (labels := str(column.split.get("kind"))).isdigit():
            scenes.setdefault(str(column.scene), {})[column.name] = labels
    text = []
    for number, of in enumerate(scenes.values(), start=1):
        own = [replace(m, column=of[m.column]) for m in found if m.column in of]
        several = len({m.column for m in own}) > 1
        if several and len({m.key for m in own}) == len(own):
            name = f"learning-curves-{number}.png"
            save_both(learning_curves(own), folder / name)
            text.append(f"![Labels per class: {', '.join(of)}]({name})")
    return text


def _pixels(here: Sequence[CellResult]) -> list[str]:
    """How many pixels are learned and tested, and how many of these a classifier sees beside."""
    seeds = {r.cell.seed: r.metrics["pixels"] for r in here if r.metrics is not None}
    if not seeds:
        return []
    seed, pixels = min(seeds.items())
    text = (
        f"Pixels of seed {seed}: {pixels['train'] + pixels['val']:,} are learned "
        f"(training and validation), {pixels['test']:,} tested."
    )
    found = [(r.cell.row, r.metrics["leakage"]) for r in here if r.metrics is not None]
    shares = [100 * share for _, share in found if share is not None]
    if shares:
        low, high = f"{min(shares):.0f}", f"{max(shares):.0f}"
        text += (
            f" Leakage: around {low if low == high else f'{low} to {high}'} % of the test pixels "
            "the classifier sees a learned one" + ("." if low == high else ", by method and seed.")
        )
    if joined := list(dict.fromkeys(row for row, share in found if share is None)):
        text += (
            " Methods that join every pixel with neighbours of the whole scene, so that nothing is "
            f"disjoint: {', '.join(joined)}."
        )
    return [text]


def _notes(here: Sequence[CellResult]) -> list[str]:
    """What a reader of a column must know of its split, and of who had help with few labels."""
    first, notes = here[0].cell, []
    if first.settings.split_kind == "blocks":
        notes.append(BLOCKS.format(guard=first.settings.guard))
    if first.has_one_split:
        notes.append(ONE_SPLIT)
    notes += _pixels(here)
    helped = [
        f"{cell.row} and its control" if cell.has_control else cell.row
        for cell in (result.cell for result in here)
        if cell.settings.spreading.active
    ]
    if helped:
        notes.append(
            "Labels are also propagated along graphs, one of the scene's bands and some of what is "
            "classified (features, the scenes that a denoiser restores, or raw bands), for "
            f"{', '.join(dict.fromkeys(helped))}, and for no other method."
        )
    return notes


def _grid_rows(settings: BenchmarkSettings) -> set[str]:
    """Rows of the methods whose variants fill a table of their own."""
    grids = [method for method in settings.methods if method.is_grid]
    return {variant.row for method in grids for variant in method.variants()}


def _grids(settings: BenchmarkSettings, own: Sequence[Measurement]) -> list[str]:
    """Overall accuracy of methods with two settings that vary, such as timestep and level."""
    parts = []
    for method in (one for one in settings.methods if one.is_grid):
        values: dict[tuple[str, str], list[float]] = {}
        for variant in method.variants():
            down, across = variant.values
            found = [m.figures["overall_accuracy"] for m in own if m.row == variant.row]
            values[down, across] = [100 * value for value in found]
        if any(values.values()):
            first, second = method.vary
            parts.append(f"{method.name}: OA in percent, `{first}` down and `{second}` across.")
            parts.append(grid_table(values).to_markdown())
    return parts


def _pairs(settings: BenchmarkSettings, own: Sequence[Measurement]) -> list[tuple[str, str]]:
    """Every method with its control, and the pairs that are asked for.

    Without any, the first method with each of the others.
    """
    rows = list(dict.fromkeys(m.row for m in own))
    pairs = [(row, control_row(row)) for row in rows if control_row(row) in rows]
    pairs += [
        (first, second) for first, second in settings.pairs if first in rows and second in rows
    ]
    rows = [row for row in rows if row not in _grid_rows(settings)]
    return pairs or [(rows[0], row) for row in rows[1:]]


def _significance(
    settings: BenchmarkSettings, column: ColumnSettings, own: Sequence[Measurement]
) -> list[str]:
    pairs = _pairs(settings, own)
    if not pairs:
        return []
    text = ["Paired over the seeds, OA in points:", significance_table(own, pairs).to_markdown()]
    # random splits leave a handful of pixels in such fields, a split by fields all of them
    if column.split.get("kind") == "blocks" and any(m.figures.get(UNSEEN_FIELDS) for m in own):
        text.append("On test pixels in fields (connected areas of one class) without any label:")
        text.append(significance_table(own, pairs, figure=UNSEEN_FIELDS).to_markdown())
    return text


def _gallery(
    settings: BenchmarkSettings,
    here: Sequence[CellResult],
    scene: Scene,
    file: Path,
) -> list[str]:
    """Draw the maps of the first seed, but those of grids, side by side; the line that shows it."""
    grid = _grid_rows(settings)
    finished = [
        (result.cell, result.metrics)
        for result in here
        if result.metrics is not None and result.cell.row not in grid
    ]
    if not finished:
        return []
    seed = min(cell.seed for cell, _ in finished)
    maps = {}
    for cell, metrics in finished:
        if cell.seed == seed:
            folder = file.parent / "cells" / cell.name
            panels = [(cell.row, "classification_map.npy", metrics)]
            if "raw_bands" in metrics:
                panels.append((control_row(cell.row), "control_map.npy", metrics["raw_bands"]))
            for row, name, figures in panels:
                title = f"{row} ({100 * figures['overall_accuracy']:.1f} %)"
                maps[title] = np.load(folder / name, allow_pickle=False).astype(np.int64)
    save_both(map_gallery(maps, scene.info, scene.labels), file)
    return [f"![Maps of seed {seed}]({file.name})"]
