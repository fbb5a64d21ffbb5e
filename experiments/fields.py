"""Does pretraining help on land that was never seen? A support vector machine on single pixels.

Methods are features of denoisers that learned the scene without labels; controls are the scene's
bands in several spaces, blurred or not. Splits, classifier and candidates for its kernel are the
same for both. ``develop`` measures all candidates on development splits (seeds from 100) of each
kind: whole fields, 10 pixels of each class, disjoint blocks. ``final`` takes the control and the
level of DiffGraph's features that are best there, and measures only these two on the splits with
seeds 20 to 29; then, on each of these splits, those that its own validation pixels choose.

    python experiments/fields.py develop --root data
    python experiments/fields.py final --root data
    python experiments/fields.py picture --root data

Both continue where they stopped. The results: docs/results.md.
"""

from __future__ import annotations

import argparse
import csv
import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from hsi_diffusion import SceneClassifier, load_custom_scene, load_scene
from hsi_diffusion.classifiers import SupportVectorMachine
from hsi_diffusion.console import quieten
from hsi_diffusion.patches import (
    MNF,
    MinMax,
    RelevantComponents,
    blur_radius,
    field_map,
    gaussian_blur,
    make_split,
)
from hsi_diffusion.recipes import merge, read_preset
from hsi_diffusion.reports import paired, save_figure
from hsi_diffusion.scenes import join_scenes, open_raster, resample_bands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hsi_diffusion import Scene, Split

    Key = tuple[str, str, int, str, str]

OUT = Path(__file__).parent / "results" / "fields"
TITLES = {"fields": "Unseen fields", "10": "10 per class", "blocks": "Disjoint blocks"}
KINDS = tuple(TITLES)
DEVELOPMENT, FINAL = range(100, 110), range(20, 30)
KERNELS = {"1.5/100": (1.5, 100.0), "3/10": (3.0, 10.0)}
"""Width and cost, in the units of :class:`SupportVectorMachine` with ``standardise``."""
PRETRAININGS = 3
"""Split n has features of pretraining n % 3 of the recipe; other tries have one pretraining."""

SPACES = {
    "min-max bands": MinMax(),
    "MNF-24": MNF(24),
    "whitened in superpixels, 16": RelevantComponents(16),
    "whitened in superpixels, 24": RelevantComponents(24),
}
UNET = {
    "denoiser": {"class_path": "UNet2D", "init_args": {"channels": 64, "multipliers": [1, 1, 2]}},
    "schedule": {"class_path": "NoiseSchedule", "init_args": {}},
    "patch_size": 32,
    "batch_size": 8,
    "losses": {"l1": 1.0},
    "contrast": {"instance": 0.0},
    "learning_rate": 0.004,
    "warmup": 0.1,
    "gradient_clip": 1.0,
}
UNET_MNF = UNET | {"transform": {"class_path": "MNF", "init_args": {"components": 24}}}
JOINED = "pixels, denoised and contrasted"
TWO = "pixels of two scenes"
"""Salinas-A, of the same sensor, resampled to the bands of Indian Pines, is learned beside it."""
TRIES: dict[str, tuple[dict[str, Any], int, tuple[int, ...]]] = {
    JOINED: ({}, 10, (0, 1, 2)),
    "pixels, denoised only": ({"contrast": {"instance": 0.0}}, 10, (1, 2)),
    "pixels, contrasted only": ({"losses": {"l2": 1e-3}}, 10, (1, 2)),
    "pixels, 300 steps": ({"steps": 300}, 10, (1, 2)),
    "pixels, 30 % of bands dropped": (
        {"contrast": {"augmentation": {"band_dropout": 0.3}}},
        10,
        (1, 2),
    ),
    "pixels of 8 x 8": ({"patch_size": 8, "contrast": {"shift": 7}}, 10, (1, 2)),
    "pixels, gain and noise": (
        {"contrast": {"augmentation": {"gain": 0.2, "band_noise": 0.3}}},
        10,
        (1, 2),
    ),
    "U-Net on MNF-24, 100 steps": (UNET_MNF | {"steps": 100}, 100, (1, 2)),
    "U-Net on MNF-24, 400 steps": (UNET_MNF | {"steps": 400}, 100, (1, 2)),
    "U-Net on whitened, 400 steps": (UNET | {"steps": 400}, 100, (1, 2)),
    TWO: ({}, 10, (1, 2)),
}
"""What is changed in the recipe's pretraining, the timestep, and the levels of the features."""
TOGETHER = "three pretrainings side by side"


