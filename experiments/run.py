"""From a scene to its map: pretrain without labels, classify with few, and compare with raw bands.

With no options it simulates a scene and needs neither data nor network (3 minutes on 2 cores).
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).resolve().parent / "configs"
METHODS = sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir())
SCENES = (
    "simulated",
    "indian_pines",
    "pavia_university",
    "salinas",
    "salinas_a",
    "houston2013",
)
EXAMPLES = """\
examples:
  python experiments/run.py
      the simulated scene, preset quick

  python experiments/run.py --scene indian_pines --root data --download --preset cpu --split 0.1
      Indian Pines, 10 % of each class for training and validation together

  python experiments/run.py --scene salinas --root data --split 10 --seed 1 --logger wandb
      10 pixels of each class, followed in Weights & Biases (WANDB_MODE=offline works too)

  python experiments/run.py --scene indian_pines --root data --split blocks
      spatially disjoint blocks with a guard band: no test patch sees a training pixel

  python experiments/run.py --cube field.mat:reflectance --labels field_gt.npy --split 0.05
      your own scene; .mat (v5, v7.3), HDF5, .npy and TIFF are read, whatever the file's name

  python experiments/run.py --scene indian_pines --root data \\
      --train-mask train.tif --test-mask test.tif
      a fixed split

  python experiments/run.py --config runs/earlier/config.yaml --out runs/again
      repeat a run

written into --out:
  report.md, metrics.json (the figures, and under raw_bands those of the same classifier on raw
  bands), config.yaml (repeats the run), classification_map.png, classification_map.npy (classes
  1..K, shape (H, W)), false_colour.png, confusion_matrix.png, reconstruction.png, split.npz,
  checkpoints/, features/, logs/
