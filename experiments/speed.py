"""How long the work of a run takes, beside a peer or a limit that is timed in the same run.

The sizes are those of Indian Pines (145 x 145 x 200) and, for graphs, of Houston 2013 (349 x 1905 x
144); the scenes are simulated, and weights are random where speed does not depend on them. The two
sides of a row run by turns, and the faster run of each counts. Computing time on a processor is
measured, of all threads, which other programs change less than the time on the clock; card.py is
for graphics cards.

The matmul of a row is what the products and convolutions of the same work would take at the rate
of a product of two large matrices in the same precision: the ratio is the share of that rate.

    python experiments/speed.py --out speed.json
    python experiments/speed.py --rows classifier map --compare speed.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from hsi_diffusion import DiffusionPretrainModule, Graph, NoiseSchedule, UNet3D, simulate_scene
from hsi_diffusion.classifiers import Layout, NetworkClassifier
from hsi_diffusion.console import quieten
from hsi_diffusion.features import FeatureSettings, compute_features, compute_together
from hsi_diffusion.files import write_text
from hsi_diffusion.graphs.neighbours import nearest_rows, pixel_rows
from hsi_diffusion.hardware import describe_hardware, resolve_precision
from hsi_diffusion.models.pretraining import build_pretraining, pretraining_data
from hsi_diffusion.modules import Runtime
from hsi_diffusion.patches import MNF, PatchDataset
from hsi_diffusion.recipes import Recipe, from_plain, preset_for, read_preset
from hsi_diffusion.reports import TextTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hsi_diffusion.hardware import Precision

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """Some work, and what it is measured against.

    Attributes:
        work: What is done.
        seconds: What it takes.
        beside: The peer or the limit.
        peer: Seconds that this takes.
        wanted: The ratio that is aimed at, ``peer / seconds``.
    """

    work: str
    seconds: float
    beside: str
    peer: float
    wanted: str

    @property
    def ratio(self) -> float:
        """How many times as fast as the peer; of a limit, the share that is reached."""
        return self.peer / self.seconds


@dataclass(frozen=True)
class Sizes:
    """How large the work is."""

    side: int = 145
    bands: int = 200
    height: int = 349
    width: int = 1905
    channels: int = 1200
    """Of the features that SpectralDiff's published classifier sees."""
    batch: int = 64
    repeats: int = 2


SMALL = Sizes(side=64, bands=30, height=24, width=20, channels=24, batch=4, repeats=1)


def by_turns(repeats: int, *works: Callable[[], object]) -> list[float]:
    """Computing time of each work, the least of so many runs that take turns."""
    found = [float("inf")] * len(works)
    for _ in range(repeats):
        for number, work in enumerate(works):
            start = time.process_time()
            work()
            found[number] = min(found[number], time.process_time() - start)
    return found


def at_matmul(flops: float, precision: Precision, repeats: int) -> float:
    """Seconds that so much arithmetic takes as products of large matrices."""
    one, number = torch.randn(1024, 1024).to(getattr(torch, precision)), 30

    def products() -> None:
        for _ in range(number):
            one @ one

    products()
    [seconds] = by_turns(repeats, products)
    return seconds * flops / (number * 2 * 1024**3)


class Steps(L.Callback):
    """Computing time of the fastest training step, after the first ones."""

    def __init__(self) -> None:
        self.seconds = float("inf")
        self._began = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._began = time.process_time()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Stop it."""
        if trainer.global_step > 2:
            self.seconds = min(self.seconds, time.process_time() - self._began)


def optimiser_of(module: L.LightningModule) -> torch.optim.Optimizer:
    """The optimiser that a Trainer would give a module."""
    module.trainer = Runtime(accelerator="cpu").make_trainer(steps=100)
    configured: Any = module.configure_optimizers()
    found: torch.optim.Optimizer = configured["optimizer"]
    return found


def untrained(method: str, bands: int) -> DiffusionPretrainModule:
    """A method's denoiser with its first weights, in evaluation mode."""
    settings = recipe_of(method).pretrain
    transform = settings.transform().fit(simulate_scene(48, 48, bands, 9).cube)
    return build_pretraining(settings, transform.num_components, 0).eval()


