"""From a simulated flight campaign to a map of its second line: each command with its time.

Runs what docs/own_images.md tells, and compares the GeoTIFF with the fields of line 2 by their
coordinates. What is there is not run again.

    python experiments/campaign.py --folder campaign --preset cpu
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion import load_custom_scene, simulate_campaign
from hsi_diffusion.cli import main as hsi_diffusion
from hsi_diffusion.scenes import open_raster

if TYPE_CHECKING:
    from collections.abc import Callable


def timed(what: str, made: Path, work: Callable[[], object]) -> None:
    """Do what makes a file, unless it is there, and print the seconds."""
    if made.exists():
        return
    start = time.perf_counter()
    if status := work():
        raise SystemExit(f"{what} ended with {status}")
    print(f"{what}: {time.perf_counter() - start:.0f} s")


def accuracy(file: Path, image: Path, fields: Path) -> tuple[float, int]:
    """Share of the pixels in fields whose class a map names rightly, and their number."""
    truth, found = load_custom_scene(image, fields), open_raster(file, ndim=2)
    places = [one.georeference for one in (found, open_raster(image))]
    if None in places or len({place.transform for place in places if place}) != 1:
        raise SystemExit(f"{file} does not lie on {image}")
    values = found.read()[0][:, :, 0]
    known = (truth.labels > 0) & (values > 0)
    names = np.array(["", *truth.info.class_names])[truth.labels[known]]
    said = np.array([(found.class_names or {})[value] for value in values[known].tolist()])
    return float((names == said).mean()), int(known.sum())


def main() -> None:
    """Run, map, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("campaign"))
    parser.add_argument("--preset", default="cpu")
    options = parser.parse_args()
    folder: Path = options.folder
    timed("campaign", folder / "line1.hdr", lambda: simulate_campaign(folder) and None)
    run, file = folder / f"run-{options.preset}", folder / f"map-{options.preset}.tif"
    learned = ["--cube", f"{folder}/line1.hdr", "--labels", f"{folder}/fields1.gpkg"]
    settings = ["--split", "polygons", "--preset", options.preset, "--out", str(run)]
    timed("run", run, lambda: hsi_diffusion(["run", *learned, *settings]))
    mapped = ["--model", f"{run}/model", "--image", f"{folder}/line2.hdr", "--out", str(file)]
    timed("map", file, lambda: hsi_diffusion(["map", *mapped]))
    right, pixels = accuracy(file, folder / "line2.hdr", folder / "fields2.gpkg")
    print(f"{right:.1%} of {pixels:,} pixels in fields of line 2 are right")


if __name__ == "__main__":
    main()