"""

_FORMAT_WARNING = warnings.formatwarning


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scene = parser.add_argument_group("scene")
    scene.add_argument(
        "--scene", choices=SCENES, help="a scene of the catalogue (default: simulated)"
    )
    scene.add_argument(
        "--root", metavar="DIR", help="folder with the scene's files (default: data)"
    )
    scene.add_argument(
        "--download",
        action="store_true",
        default=None,
        help="fetch missing files into DIR and check their checksums",
    )
    scene.add_argument("--cube", metavar="FILE[:key]", help="your own scene: the cube")
    scene.add_argument(
        "--labels",
        metavar="FILE[:key]",
        help="your own scene: the label map, 0 = unlabelled; gaps in the class ids are fine",
    )
    split = parser.add_argument_group("split (training and validation pixels together)")
    split.add_argument(
        "--split",
        metavar="SPEC",
        help="0.1 = fraction of each class; 10 = pixels of each class; blocks = spatially disjoint "
        "blocks; fixed = the split published with the scene (Houston 2013); FILE.npz = a stored "
        "split (default: 0.1)",
    )
    split.add_argument(
        "--train-mask", metavar="FILE[:key]", help="fixed split: non-zero = training pixel"
    )
    split.add_argument(
        "--test-mask", metavar="FILE[:key]", help="fixed split: non-zero = test pixel"
    )
    method = parser.add_argument_group("method")
    method.add_argument("--method", choices=METHODS, help="default: spectraldiff")
    method.add_argument(
        "--preset",
        choices=("quick", "cpu", "paper"),
        help="quick = 3 minutes on 2 cores; cpu = up to 20; paper = as published, for one or more "
        "24 GB graphics cards (default: quick)",
    )
    method.add_argument("--seed", type=int, metavar="N", help="rules everything random (default 0)")
    method.add_argument(
        "--pretrained",
        metavar="FILE",
        help="checkpoints/pretrain.ckpt of an earlier run on this scene, to classify again with "
        "another split or classifier",
    )
    method.add_argument(
        "--config", metavar="FILE", help="a run's config.yaml to start from, instead of a preset"
    )
    method.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change any setting of config.yaml, such as pretrain.steps=500 or "
        "'features.timesteps=[50, 100]'; may be repeated",
    )
    method.add_argument(
        "--devices", type=int, metavar="N", help="processes that pretrain together (default 1)"
    )
    method.add_argument(
        "--accelerator", metavar="NAME", help="auto, cpu, gpu, ... as in Lightning (default: auto)"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", metavar="DIR", help="where to write (default: runs/SCENE-METHOD-SPLIT-seedN)"
    )
    output.add_argument("--overwrite", action="store_true", help="replace an earlier run in --out")
    output.add_argument(
        "--logger", choices=("csv", "wandb", "none"), help="where runs are followed (default: csv)"
    )
    output.add_argument("--no-progress", action="store_true", help="no progress bars")
    return parser.parse_args(arguments)


def settings_from(options: argparse.Namespace) -> dict[str, Any]:
    """Lay the options over the preset or the given configuration."""
    from hsi_diffusion.errors import ConfigurationError
    from hsi_diffusion.runs import merge, parse_yaml, preset_for_scene, read_yaml

    changes = _changes(options)
    if options.config is not None:
        if options.preset is not None or options.method is not None:
            raise ConfigurationError("--config already holds the method and preset; leave them out")
        settings = merge(read_yaml(options.config), changes)
    else:
        method = options.method or "spectraldiff"
        preset = options.preset or "quick"
        scene = changes.get("scene", {}).get("name", "simulated")
        file = read_yaml(CONFIGS / method / f"{preset}.yaml")
        base = {"method": method, "preset": preset, **preset_for_scene(file, scene)}
        settings = merge(base, changes)
    for assignment in options.set:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"--set must look like KEY=VALUE, got {assignment!r}")
        try:
            change: Any = parse_yaml(value)
        except yaml.YAMLError as error:
            raise ConfigurationError(
                f"--set {key}: the value must be valid YAML, such as 3, 0.5, name or '[1, 2]', "
                f"got {value!r}"
            ) from error
        for part in reversed(key.split(".")):
            change = {part: change}
        settings = merge(settings, change)
    if (method := settings.get("method", "spectraldiff")) not in METHODS:
        raise ConfigurationError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    return settings


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    from hsi_diffusion.errors import ConfigurationError

    if options.labels is not None and options.cube is None:
        raise ConfigurationError("--labels belongs to your own scene: give --cube as well")
    if options.cube is not None and options.scene is not None:
        raise ConfigurationError("give either --scene or --cube, not both")
    catalogue = options.scene not in (None, "simulated")
    elsewhere = options.config is not None or any(
        text.startswith("scene.name=") for text in options.set
    )
    if (options.root is not None or options.download) and not (catalogue or elsewhere):
        raise ConfigurationError(
            "--root and --download belong to a scene of the catalogue: name it with --scene"
        )
    kind = options.split
    if options.train_mask is not None or options.test_mask is not None:
        if kind not in (None, "fixed"):
            raise ConfigurationError(
                f"--train-mask and --test-mask are a split of their own; leave out --split {kind}"
            )
        kind = "fixed"
    elif kind is None and options.scene == "houston2013":
        kind = "fixed"
    given = {
        "scene": {
            "name": "custom" if options.cube is not None else options.scene,
            "root": options.root,
            "download": options.download,
            "cube": options.cube,
            "labels": options.labels,
        },
        "split": {
            "kind": kind,
            "train_mask": options.train_mask,
            "test_mask": options.test_mask,
        },
        "pretrain": {"checkpoint": options.pretrained},
        "seed": options.seed,
        "logger": options.logger,
        "devices": options.devices,
        "accelerator": options.accelerator,
    }
    return {
        key: value
        for key, part in given.items()
        if (value := _without_none(part)) is not None and value != {}
    }


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return value


def _quieten() -> None:
    """Keep what a reader of the console can't use from between the lines that matter.

    Called after the import of Lightning, which sets its own level.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*is deprecated",  # Lightning's own, once per training
        "The number of training batches",
        "Checkpoint directory .* exists and is not empty",
        "Found .* module.* in eval mode",  # the average of the weights is never in training mode
        ".*does not have many workers",  # gathering patches needs none
    ):
        warnings.filterwarnings("ignore", message)
    warnings.formatwarning = _format_warning


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """What the library warns of as a line for its user; other warnings as ever."""
    import hsi_diffusion

    if Path(filename).is_relative_to(Path(hsi_diffusion.__file__).parent):
        return f"warning: {message}\n"
    return _FORMAT_WARNING(message, category, filename, lineno, line)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 = done, 2 = something that was asked for can't be done."""
    options = parse_arguments(arguments)
    # imported here, so that --help answers at once
    from hsi_diffusion.errors import HsiDiffusionError
    from hsi_diffusion.runs import RunSettings, default_folder, run, show_result, write_outputs

    _quieten()
    try:
        settings = RunSettings.from_dict(settings_from(options))
        folder = Path(options.out) if options.out else default_folder(settings)
        result = run(
            settings, folder, overwrite=options.overwrite, progress=not options.no_progress
        )
        if result is None:  # another process of a distributed pretraining writes the result
            return 0
        write_outputs(result, settings, folder)
        show_result(result, folder)
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second out of the first
        print("stopped; --out holds what was done, or is gone if that was nothing", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
