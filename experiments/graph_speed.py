"""How long the graph of a large scene takes, and how many of the nearest neighbours it finds.

A simulated scene, its MNF components in units of their noise, and the five nearest of every pixel
among all others, twice: the first search of a process compiles its code. The neighbours of 500
pixels are compared with those that all distances give (recall).

    python experiments/graph_speed.py                          # Houston 2013's size
    python experiments/graph_speed.py --height 291 --width 381
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from hsi_diffusion import simulate_scene
from hsi_diffusion.graphs.neighbours import nearest_rows, pixel_rows
from hsi_diffusion.hardware import describe_hardware
from hsi_diffusion.patches import MNF

NEIGHBOURS = 5
COMPARED = 500


def recall(rows: torch.Tensor, found: torch.Tensor) -> float:
    """Share of the true nearest neighbours of some pixels that were found, by distance."""
    some = torch.from_numpy(np.random.default_rng(0).choice(len(rows), COMPARED, replace=False))
    farthest = [
        (rows - rows[pixel]).norm(dim=1).topk(NEIGHBOURS + 1, largest=False).values[-1]
        for pixel in some
    ]
    near = (rows[found[some]] - rows[some][:, None]).norm(dim=2) <= torch.stack(farthest)[:, None]
    return float(near.float().mean())


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--height", type=int, default=349)
    parser.add_argument("--width", type=int, default=1905)
    parser.add_argument("--bands", type=int, default=144)
    parser.add_argument("--components", type=int, default=24)
    options = parser.parse_args(arguments)
    scene = simulate_scene(options.height, options.width, options.bands, 15)
    transform = MNF(options.components, scale="noise")
    rows = pixel_rows(transform.fit(scene.cube).transform(scene.cube), NEIGHBOURS)
    print(describe_hardware())
    for which in ("first", "second"):
        wall, computing = time.perf_counter(), time.process_time()
        _, found = nearest_rows(rows, NEIGHBOURS)
        wall, computing = time.perf_counter() - wall, time.process_time() - computing
        share = recall(rows, found)
        print(
            f"{which} search, {len(rows):,} pixels: {wall:.0f} s, {computing:.0f} s of computing "
            f"time, recall {share:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
