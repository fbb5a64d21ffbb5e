"""Whole runs at the size of Houston 2013: time and memory of each method's preset.

Simulates 349 x 1905 pixels of 144 bands and 15 classes, learns 100 pixels of each class, and adds a
row to ``results/houston_size.md``: time on the clock, computing time, the most memory that the run
held, the time of its stages, and the overall accuracy. ``--threads`` are those of one process.

    python experiments/houston_size.py diffgraph diffcrn --threads 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from hsi_diffusion.files import write_text
from hsi_diffusion.hardware import describe_hardware

OUT = Path(__file__).resolve().parent / "results" / "houston_size.md"
SIZE = {"height": 349, "width": 1905, "bands": 144, "num_classes": 15}
SMALL = {"height": 40, "width": 60, "bands": 24, "num_classes": 3}
HEAD = (
    "| method | minutes | computing, min | memory, GB | OA, % | minutes of each stage | on |\n"
    "| --- | ---: | ---: | ---: | ---: | --- | --- |\n"
)


def run(method: str, preset: str, threads: int, size: dict[str, int]) -> str:
    """A row of the table.

    Raises:
        CalledProcessError: The run failed.
    """
    simulated = [f"--simulated.{name}={value}" for name, value in size.items()]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hsi_diffusion.cli", "run", "--split=100", "--no-progress"]
        choices = [f"--method={method}", f"--preset={preset}", f"--out={folder}/run"]
        child = subprocess.Popen(  # noqa: S603
            [*command, *choices, *simulated],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )
        # what this run alone took; RUSAGE_CHILDREN tells the most memory of all runs so far
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, child.args)
        found = json.loads(Path(folder, "run", "metrics.json").read_text(encoding="utf-8"))
    seconds, computed = time.perf_counter() - start, used.ru_utime + used.ru_stime
    stages = "; ".join(f"{name} {value / 60:.1f}" for name, value in found["seconds"].items())
    return (
        f"| {method}, {preset} | {seconds / 60:.1f} | {computed / 60:.1f} "
        f"| {used.ru_maxrss / 2**20:.1f} | {100 * found['overall_accuracy']:.2f} | {stages} "
        f"| {describe_hardware()} |\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the methods one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--small", action="store_true", help="a tiny scene, to try the script")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)  # which the rows tell
    size = SMALL if options.small else SIZE
    for method in options.methods:
        row = run(method, options.preset, options.threads, size)
        earlier = options.out.read_text(encoding="utf-8") if options.out.exists() else HEAD
        write_text(options.out, earlier + row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
