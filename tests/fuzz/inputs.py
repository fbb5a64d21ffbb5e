"""Give the program what it can't use, and count what happens.

    python -m tests.fuzz.inputs

Each line must end with exit code 2 and one message, without a traceback, and leave nothing.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.cli import main as program
from tests.runs.tiny import TINY

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = ("run", "--no-progress", "--logger=none", "--accelerator=cpu", "--split=10")
SMALL = "--simulated={height: 24, width: 24, bands: 16, num_classes: 3}"
OWN = ("run", "--no-progress", "--logger=none", "--accelerator=cpu", "--method=knn", "--split=5")


def words(text: str) -> list[str]:
    return text.split()


COUNTS = words("""
pretrain.steps pretrain.patch_size pretrain.batch_size pretrain.micro_batch_size features.draws
features.tile features.components choice.folds classifier.patch_size classifier.batch_size
classifier.steps classifier.members spreading.neighbours simulated.height
simulated.width simulated.bands simulated.num_classes devices nodes pretrain.contrast.dim
""")
SIZES = words("""
pretrain.learning_rate pretrain.warmup pretrain.weight_decay pretrain.ema_decay
pretrain.gradient_clip classifier.learning_rate classifier.warmup classifier.weight_decay
classifier.label_smoothing spreading.width spreading.alpha spreading.spatial
val_fraction pretrain.contrast.temperature pretrain.contrast.instance
""")
NAMES = words("""
pretrain.lr_schedule pretrain.prediction pretrain.precision pretrain.padding features.noise
features.combine features.scale features.keep classifier.padding classifier.precision
spreading.own logger accelerator method preset scene
""")
PARTS = words("""
pretrain.denoiser pretrain.transform pretrain.schedule pretrain.optimizer pretrain.lr_scheduler
classifier.network classifier.estimator
""")
LISTS = words("""
features.timesteps=[] features.timesteps=[-1] features.timesteps=[99999] features.timesteps=5
features.levels=[] features.levels=[99] features.levels=[1,1] features.levels=x
features.levels=[-9] pretrain.losses={} pretrain.losses={l1:-1} pretrain.losses={l3:1}
pretrain.losses={l1:nan} raw_bands=[1 raw_bands=[{transform:x}] raw_bands=[{blur:-1}] split=0
split=-1 split=1.5 split=nan split=blocks2 split=none.npz split=[] split=1e99 guard=-1 seed=x
seed=1.5 simulated=[] simulated={height:0} simulated={hight:9} pretrain.augmentation={dihedral:2}
pretrain.augmentation={gain:-1} pretrain.augmentation={spin:1} classifier.augmentation=x
spreading.other_alphas=[2] spreading.own_shares=[2] pretrane.steps=3 pretrain.stepz=3 pretrain=3
features=[] =3 download=maybe download=true deterministic=2 scene=salinas
simulated.height=9999999999 pretrain.patch_size=999

""")
YAML = (
    "", "5", "[]", "- a", "{", "a: b: c", "\t- x", "pretrain: 3", "pretrain: {steps: 2020-01-01}",
    "pretrain: {steps: 0x10q}", "seed: 2020-01-01", "seed: !!python/object:os.x {}",
    "method: !!binary aGk=", "? [a, b]\n: 1", "1: 2", "null: 3", "a: &a [*a]", "seed: {a: *b}",
    "[" * 5000, "{a: " * 3000, "seed: 1\nseed: 2\n---\nseed: 3", "method: [svm]", "scene: {a: 1}",
    "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nsplit: *c",
    "pretrain: {denoiser: {class_path: os.system}}",
    "\x00", "seed: .inf", "seed: .nan", "split: {}", "\ufeff{", "<<: 3",
    "pretrain: {steps: 1e400}", "seed: 1e-3", "pretrain: [steps, 3]", "cube: 5", "root: []",
)  # fmt: skip
CUBES = words("""
empty.npy text.npy nan.npy inf.npy complex.npy flat.npy cut.npy pickle.npy huge.npy four.npy
strings.npy folder none.npy none.mat bad.mat bad.h5 bad.tif bad.hdr bad.npz cube.npy:key cube.npy:
:cube zero.npy fifo
""")
LABELS = words("""
empty.npy text.npy wrong.npy turned.npy negative.npy half.npy zeros.npy one.npy cube.npy nan.npy
cut.npy none.npy bad.tif folder pickle.npy
""")
MASKS = words("""
wrong.npy turned.npy none.npy nan.npy zeros.npy cube.npy text.npy folder
""")
SPLITS = words("""
bad.npz text.npz empty.npz other.npz folder.npz pickle.npz none.npz labels.npz
""")
OUT = ("text.npy", "text.npy/run", "folder", "/proc/run", "/dev/null/run", "a" * 300, "full")
OTHERS = (
    """
map|map --model none --image cube.npy --out a.png|map --model folder --image cube.npy --out a.png
map --model text.npy --image cube.npy --out a.png|map --model folder --image cube.npy --out a.xyz
map --model folder --image none.npy --out map.png|map --model folder --image cube.npy --out
map --model folder --image cube.npy --out map|map --model model --image cube.npy --out map.npy
map --model folder --image cube.npy --out map.png --probabilities p.txt|map --model folder
map --model folder --image cube.npy --out map.png --accelerator tpu
map --model folder --image cube.npy --out map.png --network nowhere.Net
benchmark nothing|benchmark --methods foo|benchmark --scenes foo|benchmark --splits foo
benchmark --workers 0|benchmark --workers x
benchmark --preset foo|benchmark --scheduler tcp://127.0.0.1:1
benchmark --seeds 0|benchmark --seeds -1|benchmark --methods|benchmark --out text.npy
ablate --workers x|ablate --what|ablate --preset foo|recipes foo|recipes svm foo|recipes a b c
recipes svm cpu --scene foo --split|rum|run nonsense|run --out|run --resume|run --resume none
run --resume folder|run --resume text.npy|run --resume broken|run --resume list|run --resume stepz
run --resume folder --seed 3|run --config|run --config none.yaml|run --config folder
run --config cube.npy|run --pretrained none|run --pretrained folder|run --pretrained text.npy
run --pretrained bad.npz|run --pretrained pickle.npy|run --method svm --pretrain.steps 5
run --method svm --pretrained text.npy|run --cube cube.npy --scene salinas|run --labels labels.npy
run --pretrain.denoiser.help nothing|fit|fit --model foo|fit --model DiffusionPretrainModule
fit --model DiffusionPretrainModule --model.num_bands x --data foo|fit --config none.yaml
fit --config text.npy|validate --model 5|test --ckpt_path none --model foo|predict --trainer.foo 1
""".strip()
    .replace("\n", "|")
    .split("|")
)


def cases() -> Iterator[tuple[str, ...]]:
    """Command lines that must be refused."""
    tiny = tuple(f"--{name}={value}" for name, value in TINY.items() if name != "split")
    run = (*RUN, *tiny, SMALL)
    for name, value in itertools.product(COUNTS, ("0", "-1", "1.5", "x", "[1]")):
        if (name, value) != ("features.components", "0"):  # which means no reduction
            yield (*run, f"--{name}={value}")
    for name, value in itertools.product(SIZES, ("-1", "nan", "x")):
        yield (*run, f"--{name}={value}")
    for name, value in itertools.product(NAMES, ("nonsense", "[]")):
        yield (*run, f"--{name}={value}")
    for name, value in itertools.product(
        PARTS, ("os.system", "nowhere.Net", "5", "{class_path: 5}")
    ):
        yield (*run, f"--{name}={value}")
    yield from ((*run, f"--{flag}") for flag in LISTS)
    # without flags, which would stand over what the file says
    yield from (("run", "--print_config", f"--config={n}.yaml") for n in range(len(YAML)))
    yield from ((*OWN, "--cube", cube, "--labels", "labels.npy") for cube in CUBES)
    yield from ((*OWN, "--cube", "cube.npy", "--labels", labels) for labels in LABELS)
    own = (*OWN, "--cube", "cube.npy", "--labels", "labels.npy")
    for mask, name in itertools.product(MASKS, ("train", "test")):
        other = "test" if name == "train" else "train"
        yield (*own, "--split=fixed", f"--{name}_mask", mask, f"--{other}_mask", "labels.npy")
    yield from ((*own, "--split", split) for split in SPLITS)
    yield from ((*own, "--out", out) for out in OUT)
    yield from (tuple(line.split(" ")) for line in OTHERS)


def write_files() -> None:
    """The files that the command lines name, in the current folder."""
    random = np.random.default_rng(0)
    cube = random.normal(size=(12, 14, 5)).astype(np.float32)
    labels = np.repeat(np.arange(3), 4)[:, None] * np.ones((1, 14), dtype=int)
    arrays = {
        "cube": cube, "labels": labels, "empty": cube[:0], "complex": cube.astype(complex),
        "nan": cube * np.nan, "inf": cube + np.inf, "flat": cube[0], "four": cube[None],
        "zero": cube[:, :, :0], "wrong": labels[:5], "turned": labels.T, "negative": labels - 1,
        "half": labels + 0.5, "zeros": labels * 0, "one": labels * 0 + 1,
        "strings": np.array([["a"]]),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    np.save("pickle.npy", np.array([{}], dtype=object))
    Path("cut.npy").write_bytes(Path("cube.npy").read_bytes()[:500])
    whole = Path("cube.npy").read_bytes()
    Path("huge.npy").write_bytes(whole.replace(b"(12, 14, 5), }    ", b"(99999, 99999, 5)}"))
    for name in ("text.npy", "text.npz", "bad.npz", "bad.tif", "bad.hdr", "bad.h5", "bad.mat"):
        start = {"tif": b"II*\x00\x08\x00", "hdr": b"ENVI\nlines = x\n", "h5": b"\x89HDF\r\n\x1a\n"}
        start |= {"npz": b"PK\x03\x04", "mat": b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"}
        Path(name).write_bytes(start.get(name[4:], b"") + b"no file of numbers at all" * 9)
    Path("empty.npz").touch()
    np.savez("other.npz", a=labels)
    np.savez("labels.npz", train=labels, val=labels, test=labels)
    np.savez("pickle.npz", train=np.array([{}], dtype=object))
    for name, text in {"broken": "{", "list": "[]", "stepz": "pretrain: {stepz: 1}"}.items():
        Path(name).mkdir()
        Path(name, "config.yaml").write_text(text, encoding="utf-8")
    for name in ("folder", "folder.npz", "full"):
        Path(name).mkdir()
        Path(name, "something").touch()
    os.mkfifo("fifo")
    for number, text in enumerate(YAML):
        Path(f"{number}.yaml").write_text(text, encoding="utf-8")


def fault(arguments: tuple[str, ...]) -> str:
    """What is wrong with how the program refuses a command line; empty if nothing is."""
    before = sorted(Path().rglob("*"))
    told, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(said):
        try:
            code = program(list(arguments))
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        except BaseException:
            return traceback.format_exc()[-600:]
    message = told.getvalue()
    left = set(Path().rglob("*")) - set(before)
    if (runs := Path("runs")) in left:  # an accepted run must not hide the next one
        shutil.rmtree(runs)
    if code != 2:
        return f"exit code {code}: {message[-200:]}"
    if sum("error: " in line for line in message.splitlines()) != 1 and arguments[0] != "rum":
        return f"no single message: {message[-300:]}"
    if "Traceback" in message:
        return message[-600:]
    return f"left {', '.join(map(str, sorted(left)[:3]))}" if left else ""


def main() -> int:
    """Try all command lines."""
    every = list(cases())
    chosen = every if len(sys.argv) < 2 else every[int(sys.argv[1]) :: int(sys.argv[2])]
    failed = 0
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        write_files()
        for case in chosen:
            if found := fault(case):
                failed += 1
                changed = [part[:80] for part in case if part not in RUN]
                print(f"{' '.join(changed[-4:])}\n    {found}", flush=True)  # noqa: T201
    print(f"{len(chosen)} command lines, {failed} not refused as they should")  # noqa: T201
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
