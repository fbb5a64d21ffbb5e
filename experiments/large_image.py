"""Time and memory of a fit on sampled windows, and of the map, for images of growing size.

Makes GeoTIFFs of SIDE x SIDE x 100 uint16 (4,000: 3.2 GB), fits MNF, a small denoiser and a
classifier on sampled windows of each, and maps all of it, by one process and by two. Every step
runs in a process of its own; its memory is the most that a process held above what it held after
the imports, without pages of files, which the system takes back. On a machine with other work the
computing time of all its processes says more than the time on the clock; with workers it includes
about 10 s for the imports of the process that they are forked from. The images are deleted.

    python experiments/large_image.py --sides 1000 2000 4000
"""

from __future__ import annotations

import argparse
import filecmp
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import rasterio

from hsi_diffusion import SceneClassifier, load_custom_scene, make_split, simulate_scene
from hsi_diffusion.files import write_text
from hsi_diffusion.models import map_image
from hsi_diffusion.recipes import Recipe, from_plain

if TYPE_CHECKING:
    from collections.abc import Callable

BANDS, CLASSES, BLOCK = 100, 6, 500
RESULTS = Path(__file__).resolve().parent / "results" / "large_image"
RECIPE: dict[str, Any] = {
    "pretrain": {
        "transform": {"class_path": "MNF", "init_args": {"components": 8}},
        "denoiser": {"class_path": "UNet2D", "init_args": {"channels": 8, "multipliers": [1, 2]}},
        "prediction": "x0",
        "steps": 100,
        "patch_size": 16,
        "batch_size": 16,
        "learning_rate": 0.002,
    },
    "features": {"timesteps": [100], "levels": [1], "noise": "none", "components": 8},
    "classifier": {"estimator": "sklearn.linear_model.LogisticRegression"},
}


def make(side: int, folder: Path) -> None:
    """Write the image and its label map: one scene again and again, with noise of its own."""
    scene = simulate_scene(BLOCK, BLOCK, BANDS, CLASSES)
    low, high = np.percentile(scene.cube, (1, 99))
    block = 2000 + 8000 * ((scene.cube - low) / (high - low)).clip(0, 2)
    random = np.random.default_rng(0)
    labels = np.zeros((side, side), dtype=np.uint8)
    with rasterio.open(
        folder / "image.tif", "w", driver="GTiff", height=side, width=side, count=BANDS,
        dtype="uint16", crs="EPSG:32632", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
        tiled=True, interleave="pixel", blockxsize=256, blockysize=256, bigtiff="yes",
    ) as file:  # fmt: skip
        for row in range(0, side, BLOCK):
            for column in range(0, side, BLOCK):
                noisy = (block + random.normal(0, 30, block.shape)).astype(np.uint16)
                window = rasterio.windows.Window(column, row, BLOCK, BLOCK)
                file.write(noisy.transpose(2, 0, 1), window=window)
                labels[row : row + BLOCK, column : column + BLOCK] = scene.labels
    kept = np.zeros(labels.shape, dtype=bool)  # a field of 8 x 8 pixels here and there
    for row, column in random.integers(0, side - 8, (150, 2)):
        kept[row : row + 8, column : column + 8] = True
    np.save(folder / "truth.npy", labels)
    np.save(folder / "labels.npy", np.where(kept, labels, 0))


def fit(folder: Path) -> str:
    """Fit the recipe on sampled windows."""
    image, labels = folder / "image.tif", folder / "labels.npy"
    scene = load_custom_scene(image, labels, sample=2**18, name="large")
    split = make_split(scene.labels, "100", patch_size=1, seed=0)
    SceneClassifier(from_plain(Recipe, RECIPE)).fit(scene, split).save(folder / "model")
    return f"{scene.height} x {scene.width} pixels sampled"


def draw(folder: Path, workers: int | None) -> str:
    """Map the image."""
    out = folder / f"map-{workers or 1}.tif"
    map_image(folder / "model", folder / "image.tif", [out], workers=workers)
    truth = np.load(folder / "truth.npy", allow_pickle=False)
    with rasterio.open(out) as file:
        found = file.read(1)
    return f"{100 * (found == truth)[truth > 0].mean():.2f} % right"


def held(process: psutil.Process) -> int:
    """Bytes of memory that a process holds, without pages of files."""
    info = process.memory_info()
    return int(info.rss - getattr(info, "shared", 0))


def measured(work: Callable[[], str]) -> dict[str, Any]:
    """Time of some work, and the most memory that one of its processes held above the imports."""
    this = psutil.Process()
    before, peak, done = held(this), 0, threading.Event()
    computed: dict[int, float] = {}  # of each process as it was last seen

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            for process in (this, *this.children(recursive=True)):
                try:
                    peak = max(peak, held(process))
                    computed[process.pid] = sum(process.cpu_times()[:2])
                except psutil.Error:  # it has ended
                    continue

    watcher = threading.Thread(target=watch)
    start, began = time.perf_counter(), time.process_time()
    watcher.start()
    try:
        note = work()
    finally:
        done.set()
        watcher.join()
    computed[this.pid] = time.process_time()
    return {
        "seconds": time.perf_counter() - start,
        "computed": sum(computed.values()) - began,
        "memory": (peak - before) / 1e9,
        "note": note,
    }


def main() -> None:
    """Measure all sizes, or do one step of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[1000, 2000, 4000])
    parser.add_argument("--step", nargs=2, metavar=("STEP", "FOLDER"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.step is not None:
        name, folder = options.step[0], Path(options.step[1])
        steps = {
            "fit": lambda: fit(folder),
            "map": lambda: draw(folder, None),
            "map, 2 workers": lambda: draw(folder, 2),
        }
        print(json.dumps(measured(steps[name])))
        return
    lines = [
        "# Large images: time and memory\n",
        "| image | step | seconds | computing, s | µs per pixel | GB above the imports | |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for side in options.sides:
        with tempfile.TemporaryDirectory() as name:
            make(side, Path(name))
            for step in ("fit", "map", "map, 2 workers"):
                command = [sys.executable, __file__, "--step", step, name]
                text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
                found = json.loads(text.splitlines()[-1])
                each = 1e6 * found["computed"] / side**2
                size = f"{side:,} x {side:,} x {BANDS}"
                times = f"{found['seconds']:.0f} | {found['computed']:.0f} | {each:.1f}"
                numbers = f"{times} | {found['memory']:.2f}"
                lines.append(f"| {size} | {step} | {numbers} | {found['note']} |")
                print(lines[-1], flush=True)
            same = filecmp.cmp(f"{name}/map-1.tif", f"{name}/map-2.tif", shallow=False)
            lines[-1] = lines[-1][:-1] + f"{'same bytes' if same else 'OTHER BYTES'} |"
            print(lines[-1], flush=True)
        write_text(options.out / "large_image.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
