"""Where one method is ahead of another: by class, by field, and without the class that helps most.

A mean over test pixels hides that a lead may come from one class or two fields, which all splits
of a scene share. Takes finished runs of two methods on the same splits, or of one and its control
on raw bands (without --second), and pairs them by seed. Measures them on all test pixels, on those
in fields (connected areas of one class) that hold labelled pixels, and on those in fields that hold
none; then again without the class that adds most to the lead there.

    python experiments/lead_by_field.py --first runs/disjoint/cells/DiffGraph-*blocks*
        --second runs/disjoint/cells/raw-bands--blurred-*blocks* --out lead.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError
from hsi_diffusion.files import write_text
from hsi_diffusion.patches import Split, field_map, in_labelled_fields
from hsi_diffusion.recipes import read_yaml
from hsi_diffusion.reports import Measurement, TextTable, significance_table
from hsi_diffusion.runs import RunSettings, read_scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion import Scene

PARTS = ("all test pixels", "in fields with labels", "in fields without labels")
NAMES = ("first", "second")


def by_seed(runs: Sequence[Path], name: str) -> dict[int, Path]:
    """The maps of finished runs, by the seed of their split.

    Raises:
        ConfigurationError: A run has no such map, or two have the same seed.
    """
    found: dict[int, Path] = {}
    for run in runs:
        seed = RunSettings.from_dict(read_yaml(run / "config.yaml")).seed
        if seed in found:
            raise ConfigurationError(
                f"{found[seed].parent} and {run} both have seed {seed}: name one run of each seed"
            )
        found[seed] = run / name
        if not found[seed].is_file():
            raise ConfigurationError(
                f"{found[seed]} is missing: a run without a control, not finished, or of an "
                "earlier version; name the runs of another method with --second"
            )
    return found


def read(first: Mapping[int, Path], second: Mapping[int, Path], scene: Scene) -> NDArray[np.int64]:
    """Every test pixel of every seed that both have.

    Returns:
        Shape (N, 6): seed, class, field, whether the field holds labelled pixels, whether the first
        is right, whether the second is.

    Raises:
        ConfigurationError: No seed has a run of both, or their test pixels differ.
    """
    labels, fields = scene.labels.ravel(), field_map(scene.labels).ravel()
    pieces = []
    for seed in sorted(first.keys() & second.keys()):
        maps = (first[seed], second[seed])
        split, other = (Split.load(file.with_name("split.npz")) for file in maps)
        if not np.array_equal(split.test, other.test):
            raise ConfigurationError(f"{maps[0]} and {maps[1]} have different test pixels")
        found = (np.load(file, allow_pickle=False).ravel()[split.test] for file in maps)
        right = [predicted == labels[split.test] for predicted in found]
        known = in_labelled_fields(split, scene.labels)
        number = np.full(len(split.test), seed)
        pieces.append(
            np.stack([number, labels[split.test], fields[split.test], known, *right], axis=1)
        )
    if not pieces:
        raise ConfigurationError("--first and --second must have runs of the same seeds, got none")
    return np.concatenate(pieces).astype(np.int64)


def parts(pixels: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The kinds of test pixels that there are."""
    known = pixels[:, 3] == 1
    for name, chosen in zip(PARTS, (np.ones_like(known), known, ~known), strict=True):
        if chosen.any():
            yield name, chosen


def lead(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """1 where only the first is right, -1 where only the second is."""
    difference: NDArray[np.int64] = pixels[:, 4] - pixels[:, 5]
    return difference


def measured(pixels: NDArray[np.int64], column: str) -> Iterator[Measurement]:
    """Overall accuracy of both, seed by seed."""
    for seed in np.unique(pixels[:, 0]):
        own = pixels[pixels[:, 0] == seed]
        for name, right in zip(NAMES, own[:, 4:].T, strict=True):
            yield Measurement(name, column, int(seed), {"overall_accuracy": float(right.mean())})


def significance(pixels: NDArray[np.int64], class_names: Sequence[str]) -> str:
    """The lead on every kind of test pixels, with all classes and without the most helpful one."""
    found: list[Measurement] = []
    for name, chosen in parts(pixels):
        own = pixels[chosen]
        found += measured(own, name)
        adds = np.bincount(own[:, 1], weights=lead(own))
        present = np.unique(own[:, 1])  # not 0, nor what is not tested here
        best = present[adds[present].argmax()]
        found += measured(own[own[:, 1] != best], f"{name}, without {class_names[best - 1]}")
    return significance_table(found, [NAMES]).to_markdown()


def by_class(pixels: NDArray[np.int64], class_names: Sequence[str]) -> str:
    """How many points of the lead on all test pixels each class adds."""
    rows = []
    for number, name in enumerate(class_names, start=1):
        of_class = pixels[:, 1] == number
        if of_class.any():
            points = [
                f"{100 * lead(pixels[of_class & chosen]).sum() / len(pixels):+.2f}"
                for _, chosen in parts(pixels)
            ]
            rows.append((name, f"{100 * of_class.mean():.1f}", *points))
    names = [name for name, _ in parts(pixels)]
    return TextTable(("class", "% of the test pixels", *names), tuple(rows)).to_markdown()


def by_field(pixels: NDArray[np.int64], scene: Scene) -> str:
    """Accuracy of both in every field, over the seeds in which it holds no labelled pixel."""
    sizes = np.bincount(field_map(scene.labels).ravel())
    unknown = pixels[pixels[:, 3] == 0]
    rows = []
    for field in np.unique(unknown[:, 2]):
        own = unknown[unknown[:, 2] == field]
        right = (f"{100 * share:.0f}" for share in own[:, 4:].mean(axis=0))
        name = scene.info.class_names[own[0, 1] - 1]
        rows.append((name, str(sizes[field]), str(len(np.unique(own[:, 0]))), *right))
    header = ("field of", "its pixels", "seeds", "first, % right", "second, % right")
    return TextTable(header, tuple(rows)).to_markdown()


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the runs, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", nargs="+", type=Path, required=True, metavar="RUN")
    parser.add_argument(
        "--second", nargs="+", type=Path, metavar="RUN", help="default: the controls of the first"
    )
    parser.add_argument("--out", type=Path, help="write the tables into a file, too")
    options = parser.parse_args(arguments)
    try:
        first = by_seed(options.first, "classification_map.npy")
        name = "control_map.npy" if options.second is None else "classification_map.npy"
        second = by_seed(options.second or options.first, name)
        scene = read_scene(RunSettings.from_dict(read_yaml(options.first[0] / "config.yaml")))
        pixels = read(first, second, scene)
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    names = scene.info.class_names
    tables = (
        significance(pixels, names),
        "Points of the lead that each class adds, of all test pixels:",
        by_class(pixels, names),
        "Fields without a labelled pixel:",
        by_field(pixels, scene),
    )
    text = "\n\n".join(tables)
    print(text)
    if options.out is not None:
        write_text(options.out, f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