class Cubes:
    """The candidates' cubes (H, W, C), made when they are wanted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scene = load_scene("indian_pines", root)
        self.controls = [f"{space}, blur {blur}" for space in SPACES for blur in (0, 1, 2, 3)]
        levels = [(name, n) for name, (_, _, numbers) in TRIES.items() for n in numbers]
        levels[3:3] = [(TOGETHER, 1), (TOGETHER, 2)]
        self.methods = [f"{name}, level {n}" for name, n in levels]

    def __call__(self, name: str, seed: int) -> NDArray[np.float32]:
        """The cube of a candidate, for the split with this seed."""
        first, _, last = name.rpartition(", ")
        number = int(last.split()[1])
        if first in SPACES:
            return gaussian_blur(self._space(first), number)
        if first == TOGETHER:
            parts = [self._features(JOINED, number, n) for n in range(PRETRAININGS)]
            return np.concatenate(parts, axis=2)
        return self._features(first, number, seed % PRETRAININGS if first == JOINED else 0)

    @functools.cache  # noqa: B019
    def _space(self, name: str) -> NDArray[np.float32]:
        return SPACES[name].fit(self.scene.cube).transform(self.scene.cube)

    @functools.cache  # noqa: B019
    def _features(self, name: str, level: int, seed: int) -> NDArray[np.float32]:
        module = self._pretrained(name, seed)
        values = module.transform.transform(self.scene.cube)
        found = module.extract_features(values, timesteps=(TRIES[name][1],), levels=(level,))
        return np.asarray(found.array)

    @functools.cache  # noqa: B019
    def _pretrained(self, name: str, seed: int) -> Any:
        recipe = merge(read_preset("diffgraph", "cpu"), {"pretrain": TRIES[name][0]})
        learned = self._two_scenes() if name == TWO else self.scene
        return SceneClassifier(recipe, seed=seed).pretrain(learned)

    def _two_scenes(self) -> Scene:
        other, bands = load_scene("salinas_a", self.root), self.scene.info.wavelengths or ()
        image = replace(open_raster(other.cube), wavelengths=other.info.wavelengths)
        return join_scenes(
            [self.scene, load_custom_scene(resample_bands(image, bands), wavelengths=bands)]
        )


def accuracy(
    cube: NDArray[np.float32], labels: NDArray[Any], kernel: str, split: Split
) -> tuple[float, float]:
    """Accuracy on the validation pixels, having learned the training, and on the test pixels."""
    rows, classes = cube.reshape(-1, cube.shape[2]), labels.ravel()
    width, cost = KERNELS[kernel]

    def right(train: NDArray[np.int64], wanted: NDArray[np.int64]) -> float:
        machine = SupportVectorMachine([width], [cost], standardise=True)
        machine.fit(rows[train], classes[train])
        return float(machine.score(rows[wanted], classes[wanted]))

    return right(split.train, split.val), right(split.labelled, split.test)


class Results:
    """Rows of a CSV file: kind of split, candidate, kernel, seed; accuracies in percent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[tuple[str, str, str, int], tuple[float, float]] = {}
        if path.exists():
            with path.open(newline="") as file:
                for kind, name, kernel, seed, val, test in list(csv.reader(file))[1:]:
                    self.rows[kind, name, kernel, int(seed)] = float(val), float(test)

    def measure(self, cubes: Cubes, kind: str, names: list[tuple[str, str]], seeds: range) -> None:
        """Fill in what is not there, and write it at once."""
        labels = cubes.scene.labels
        for name, kernel in names:
            for seed in seeds:
                if (kind, name, kernel, seed) in self.rows:
                    continue
                # what lies nearer than the widest blur reaches is not tested on blocks
                split = make_split(labels, kind, seed=seed, patch_size=1, guard=blur_radius(2))
                found = accuracy(cubes(name, seed), labels, kernel, split)
                self.rows[kind, name, kernel, seed] = found
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", newline="") as file:
                    writer = csv.writer(file)
                    if file.tell() == 0:
                        writer.writerow(("kind", "candidate", "kernel", "seed", "val", "test"))
                    writer.writerow((kind, name, kernel, seed, *(f"{v:.6f}" for v in found)))
            mean = np.mean([self.rows[kind, name, kernel, seed][1] for seed in seeds])
            print(f"{kind}: {name}, kernel {kernel}: {mean:.2%}", flush=True)

    def best(self, kind: str, names: list[str]) -> tuple[str, str]:
        """The candidate and kernel with the best mean on the development splits."""

        def mean(pair: tuple[str, str]) -> float:
            return float(np.mean([self.rows[kind, *pair, seed][1] for seed in DEVELOPMENT]))

        return max(pairs_of(names), key=mean)


def pairs_of(names: list[str]) -> list[tuple[str, str]]:
    """Every candidate with every kernel."""
    return [(name, kernel) for name in names for kernel in KERNELS]


