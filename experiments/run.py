"""From a scene to its map: pretrain without labels, classify with few, and compare with raw bands.

With no options it simulates a scene and needs neither data nor network (1.5 minutes on 2 cores).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi_diffusion.options import PRESETS

if TYPE_CHECKING:
    from hsi_diffusion.runs import RunSettings

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
      your own scene; .mat (v5, v7.3), HDF5, .npy, TIFF and ENVI (give the .hdr) are read

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
        help="0.1 = fraction of each class; 10 = pixels of each class, and up to 30 of them the "
        "preset's few_shot section applies; blocks = spatially disjoint blocks; fixed = the split "
        "published with the scene (Houston 2013); FILE.npz = a stored split (default: with "
        "--config the file's, else the scene's: fixed for Houston, 0.1 for the others)",
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
        choices=PRESETS,
        help="quick = up to 2 minutes on 2 cores; cpu = up to 10; paper = as published, for one or "
        "more 24 GB graphics cards (default: quick)",
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
        "--devices",
        type=int,
        metavar="N",
        help="processes per machine that pretrain together (default 1)",
    )
    method.add_argument(
        "--nodes",
        type=int,
        metavar="N",
        help="machines that pretrain together, started by torchrun or a cluster (default 1)",
    )
    method.add_argument(
        "--accelerator", metavar="NAME", help="auto, cpu, gpu, ... as in Lightning (default: auto)"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", metavar="DIR", help="where to write (default: runs/SCENE-METHOD-SPLIT-seedN)"
    )
    output.add_argument(
        "--resume",
        metavar="DIR",
        help="go on with the run in DIR that was interrupted, with its own settings",
    )
    output.add_argument("--overwrite", action="store_true", help="replace an earlier run in --out")
    output.add_argument(
        "--logger", choices=("csv", "wandb", "none"), help="where runs are followed (default: csv)"
    )
    output.add_argument("--no-progress", action="store_true", help="no progress bars")
    return parser.parse_args(arguments)


def settings_from(options: argparse.Namespace) -> dict[str, Any]:
    """Lay the options over the preset or the given configuration.

    What --set says counts as if an option had said it, also where it chooses what of a preset
    applies: method, preset, scene and split.
    """
    from hsi_diffusion.errors import ConfigurationError
    from hsi_diffusion.runs import merge, preset_for, read_preset, read_yaml

    changes = _changes(options)
    if options.config is not None:
        if options.preset is not None or options.method is not None:
            raise ConfigurationError("--config already holds the method and preset; leave them out")
        settings = read_yaml(options.config)
    else:
        method = str(changes.get("method", "spectraldiff"))
        settings = read_preset(CONFIGS, method, str(changes.get("preset", "quick")))
    asked = merge(settings, changes)
    scene = _named(asked, "scene", "name") or "simulated"
    split = _named(asked, "split", "kind") or _default_split(scene)
    if options.config is None:
        settings = preset_for(settings, scene=scene, split=split)
    baseline = settings.get("pretrain", {}) is None
    settings = merge(merge({"split": {"kind": split}}, settings), changes)
    if baseline and settings.get("pretrain") is not None:
        raise ConfigurationError(
            f"{settings.get('method')} learns from raw bands: leave out --pretrained and --set "
            "pretrain..."
        )
    if (method := settings.get("method", "spectraldiff")) not in METHODS:
        raise ConfigurationError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    return settings


def settings_to_resume(options: argparse.Namespace, folder: Path) -> RunSettings:
    """The settings of the run in ``folder``, which nothing on the command line may change."""
    from hsi_diffusion.errors import ConfigurationError
    from hsi_diffusion.runs import RunSettings, read_yaml

    plain = vars(parse_arguments([]))
    free = {"resume", "no_progress"}
    given = [name for name, value in vars(options).items() if value != plain[name]]
    if others := sorted(set(given) - free):
        option = others[0].replace("_", "-")
        raise ConfigurationError(
            f"--resume goes on with the run's own settings; leave out --{option}"
        )
    if not (folder / "config.yaml").is_file():
        raise ConfigurationError(f"{folder} holds no config.yaml, so there is no run to resume")
    return RunSettings.from_dict(read_yaml(folder / "config.yaml"))


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line changes: its options, and --set over them."""
    from hsi_diffusion.errors import ConfigurationError
    from hsi_diffusion.runs import merge, parse_assignment

    if options.labels is not None and options.cube is None:
        raise ConfigurationError("--labels belongs to your own scene: give --cube as well")
    if options.cube is not None and options.scene is not None:
        raise ConfigurationError("give either --scene or --cube, not both")
    changes = _given(options)
    for assignment in options.set:
        changes = merge(changes, parse_assignment(assignment))
    scene = _named(changes, "scene", "name")
    elsewhere = options.config is not None or scene not in (None, "simulated", "custom")
    if (options.root is not None or options.download) and not elsewhere:
        raise ConfigurationError(
            "--root and --download belong to a scene of the catalogue: name it with --scene"
        )
    return changes


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The options as settings, without those that were not given."""
    from hsi_diffusion.errors import ConfigurationError

    kind = options.split
    if options.train_mask is not None or options.test_mask is not None:
        if kind not in (None, "fixed"):
            raise ConfigurationError(
                f"--train-mask and --test-mask are a split of their own; leave out --split {kind}"
            )
        kind = "fixed"
    given = {
        "method": options.method,
        "preset": options.preset,
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
        "num_nodes": options.nodes,
        "accelerator": options.accelerator,
    }
    return {
        key: value
        for key, part in given.items()
        if (value := _without_none(part)) is not None and value != {}
    }


def _default_split(scene: str) -> str:
    """The split of a scene that nobody has said anything of."""
    from hsi_diffusion.runs import SplitSettings
    from hsi_diffusion.scenes import CATALOGUE, scene_info

    return scene_info(scene).default_split if scene in CATALOGUE else SplitSettings().kind


def _named(settings: dict[str, Any], section: str, key: str) -> str | None:
    """A name in a section, as a text: YAML reads the splits 0.1 and 10 as numbers."""
    part = settings.get(section)
    name = part.get(key) if isinstance(part, dict) else None
    return None if name is None else str(name)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return value


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 = done, 2 = something that was asked for can't be done."""
    options = parse_arguments(arguments)
    # imported here, so that --help answers at once
    from hsi_diffusion.errors import HsiDiffusionError
    from hsi_diffusion.runs import (
        RunSettings,
        default_folder,
        quieten,
        run,
        show_result,
        write_outputs,
    )

    quieten()
    try:
        if options.resume is not None:
            folder = Path(options.resume)
            settings = settings_to_resume(options, folder)
        else:
            settings = RunSettings.from_dict(settings_from(options))
            folder = Path(options.out) if options.out else default_folder(settings)
        result = run(
            settings,
            folder,
            overwrite=options.overwrite,
            resume=options.resume is not None,
            progress=not options.no_progress,
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
