"""What single-pixel features hold: an SVM on them, for each prediction target and input space.

No patch and no neighbour reaches the SVM (RBF, C = 100, standardised channels), so what is better
than raw bands comes from the features. They are extracted as run.py extracts them, but with all
channels, and from all levels of the denoiser where no --features.levels names some. For each
pretraining the timestep and level, or all of them side by side, and for the blurred control the
width of the blur, are chosen by the split's validation pixels, or by cross-validation inside the
label budget where these are few; the SVM then learns from both, and the test pixels are measured
once. Pretrainings are kept in --out and used again where all their settings are the same. Writes
probe.md and probe.csv there. Further flags are settings, as those of run.py.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hsi_diffusion import Scene
    from hsi_diffusion.reports import Measurement
    from hsi_diffusion.runs import RunSettings

    Cube = NDArray[np.float32]

SPACES: dict[str, dict[str, Any]] = {
    "bands": {"class_path": "MinMax"},
    "MNF": {"class_path": "MNF", "init_args": {"components": 24}},
}
BLURS = (1.0, 2.0, 3.0)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``settings`` are the flags that are settings of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--method", default="diffcrn", help="whose denoiser (default: diffcrn)")
    parser.add_argument("--preset", default="cpu", help="quick, cpu or paper (default: cpu)")
    parser.add_argument("--targets", nargs="+", default=["noise", "x0", "v"])
    parser.add_argument("--spaces", nargs="+", choices=tuple(SPACES), default=list(SPACES))
    parser.add_argument("--splits", nargs="+", default=["0.1", "10"], metavar="SPEC")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--out", type=Path, default=Path("runs/probe"), metavar="DIR")
    options, settings = parser.parse_known_args(arguments)
    options.settings = settings
    return options


def settings_of(options: argparse.Namespace, space: str, target: str, **given: Any) -> RunSettings:
    """The preset with another space and target."""
    from hsi_diffusion.recipes import from_flags, merge, preset_for, read_preset
    from hsi_diffusion.runs import RunSettings

    asked = from_flags(RunSettings, options.settings)
    scene = str(asked.get("scene", "simulated"))
    plain = preset_for(read_preset(options.method, options.preset), scene=scene, split="0.1")
    if plain.get("pretrain", {}).get("denoiser"):  # a baseline stays one, and is refused
        space_and_target = {"pretrain": {"transform": SPACES[space], "prediction": target}}
        plain = merge(merge(plain, asked), space_and_target)
    return RunSettings.from_dict({**plain, "logger": "none", "method": options.method, **given})


def feature_cubes(
    options: argparse.Namespace, settings: RunSettings, scene: Scene
) -> Iterator[Cube]:
    """Features of every timestep and level, and all of them side by side.

    The denoiser is trained if it is not there.
    """
    from hsi_diffusion.benchmarks.cells import Cell
    from hsi_diffusion.hardware import resolve_precision
    from hsi_diffusion.models import DiffusionRepresentation
    from hsi_diffusion.modules import Runtime
    from hsi_diffusion.recipes import FeatureCandidate
    from hsi_diffusion.runs import read_pretrained

    cell = Cell("probe", "", settings)
    folder = cell.pretraining_folder(options.out / "pretrained") or options.out
    cell.pretrain(folder)
    module = read_pretrained(
        folder / "checkpoints" / "pretrain.ckpt", scene, settings.pretrain.denoiser
    )
    levels = tuple(range(len(module.trained_denoiser.feature_info)))
    if any(flag.startswith("--features.levels") for flag in options.settings):
        levels = settings.features.levels
    wanted = FeatureCandidate(settings.features.timesteps, levels)
    device = Runtime(accelerator=settings.accelerator).device
    precision = resolve_precision(settings.features.precision, device)
    request = settings.features.request(wanted, precision, settings.seed)
    features = DiffusionRepresentation(module, request, device=device)(scene.cube)
    # one block of channels per timestep and level
    yield from features.parts()
    yield features.array


def raw_cubes(settings: RunSettings, scene: Scene, *blurs: float) -> Iterator[Cube]:
    """The denoiser's input, blurred along the scene by several widths."""
    from hsi_diffusion.models import BandRepresentation
    from hsi_diffusion.recipes import BandSpace

    for blur in blurs:
        space = BandSpace(transform=settings.pretrain.transform, blur=blur)
        yield BandRepresentation.fit(space, scene.cube, "all pixels", "cpu")(scene.cube)