def final(cubes: Cubes, developed: Results, measured: Results) -> Iterator[str]:
    """Measure the best of both sides, then what each split's validation pixels choose."""
    yield "| splits | chosen by | with pretraining | without | difference | p | better |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    both = (cubes.methods[:3], cubes.controls)
    for kind in KINDS:
        best = [developed.best(kind, names) for names in both]
        measured.measure(cubes, kind, best, FINAL)
        sides = [{s: measured.rows[kind, *pair, s][1] for s in FINAL} for pair in best]
        yield line(kind, "development splits", sides)
        yield f"| | | {' | '.join(f'{name}, kernel {kernel}' for name, kernel in best)} | | | |"
    for kind in KINDS:
        candidates = [[developed.best(kind, [name]) for name in names] for names in both]
        for names in candidates:
            measured.measure(cubes, kind, names, FINAL)
        sides = [
            {s: chosen([measured.rows[kind, *pair, s] for pair in names]) for s in FINAL}
            for names in candidates
        ]
        yield line(kind, "validation pixels of each split", sides)


def chosen(rows: list[tuple[float, float]]) -> float:
    """Accuracy on the test pixels of what is best on the validation pixels; of equals the first."""
    return max(rows, key=lambda row: row[0])[1]


def line(kind: str, how: str, sides: list[dict[int, float]]) -> str:
    """A row of the table."""
    test, found = paired(*sides), [list(side.values()) for side in sides]
    means = [f"{np.mean(side):.2%} ± {np.std(side, ddof=1):.2%}" for side in found]
    better = sum(sides[0][seed] > sides[1][seed] for seed in FINAL)
    return (
        f"| {kind} | {how} | {means[0]} | {means[1]} | {test.mean:+.2f} ± {test.deviation:.2f} | "
        f"{test.p_t:.3f} | {better} of {len(FINAL)} |"
    )


def picture(cubes: Cubes, developed: Results) -> None:
    """Accuracy by blur on the development splits, and each field when all others are known."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    *panels, last = figure.subplots(1, 4)
    series = {space: [f"{space}, blur {blur}" for blur in (0, 1, 2, 3)] for space in SPACES} | {
        "DiffGraph's features": cubes.methods[:3]
    }
    for panel, kind in zip(panels, KINDS, strict=True):
        for name, names in series.items():
            best = [developed.best(kind, [one]) for one in names]
            means = [np.mean([developed.rows[kind, *b, s][1] for s in DEVELOPMENT]) for b in best]
            panel.plot(range(len(names)), 100 * np.array(means), marker="o", label=name)
        panel.set(title=TITLES[kind], xlabel="blur (pixels)")
    panels[0].set_ylabel("OA (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    labels, rows = cubes.scene.labels, cubes("whitened in superpixels, 24, blur 1", 0)
    fields, right = field_map(labels), np.full(labels.shape, np.nan)
    several = [k for k in np.unique(labels[labels > 0]) if len(np.unique(fields[labels == k])) > 1]
    used = np.isin(labels, several)
    for number in np.unique(fields[used]):
        train = np.flatnonzero(used & (fields != number))
        train = np.random.default_rng(0).permutation(train)[:2500]
        machine = SupportVectorMachine([3.0], [10.0], standardise=True)
        machine.fit(rows.reshape(-1, rows.shape[2])[train], labels.ravel()[train])
        own = fields == number
        right[own] = machine.score(rows[own], labels[own])
    print(f"each field, all others known: {right[used].mean():.2%} of the pixels")
    image = last.imshow(100 * right, cmap="cividis", vmin=0, vmax=100)
    last.set(title="Right (%) in each field,\nall other fields known", xticks=[], yticks=[])
    figure.colorbar(image, ax=last, shrink=0.8)
    save_figure(figure, OUT / "fields.png")


def main() -> None:
    """Run one of the phases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("phase", choices=("develop", "final", "picture"))
    parser.add_argument(
        "--root", type=Path, default=Path("data"), help="folder with the scene's files"
    )
    parser.add_argument("--only", default="", help="develop candidates whose names hold this")
    options = parser.parse_args()
    quieten()
    cubes = Cubes(options.root)
    developed = Results(OUT / "development.csv")
    for name in [*cubes.controls, *cubes.methods] if options.phase == "develop" else ():
        if options.only in name:
            for kind in KINDS:
                developed.measure(cubes, kind, pairs_of([name]), DEVELOPMENT)
    if options.phase == "picture":
        picture(cubes, developed)
    if options.phase == "final":
        lines: list[str] = []
        for text in final(cubes, developed, Results(OUT / "final.csv")):
            lines.append(text)
            print(text, flush=True)
            (OUT / "final.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