def recipe_of(method: str, preset: str = "cpu") -> Recipe:
    """A method's preset, by default that for 2 CPU cores."""
    plain = preset_for(read_preset(method, preset), scene="indian_pines", split="0.1")
    return from_plain(Recipe, plain)


def training(method: str, sizes: Sizes) -> Row:
    """A step of a method's pretraining, with everything that belongs to it."""
    settings, runtime = recipe_of(method).pretrain, Runtime(accelerator="cpu")
    scene = simulate_scene(sizes.side, sizes.side, sizes.bands, 9)
    transform = settings.transform().fit(scene.cube)
    module = build_pretraining(settings, transform.num_components, 0)
    precision = resolve_precision(settings.precision, CPU)

    def train(steps: int) -> Steps:
        clock, data = Steps(), pretraining_data(scene, transform, settings, runtime, None, seed=0)
        trainer = runtime.make_trainer(
            steps=steps, precision=settings.precision, gradient_clip=settings.gradient_clip,
            callbacks=[clock],
        )  # fmt: skip
        trainer.fit(module, data)
        return clock

    with FlopCounterMode(display=False) as counter:
        train(1)
    clock = train(6 * sizes.repeats)
    ideal = at_matmul(counter.get_total_flops(), precision, sizes.repeats)
    work = f"training step of {method}, {precision}"
    return Row(work, clock.seconds, f"{precision} matmul", ideal, "")


def optimiser(sizes: Sizes) -> Row:
    """What AdamW and the average of the weights take of a step of DiffSpectralNet."""
    step = training("diffspectralnet", sizes).seconds
    module = untrained("diffspectralnet", sizes.bands)
    optimiser = optimiser_of(module)
    for weight in module.denoiser.parameters():
        weight.grad = torch.zeros_like(weight)

    def update() -> None:
        optimiser.step()
        if module.average is not None:
            module.average.update(module.denoiser)

    update()
    [seconds] = by_turns(10, update)
    return Row("AdamW and average, DiffSpectralNet", seconds, "3 % of a step", 0.03 * step, ">= 1")


def staged_features(sizes: Sizes) -> Row:
    """Eight timesteps of DiffCRN's denoiser, beside one pass of the 3-D U-Net in float32."""
    small, large = untrained("diffcrn", sizes.bands), UNet3D(sizes.bands).eval()
    few = torch.randn(sizes.side, sizes.side, small.denoiser.num_bands)
    all_bands = torch.randn(sizes.side, sizes.side, sizes.bands)
    precision = resolve_precision("auto", CPU)
    wanted = FeatureSettings(tuple(range(10, 90, 10)), (1,), precision=precision)
    plain = FeatureSettings((5,), (2,), noise="fixed")  # the last level: the whole network
    ours, peer = by_turns(
        1,
        lambda: small.extract_features(few, wanted),
        lambda: compute_features(large, NoiseSchedule(), all_bands, plain),
    )
    return Row(
        f"DiffCRN features of 8 timesteps, {precision}", ours, "3-D U-Net, 1 pass, float32", peer,
        ">= 40",
    )  # fmt: skip


def unet3d_features(sizes: Sizes) -> Row:
    """Layer 0 of the 3-D U-Net, computed as far as it needs, beside all three layers in float32."""
    network, schedule = UNet3D(sizes.bands).eval(), NoiseSchedule()
    cube = torch.randn(sizes.side, sizes.side, sizes.bands)
    precision = resolve_precision("auto", CPU)
    first = FeatureSettings((5,), (0,), noise="fixed", precision=precision)
    whole = FeatureSettings((5,), (2,), noise="fixed")
    ours, peer = by_turns(
        1,
        lambda: compute_features(network, schedule, cube, first),
        lambda: compute_features(network, schedule, cube, whole),
    )
    work = f"SpectralDiff features, layer 0, {precision}"
    return Row(work, ours, "3 layers, float32", peer, "")


