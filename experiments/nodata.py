"""What nodata costs: rows of Salinas-A, and a border around it, against the same scene without.

``rows``: five of the 83 rows are -9999. A support vector machine learns the scaled bands or
components of ten pixels per class; the control has the same labels and its five rows. Where
nothing is declared, the rows count as spectra.

``border``: whole runs of the three methods, preset quick, 10 % of each class, on the scene as it is
and inside a border of nodata 8 pixels wide.

    python experiments/nodata.py rows border --root data
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.svm import SVC

from hsi_diffusion import SceneClassifier, load_custom_scene, load_scene, make_split
from hsi_diffusion.files import write_text
from hsi_diffusion.patches import MNF, PCA, BandTransform, MinMax
from hsi_diffusion.recipes import read_preset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hsi_diffusion.scenes import Scene

NODATA, ROWS, BORDER = -9999, slice(39, 44), 8
METHODS = ("spectraldiff", "diffspectralnet", "diffcrn")
TRANSFORMS: dict[str, Callable[[], BandTransform]] = {
    "min-max": MinMax,
    "PCA": lambda: PCA(24),
    "MNF": lambda: MNF(24),
}
RESULTS = Path(__file__).resolve().parent / "results" / "nodata"


def accuracy(scene: Scene, transform: BandTransform, seed: int) -> float:
    """Overall accuracy in percent of a support vector machine on ten pixels of each class."""
    split = make_split(scene.labels, "10", patch_size=1, seed=seed)
    pixels = transform.fit(scene.cube, scene.valid).transform(scene.cube)
    pixels = pixels.reshape(-1, pixels.shape[2])
    classes = scene.labels.ravel()
    machine = SVC(C=100).fit(pixels[split.labelled], classes[split.labelled])
    return 100 * float(machine.score(pixels[split.test], classes[split.test]))


def rows(scene: Scene, seeds: int) -> Iterator[str]:
    """Table of the five rows."""
    labels, cube = scene.labels.copy(), scene.cube.astype(np.int32)
    labels[ROWS] = 0
    control = load_custom_scene(cube.copy(), labels)
    cube[ROWS] = NODATA
    declared = load_custom_scene(cube, labels, nodata=NODATA)
    scenes = (control, declared, replace(control, cube=cube))
    yield "| scaling | control | nodata declared | difference | not declared |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, make in TRANSFORMS.items():
        found = np.array([[accuracy(one, make(), seed) for seed in range(seeds)] for one in scenes])
        clean, cut_out, spoilt = (f"{one.mean():.2f} ± {one.std(ddof=1):.2f}" for one in found)
        apart = np.mean(found[1] - found[0])
        yield f"| {name} | {clean} | {cut_out} | {apart:+.2f} | {spoilt} |"


def border(scene: Scene, seeds: int) -> Iterator[str]:
    """Table of whole runs inside a border."""
    frame = ((BORDER, BORDER), (BORDER, BORDER))
    cube = np.pad(scene.cube.astype(np.int32), (*frame, (0, 0)), constant_values=NODATA)
    framed = load_custom_scene(cube, np.pad(scene.labels, frame), nodata=NODATA)
    yield "| method | seed | clean | inside the border | difference | seconds each |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for seed in range(seeds):
        for method in METHODS:
            start, found = time.perf_counter(), []
            for one in (scene, framed):
                split = make_split(one.labels, "0.1", patch_size=9, seed=seed)
                model = SceneClassifier(read_preset(method, "quick"), seed=seed).fit(one, split)
                right = model.predict(one).classes == one.labels
                found.append(100 * float(right.ravel()[split.test].mean()))
            apart, each = found[1] - found[0], (time.perf_counter() - start) / 2
            yield (
                f"| {method} | {seed} | {found[0]:.2f} | {found[1]:.2f} | {apart:+.2f} | "
                f"{each:.0f} |"
            )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=("rows", "border"))
    parser.add_argument("--root", default="data")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    scene = load_scene("salinas_a", options.root)
    for part in options.parts:
        lines = []
        for line in {"rows": rows, "border": border}[part](scene, options.seeds):
            lines.append(line)
            print(line, flush=True)
            write_text(options.out / f"{part}.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
