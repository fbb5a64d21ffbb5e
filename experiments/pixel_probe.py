"""What single-pixel features hold: an SVM on them, for each prediction target and input space.

No patch and no neighbour reaches the SVM (RBF, C = 100, standardised channels), so what is better
than raw bands comes from the features. They are extracted as run.py extracts them, but with all
channels, and from all levels of the denoiser where --set features.levels names none. For each
pretraining the timestep and level, or all of them side by side, and for the blurred control the
width of the blur, are chosen by the split's validation pixels, or by cross-validation inside the
label budget where these are few; the SVM then learns from both, and the test pixels are measured
once. Pretrainings are kept in --out and used again where all their settings are the same. Writes
probe.md and probe.csv there. Needs scikit-learn:
pip install -e ".[baselines]"
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi_diffusion.options import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from hsi_diffusion.modules import SceneDataModule
    from hsi_diffusion.reports import Measurement
    from hsi_diffusion.runs import RunSettings

    Cube = NDArray[np.float32]

CONFIGS = Path(__file__).resolve().parent / "configs"
SPACES: dict[str, dict[str, Any]] = {
    "bands": {"transform": "minmax", "components": None, "transform_options": {}},
    "MNF": {"transform": "mnf", "components": 24, "transform_options": {}},
}
BLURS = (1.0, 2.0, 3.0)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scene", default="simulated", help="default: simulated")
    parser.add_argument("--root", default="data", metavar="DIR", help="folder of its files")
    parser.add_argument("--method", default="diffcrn", help="whose denoiser (default: diffcrn)")
    parser.add_argument("--preset", default="cpu", choices=PRESETS)
    parser.add_argument("--targets", nargs="+", default=["noise", "x0", "v"])
    parser.add_argument("--spaces", nargs="+", choices=tuple(SPACES), default=list(SPACES))
    parser.add_argument("--splits", nargs="+", default=["0.1", "10"], metavar="SPEC")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="as for run.py"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/probe"), metavar="DIR")
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    return options


def assigned(options: argparse.Namespace) -> dict[str, Any]:
    """What --set changes."""
    from hsi_diffusion.runs import merge, parse_assignment

    changes: dict[str, Any] = {}
    for assignment in options.set:
        changes = merge(changes, parse_assignment(assignment))
    return changes


def settings_of(options: argparse.Namespace, space: str, target: str, **given: Any) -> RunSettings:
    """The preset with another space and target."""
    from hsi_diffusion.runs import RunSettings, merge, preset_for, read_preset

    file = read_preset(CONFIGS, options.method, options.preset)
    plain = preset_for(file, scene=options.scene, split="0.1")
    # before anything is laid over it: that would make a pretraining where a method has none
    RunSettings.from_dict(plain).require_pretrain()
    scene = {"name": options.scene, "root": options.root}
    plain = merge(plain, {"logger": "none", "scene": scene, **given})
    plain = merge(plain, assigned(options))
    changes = {"pretrain": {**SPACES[space], "module": {"prediction": target}}}
    return RunSettings.from_dict(merge(plain, changes))


def feature_cubes(
    options: argparse.Namespace, settings: RunSettings, data: SceneDataModule
) -> Iterator[Cube]:
    """Features of every timestep and level, and all of them side by side.

    The denoiser is trained if it is not there.
    """
    from hsi_diffusion.runs import load_pretrained, pretrain_alone, pretraining_folder
    from hsi_diffusion.runs.building import feature_request
    from hsi_diffusion.runs.candidates import FeatureCandidate
    from hsi_diffusion.runs.workplace import Workplace

    folder = pretraining_folder(settings, options.out / "pretrained")
    pretrain_alone(settings, folder, progress=False)
    module = load_pretrained(folder / "checkpoints" / "pretrain.ckpt", data)
    place = Workplace(folder, settings.accelerator, 1, "none", "probe", {}, progress=False)
    levels = tuple(range(len(module.trained_denoiser.feature_info)))
    if "levels" in assigned(options).get("features", {}):
        levels = settings.features.levels
    wanted = FeatureCandidate(settings.features.timesteps, levels)
    request, _ = feature_request(settings, wanted, place.device)
    features = module.extract_features(data.cube, request, device=place.device)
    # one block of channels per timestep and level
    yield from features.parts()
    yield features.array


def blurred(cube: Cube) -> Iterator[Cube]:
    """The cube, blurred along the scene by several widths."""
    from hsi_diffusion.patches import gaussian_blur

    for sigma in BLURS:
        yield gaussian_blur(cube, sigma)


def probe(cubes: Iterator[Cube], data: SceneDataModule, settings: RunSettings) -> dict[str, float]:
    """Choose a cube without test pixels, and measure it on them."""
    import numpy as np
    import torch
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from hsi_diffusion.metrics import SCALARS, HSIMetrics
    from hsi_diffusion.runs import choice_splits

    labels = data.labels.ravel()
    split = data.require_split()

    def predicted(cube: Cube, train: NDArray[np.int64], wanted: NDArray[np.int64]) -> Any:
        rows = cube.reshape(len(labels), -1)
        # scaled by all pixels, as the features are made of all pixels
        model = make_pipeline(StandardScaler().fit(rows), SVC(C=100))
        model[1].fit(model[0].transform(rows[train]), labels[train])
        return model.predict(rows[wanted])

    def score(cube: Cube) -> float:
        right = pixels = 0
        for fold in choice_splits(data, settings.choice):
            right += int((predicted(cube, fold.train, fold.val) == labels[fold.val]).sum())
            pixels += len(fold.val)
        return right / pixels

    best = max(cubes, key=score)
    metrics = HSIMetrics(data.num_classes)
    found = np.asarray(predicted(best, split.labelled, split.test))
    metrics.update(torch.from_numpy(found - 1), torch.from_numpy(labels[split.test] - 1))
    return {name: float(metrics.compute()[name]) for name in SCALARS}


def measure(options: argparse.Namespace, say: Callable[[str], None]) -> list[Measurement]:
    """Every row on every split with every seed."""
    from hsi_diffusion.reports import Measurement
    from hsi_diffusion.runs import scene_data

    found = []

    def note(row: str, split: str, seed: int, figures: dict[str, float]) -> None:
        say(f"{row}, {split}, seed {seed}: OA {100 * figures['overall_accuracy']:.2f} %")
        found.append(Measurement(row, split, seed, figures))

    for split in options.splits:
        for seed in options.seeds:
            for space in options.spaces:
                given = {"seed": seed, "split": {"kind": split}}
                for target in options.targets:
                    settings = settings_of(options, space, target, **given)
                    data = scene_data(settings)
                    cubes = feature_cubes(options, settings, data)
                    note(f"features, {space}, {target}", split, seed, probe(cubes, data, settings))
                raw = data.cube.numpy()
                note(f"raw {space}", split, seed, probe(iter([raw]), data, settings))
                note(f"raw {space}, blurred", split, seed, probe(blurred(raw), data, settings))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write the table; 0 = done, 2 = bad input."""
    options = parse_arguments(arguments)
    # imported here, so that --help answers at once
    from hsi_diffusion.errors import HsiDiffusionError
    from hsi_diffusion.files import write_text
    from hsi_diffusion.reports import comparison_table, measurements_csv
    from hsi_diffusion.runs import describe_hardware, quieten

    try:
        import sklearn  # noqa: F401
    except ImportError:
        print('error: this needs scikit-learn: pip install -e ".[baselines]"', file=sys.stderr)
        return 2
    quieten()
    try:
        found = measure(options, print)
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = (
        f"# An SVM on single pixels of {options.scene}\n\n"
        f"{comparison_table(found).to_markdown()}\n\n"
        f"```bash\n{shlex.join(['python', 'experiments/pixel_probe.py', *options.arguments])}\n"
        f"```\n\nMachine: {describe_hardware()}\n"
    )
    write_text(options.out / "probe.csv", measurements_csv(found))
    write_text(options.out / "probe.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