def angles(sizes: Sizes) -> Row:
    """Features with spectral angles, beside features alone."""
    module = untrained("diffcrn", sizes.bands)
    cube = torch.randn(sizes.side, sizes.side, module.denoiser.num_bands)
    wanted = FeatureSettings((100,), (1, 2), precision=resolve_precision("auto", CPU))
    ours, peer = by_turns(
        2 * sizes.repeats,
        lambda: module.extract_features(cube, wanted, angles=True),
        lambda: module.extract_features(cube, wanted),
    )
    return Row("features of 1 timestep with angles", ours, "without", peer, ">= 0.91")


def levels(sizes: Sizes) -> Row:
    """Six timesteps and three layers at once, beside one pass for each of them."""
    network, schedule = UNet3D(sizes.bands, base_channels=4).eval(), NoiseSchedule()
    cube = torch.randn(sizes.side, sizes.side, sizes.bands)
    pairs = [
        FeatureSettings((t,), (level,), noise="fixed")
        for t in (5, 10, 50, 100, 200, 400)
        for level in (0, 1, 2)
    ]

    def together() -> None:
        for number in range(0, len(pairs), 3):
            some = [(one, None) for one in pairs[number : number + 3]]
            compute_together(network, schedule, cube, some)

    def alone() -> None:
        for one in pairs:
            compute_features(network, schedule, cube, one)

    ours, peer = by_turns(1, together, alone)
    return Row("features, 6 timesteps x 3 layers", ours, "18 passes", peer, "")


class PlainTransformer(nn.Module):
    """SpectralDiff's classifier as its paper writes it: every block computes every token.

    The sizes are those of :class:`~hsi_diffusion.networks.SpectralTransformer`.
    """

    def __init__(self, channels: int, classes: int, patch: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()
        )
        self.token = nn.Parameter(torch.zeros(1, 1, 64))
        self.position = nn.Parameter(torch.randn(1, patch**2 + 1, 64) / 100)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(64),
                    "qkv": nn.Linear(64, 3 * 20 * 64, bias=False),
                    "out": nn.Linear(20 * 64, 64),
                    "mlp": nn.Sequential(
                        nn.LayerNorm(64), nn.Linear(64, 8), nn.GELU(), nn.Linear(8, 64)
                    ),
                }
            )
            for _ in range(2)
        )
        self.head = nn.Sequential(
            nn.Linear(64, 128), nn.BatchNorm1d(128), nn.Dropout(0.1), nn.ReLU(),
            nn.Linear(128, classes),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K) of patches (B, C, P, P)."""
        pixels = self.embed(image).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(pixels), -1, -1), pixels], 1) + self.position
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)  # noqa: S101  (made above)
            parts = block["qkv"](block["norm"](tokens)).unflatten(2, (3, 20, 64))
            query, key, value = parts.permute(2, 0, 3, 1, 4)
            weight = (query @ key.mT / 8).softmax(-1)
            tokens = tokens + block["out"]((weight @ value).transpose(1, 2).flatten(2))
            tokens = tokens + block["mlp"](tokens)
        logits: Tensor = self.head(tokens[:, 0])
        return logits


def published_classifier(sizes: Sizes) -> tuple[NetworkClassifier, PlainTransformer, Any]:
    """SpectralDiff's published classifier, ours and plain, and patches of features."""
    settings = recipe_of("spectraldiff", "paper").classifier
    classifier = NetworkClassifier(settings, Runtime(accelerator="cpu"), seed=0)
    cube = np.random.default_rng(0).normal(size=(sizes.side, sizes.side, sizes.channels))
    return classifier, PlainTransformer(sizes.channels, 16, settings.patch_size), cube.astype("f4")


