"""Change bytes of files of every format, and count what reading them ends in.

    python -m tests.fuzz.files --count 20000 --out tests/fuzz/files.md

A file ends well if it is read or refused with an error of the library's own. The parser may crash,
hang or ask for all memory, in its own process; the caller never does, nor sees another exception.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import scipy.io
import tifffile

from hsi_diffusion.errors import HsiDiffusionError
from hsi_diffusion.scenes import isolated, read_array
from tests.scenes.mat73 import write_mat73

if TYPE_CHECKING:
    from collections.abc import Callable

CUBE = np.random.default_rng(0).integers(0, 99, (6, 5, 4)).astype(np.int16)

SECONDS = 5
MEMORY = 2 << 30

COLUMNS = (
    "read",
    "refused",
    "parser crashed",
    "parser hung",
    "parser out of memory",
    "foreign exception",
    "slow",
)


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("cube", data=CUBE, compression="gzip", chunks=(3, 5, 2))


def write_npy(path: Path) -> None:
    with path.open("wb") as raw:
        np.save(raw, CUBE)


def write_envi(path: Path) -> None:
    path.write_text(
        "ENVI\nsamples = 5\nlines = 6\nbands = 4\nheader offset = 0\nfile type = ENVI Standard\n"
        "data type = 2\ninterleave = bil\nbyte order = 0\nwavelength units = Nanometers\n"
        "wavelength = {400, 500, 600.5, 700}\nmap info = {UTM, 1, 1, 5e5, 4e6, 2, 2, 33, North}\n"
    )
    path.with_suffix(".img").write_bytes(CUBE.tobytes())


def write_roi(path: Path) -> None:
    points = "".join(f"{n + 1} {n + 1} 2 0.5 0.5\n" for n in range(4))
    path.write_text(
        "; ENVI Output of ROIs (4.8)\n; Number of ROIs: 2\n; File Dimension: 5 x 6\n;\n"
        "; ROI name: grass\n; ROI rgb value: {0, 1, 2}\n; ROI npts: 3\n;\n"
        f"; ROI name: road\n; ROI npts: 1\n; ID X Y Lat Lon\n{points}"
    )


FORMATS: dict[str, Callable[[Path], object]] = {
    "mat v5": lambda path: scipy.io.savemat(path, {"cube": CUBE}, appendmat=False),
    "mat v5, compressed": lambda path: scipy.io.savemat(
        path, {"cube": CUBE, "text": "x", "cell": {"a": 1.5}}, appendmat=False, do_compression=True
    ),
    "mat v7.3": lambda path: write_mat73(path, {"cube": CUBE}),
    "HDF5, compressed": write_hdf5,
    "npy": write_npy,
    "TIFF": lambda path: tifffile.imwrite(path, CUBE.T, photometric="minisblack"),
    "TIFF, compressed": lambda path: tifffile.imwrite(
        path, CUBE.T, photometric="minisblack", compression="zlib", planarconfig="separate"
    ),
    "ENVI header": write_envi,
    "ROI text": write_roi,
}


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """The file with one to four changes: bytes, extreme numbers, cuts, copies of a part."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        place = int(random.integers(len(data) or 1))
        if random.random() < 0.5:  # most of what parsers trust stands in front
            place = int(place * random.random() ** 2)
        match random.integers(6):
            case 0 | 1:
                data[place : place + 1] = random.bytes(1)
            case 2:
                data[place : place + 1] = bytes([random.choice((0, 1, 127, 128, 254, 255))])
            case 3:
                width = int(random.choice((2, 4, 8)))
                extreme = int(random.choice((0, 1, 2**15, 2**31 - 1, 2**32 - 1, 2**53)))
                number = extreme.to_bytes(8, "little")[:width]
                data[place : place + width] = number if random.random() < 0.7 else number[::-1]
            case 4:
                del data[place : place + int(random.integers(1, 64))]
            case 5:
                start = int(random.integers(len(data) or 1))
                data[place:place] = data[start : start + int(random.integers(1, 64))]
    return bytes(data)


def outcome(path: Path) -> str:
    """What reading ends in, a key of COLUMNS."""
    try:
        read_array(path)
    except HsiDiffusionError as error:
        told = str(error)
        for reason, sign in (
            ("parser crashed", "ended in a crash"),
            ("parser hung", "was stopped after"),
            ("parser out of memory", "asks for more memory"),
        ):
            if sign in told:
                return reason
        return "refused"
    except Exception as error:
        return f"foreign exception: {error!r}"
    return "read"


def fuzz(name: str, count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Read ``count`` mutations of one format."""
    path = folder / "cube.hdr"
    FORMATS[name](path)
    content, random, found = path.read_bytes(), np.random.default_rng(seed), Counter[str]()
    before, isolated.SECONDS = isolated.SECONDS, SECONDS
    try:
        for _ in range(count):
            path.write_bytes(mutated(content, random))
            start = time.monotonic()
            what = outcome(path)
            if what.startswith("foreign"):
                print(f"{name}: {what}")
            found[what.split(":")[0]] += 1
            found["slow"] += time.monotonic() - start > 120
    finally:
        isolated.SECONDS = before
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = [
        f"{options.count:,} mutations of each format; limits {SECONDS} s and {MEMORY >> 30} GiB.",
        "What the parser does in its own process does not reach the caller: the last two columns",
        "must be 0 (slow: more than 2 minutes).\n",
        "| format | " + " | ".join(COLUMNS) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for name in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            found = fuzz(name, options.count, Path(folder))
        lines.append(f"| {name} | " + " | ".join(f"{found[key]:,}" for key in COLUMNS) + " |")
        print(lines[-1], f"{time.monotonic() - start:.0f} s", flush=True)
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