def probe(cubes: Iterator[Cube], settings: RunSettings, scene: Scene) -> dict[str, float]:
    """Choose a cube without test pixels, and measure it on them."""
    import torch
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from hsi_diffusion import HSIMetrics
    from hsi_diffusion.metrics import SCALARS
    from hsi_diffusion.models import choice_splits
    from hsi_diffusion.runs import read_split

    labels, split = scene.labels.ravel(), read_split(settings, scene)
    folds = choice_splits(split, scene.labels, settings.choice, settings.seed)

    def predicted(rows: Any, train: NDArray[np.int64], wanted: NDArray[np.int64]) -> Any:
        return SVC(C=100).fit(rows[train], labels[train]).predict(rows[wanted])

    def score(rows: Any) -> float:
        right = [predicted(rows, fold.train, fold.val) == labels[fold.val] for fold in folds]
        return sum(map(sum, right)) / sum(map(len, right))

    # scaled by all pixels, as the features are made of all pixels
    scaled = (StandardScaler().fit_transform(cube.reshape(len(labels), -1)) for cube in cubes)
    found = predicted(max(scaled, key=score), split.labelled, split.test)
    metrics = HSIMetrics(scene.num_classes)
    metrics.update(torch.from_numpy(found - 1), torch.from_numpy(labels[split.test] - 1))
    return {name: float(metrics.compute()[name]) for name in SCALARS}


def measure(options: argparse.Namespace, say: Callable[[str], None]) -> list[Measurement]:
    """Every row on every split with every seed."""
    from hsi_diffusion.reports import Measurement
    from hsi_diffusion.runs import read_scene

    found = []
    for split in options.splits:
        for seed in options.seeds:

            def note(row: str, cubes: Iterator[Cube], settings: RunSettings, scene: Scene) -> None:
                figures = probe(cubes, settings, scene)
                place = Measurement(row, settings.split_kind, settings.seed, figures)
                say(f"{row}, {place.column}, seed {place.seed}: OA {place.figures[OA]:.2%}")
                found.append(place)

            for space in options.spaces:
                for target in options.targets:
                    settings = settings_of(options, space, target, seed=seed, split=split)
                    scene = read_scene(settings)
                    cubes = feature_cubes(options, settings, scene)
                    note(f"features, {space}, {target}", cubes, settings, scene)
                note(f"raw {space}", raw_cubes(settings, scene, 0), settings, scene)
                blurred = raw_cubes(settings, scene, *BLURS)
                note(f"raw {space}, blurred", blurred, settings, scene)
    return found


OA = "overall_accuracy"


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write the table; 0 = done, 2 = bad input."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parse_arguments(given)
    # imported here, so that --help answers at once
    from hsi_diffusion.console import quieten
    from hsi_diffusion.errors import HsiDiffusionError
    from hsi_diffusion.files import write_text
    from hsi_diffusion.hardware import describe_hardware
    from hsi_diffusion.reports import comparison_table, measurements_csv

    quieten()
    try:
        found = measure(options, print)
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = (
        f"# An SVM on single pixels\n\n{comparison_table(found).to_markdown()}\n\n"
        f"```bash\n{shlex.join(['python', 'experiments/pixel_probe.py', *given])}\n"
        f"```\n\nMachine: {describe_hardware()}\n"
    )
    write_text(options.out / "probe.csv", measurements_csv(found))
    write_text(options.out / "probe.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