def classifier_step(sizes: Sizes) -> Row:
    """A training step of the published classifier, beside the plain form."""
    classifier, plain, _ = published_classifier(sizes)
    module = classifier.build(Layout(sizes.channels, 1, False), 16)
    precision = resolve_precision(classifier.settings.precision, CPU)
    patch = classifier.settings.patch_size
    image = torch.randn(sizes.batch, sizes.channels, patch, patch)
    target = torch.arange(sizes.batch) % 16

    def step(network: Callable[[Tensor], Tensor], optimiser: Any, *, fast: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            loss = F.cross_entropy(network(image).float(), target)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()

    ours = optimiser_of(module)
    theirs = torch.optim.Adam(plain.parameters())
    seconds, peer = by_turns(
        2 * sizes.repeats,
        lambda: step(module.classifier, ours, fast=precision == "bfloat16"),
        lambda: step(plain, theirs, fast=False),
    )
    return Row(f"classifier step as published, {precision}", seconds, "plain float32", peer, ">= 6")


def classification_map(sizes: Sizes) -> Row:
    """The published classifier's map of some rows of a scene, beside the plain form."""
    classifier, plain, cube = published_classifier(sizes)
    labels = np.arange(cube.shape[0] * cube.shape[1]).reshape(cube.shape[:2]) % 16 + 1
    pixels = np.arange(16 * sizes.batch)
    settings = replace(classifier.settings, steps=1)
    classifier = NetworkClassifier(settings, classifier.runtime, seed=0)
    classifier.fit(cube, labels, pixels[:64], 16)
    precision = resolve_precision(classifier.settings.precision, CPU)
    patches = PatchDataset(cube, pixels, labels, classifier.settings.patch_size, "zeros")
    plain.eval()

    def slowly() -> None:
        with torch.no_grad():
            for start in range(0, len(pixels), 64):
                numbers = range(len(pixels))[start : start + 64]
                images = [torch.as_tensor(patches[number]["image"]) for number in numbers]
                plain(torch.stack(images)).softmax(1)

    seconds, peer = by_turns(sizes.repeats, lambda: classifier.predict(cube, pixels), slowly)
    work = f"map as published, {len(pixels):,} pixels, {precision}"
    return Row(work, seconds, "plain float32", peer, ">= 10")


def mnf(sizes: Sizes) -> Row:
    """A fit of the minimum noise fraction, beside three Gram products of the bands."""
    cube = simulate_scene(2 * sizes.side, 2 * sizes.side, sizes.bands // 2, 9).cube
    flat = torch.from_numpy(np.asarray(cube, dtype=np.float32)).flatten(0, 1)

    def products() -> None:
        for _ in range(3):
            flat.mT @ flat

    seconds, peer = by_turns(3 * sizes.repeats, lambda: MNF(16).fit(cube), products)
    return Row("MNF fit", seconds, "3 float32 Gram products", peer, ">= 0.33")


def graph_rows(sizes: Sizes) -> Tensor:
    """Pixels of a large scene in the space where neighbours are looked for."""
    scene = simulate_scene(sizes.height, sizes.width, 144, 15)
    transform = MNF(min(24, sizes.bands), scale="noise")
    return pixel_rows(transform.fit(scene.cube).transform(scene.cube), 5)


def recall(rows: Tensor, found: Tensor) -> float:
    """Share of the five nearest neighbours of some pixels that were found, by distance."""
    some = np.random.default_rng(0).choice(len(rows), min(500, len(rows)), replace=False)
    right = 0.0
    for pixel in some:
        farthest = (rows - rows[pixel]).norm(dim=1).topk(6, largest=False).values[-1]
        right += float(((rows[found[pixel]] - rows[pixel]).norm(dim=1) <= farthest).float().mean())
    return right / len(some)


def graph(sizes: Sizes) -> Row:
    """Five nearest neighbours of every pixel of a large scene, beside a look at every pair."""
    rows = graph_rows(sizes)
    nearest_rows(rows[:66_000], 5)  # compiles
    found: list[Tensor] = []
    [seconds] = by_turns(1, lambda: found.append(nearest_rows(rows, 5)[1]))
    some = min(2000, len(rows))
    [peer] = by_turns(1, lambda: torch.cdist(rows[:some], rows).topk(6, largest=False))
    share = recall(rows, found[0])
    work = f"nearest neighbours of {len(rows):,} pixels, recall {share:.3f}"
    return Row(work, seconds, "every pair", peer * len(rows) / some, "")


def label_spreading(sizes: Sizes) -> Row:
    """Labels of 15 classes spread over a large scene, beside one sparse product for each pass."""
    scene = simulate_scene(sizes.height, sizes.width, 24, 15)
    graph = Graph(spatial=0).fit(scene.cube)
    pixels = np.flatnonzero(scene.labels)[::50]
    single = graph.weights.astype(np.float32)
    labels = np.zeros((single.shape[0], 15), dtype=np.float32)

    def products() -> None:
        for _ in range(100):
            single @ labels

    seconds, peer = by_turns(
        1, lambda: graph.spread_labels(scene.labels, pixels, num_classes=15), products
    )
    return Row("label spreading, 15 classes", seconds, "100 sparse products", peer, "")


def main_job(sizes: Sizes) -> Row:
    """README's first command, beside a minute."""
    flags = ["--preset", "quick"] if sizes == SMALL else []
    before = os.times()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hsi_diffusion.cli", "run", "--no-progress", *flags]
        subprocess.run([*command, "--out", f"{folder}/run"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    after = os.times()
    used = after.children_user + after.children_system
    seconds = used - before.children_user - before.children_system
    return Row("main job", seconds, "a minute", 60.0, ">= 1")


ROWS: dict[str, Callable[[Sizes], Row]] = {
    "spectraldiff": lambda sizes: training("spectraldiff", sizes),
    "diffspectralnet": lambda sizes: training("diffspectralnet", sizes),
    "diffcrn": lambda sizes: training("diffcrn", sizes),
    "optimiser": optimiser,
    "unet3d": unet3d_features,
    "staged": staged_features,
    "angles": angles,
    "levels": levels,
    "classifier": classifier_step,
    "map": classification_map,
    "mnf": mnf,
    "graph": graph,
    "spreading": label_spreading,
    "main": main_job,
}

HEADER = ("work", "time, s", "beside", "its time, s", "ratio", "wanted")


def table(rows: dict[str, Row], earlier: dict[str, Row]) -> TextTable:
    """The rows, and where they were measured before, how many times as fast they are now."""
    cells = []
    for name, row in rows.items():
        before = earlier.get(name)
        numbers = (f"{row.seconds:.3g}", row.beside, f"{row.peer:.3g}", f"{row.ratio:.3g}")
        faster = "-" if before is None else f"{row.ratio / before.ratio:.2f}"
        cells.append((row.work, *numbers, row.wanted, faster))
    if earlier:
        return TextTable((*HEADER, "by the earlier ratio"), tuple(cells))
    return TextTable(HEADER, tuple(row[:-1] for row in cells))


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--out", type=Path, help="write the rows as JSON; rows that are there stay")
    parser.add_argument("--compare", type=Path, help="JSON of an earlier version of the library")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the script")
    options = parser.parse_args(arguments)
    quieten()
    torch.set_num_threads(options.threads)

    def read(path: Path | None) -> dict[str, Row]:
        if path is None or not path.is_file():
            return {}
        return {name: Row(**row) for name, row in json.loads(path.read_text())["rows"].items()}

    found, earlier = read(options.out), read(options.compare)
    for name in options.rows:
        found[name] = row = ROWS[name](SMALL if options.small else Sizes())
        print(f"{row.work}: {row.seconds:.3g} s; {row.beside}: {row.peer:.3g} s", flush=True)
        if options.out is not None:
            plain = {name: asdict(row) for name, row in found.items()}
            write_text(
                options.out, json.dumps({"on": describe_hardware(), "rows": plain}, indent=2)
            )
    print(f"\n{describe_hardware()}\n\n{table(found, earlier).to_markdown()}")


if __name__ == "__main__":
    main()
