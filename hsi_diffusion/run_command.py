"""The command ``run``: fit a method on a scene, and measure it and its control on raw bands."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi_diffusion.console import find_own_parts, guarded, quieten
from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hsi_diffusion.runs import RunSettings

RUN_EXAMPLES = """\
examples:
  hsi-diffusion run
      the simulated scene, preset quick

  hsi-diffusion run --scene indian_pines --root data --download --preset cpu --split 0.1
      Indian Pines, 10 % of each class for training and validation together

  hsi-diffusion run --scene salinas --root data --split 10 --seed 1 --logger wandb
      10 pixels of each class, logged in Weights & Biases (WANDB_MODE=offline works too)

  hsi-diffusion run --cube field.mat:reflectance --labels field_gt.npy --split 0.05
      your own scene; .mat (v5, v7.3), HDF5, .npy, TIFF and ENVI (give the .hdr) are read

  hsi-diffusion run --image line1.hdr --image line2.hdr --labels fields.gpkg --split images
      several images of one sensor, learned together; the last one is tested (--image is --cube)

  hsi-diffusion run --pretrain.steps 500 --pretrain.denoiser my_package.MyDenoiser
      every setting is a flag; a part may be a class of your own

  hsi-diffusion run --config runs/earlier/config.yaml --out runs/again
      repeat a run

written into --out:
  report.md, metrics.json (the figures, the confusion matrix, and under raw_bands the figures of the
  same classifier on raw bands), config.yaml (repeats the run), model/ (for hsi-diffusion map),
  classification_map.npy (classes 1..K, shape (H, W)) and .png, control_map.npy (of the classifier
  on raw bands), false_colour.png, confusion_matrix.png, reconstruction.png, split.npz,
  checkpoints/, features/, logs/
"""


def run_main(arguments: Sequence[str] | None = None, prog: str = "hsi-diffusion run") -> int:
    """Run the command ``run``: fit a method on a scene, and measure it.

    Args:
        arguments: The command line without the command; None: that of this process.
        prog: Name of the program in its help.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    find_own_parts()
    return guarded(lambda: _run(given, prog))


def _run(given: list[str], prog: str) -> int:
    parser = _quiet_parser()
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--print_config", "--print-config", action="store_true")
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument("--resume", metavar="DIR")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--no-progress", action="store_true")
    options, rest = _parse_known(parser, given)  # the rest are settings
    if options.help:
        _run_help(prog)
        return 0
    if helped := [n for n, argument in enumerate(rest) if argument.endswith(".help")]:
        _part_help(rest[helped[0] : helped[0] + 2], prog)
        return 0
    folder = None if options.resume is None else Path(options.resume)
    settings = run_settings(rest) if folder is None else _settings_to_resume(folder, rest, options)
    from hsi_diffusion.runs import default_folder, run, show_result

    quieten()
    folder = folder or (Path(options.out) if options.out else default_folder(settings))
    if options.print_config:
        print(settings.to_yaml(), end="")
        return 0
    try:
        result = run(
            settings,
            folder,
            overwrite=options.overwrite,
            resume=options.resume is not None,
            progress=not options.no_progress,
        )
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second out of the first
        print(_stopped(folder, prog), file=sys.stderr)
        return 130
    if result is not None:  # another process of a distributed pretraining writes the result
        show_result(result, folder)
    return 0


def _stopped(folder: Path, prog: str) -> str:
    """What is said where the user stops a run."""
    from hsi_diffusion.models.pretraining import EPOCH_STEPS

    if not (folder / "config.yaml").is_file():
        return "stopped, before anything was computed"
    again = f"{prog} --resume {folder}"
    if any(any(folder.glob(f"{name}/*")) for name in ("checkpoints", "features")):
        return f"stopped; go on with: {again}"
    return (
        f"stopped before the first checkpoint (they come every {EPOCH_STEPS} steps), so that it "
        f"starts again with: {again}"
    )


def run_settings(arguments: Sequence[str]) -> RunSettings:
    """The settings that a command line means: flags over --config, over the preset.

    Args:
        arguments: ``--method``, ``--preset``, ``--config FILE``, and a flag for every setting.

    Raises:
        ConfigurationError: A flag or a value is not allowed.
    """
    from hsi_diffusion.recipes import merge, preset_for, read_preset, read_yaml
    from hsi_diffusion.recipes.names import check_flags

    files, named, flags = _files_and_names(arguments)
    flags = [re.sub(r"^--image(?=$|=)", "--cube", flag) for flag in flags]  # as map calls it
    check_flags("RunSettings", flags)
    asked: dict[str, Any] = {}
    for plain in map(read_yaml, files):
        asked = merge(asked, plain)
    written = asked
    asked = merge(asked, named)
    usual = {"method": "spectraldiff", "preset": "quick"}
    names = {key: str(asked.get(key, value)) for key, value in usual.items()}
    preset = read_preset(names["method"], names["preset"])
    # imported here: with torch it takes seconds, and a wrong name is told at once
    from hsi_diffusion.patches import kind_of
    from hsi_diffusion.recipes import Recipe, from_flags
    from hsi_diffusion.runs import RunSettings

    given = from_flags(RunSettings, flags)
    asked = merge(asked, given)
    whole = all(field.name in written for field in fields(Recipe))
    if whole:
        _check_same_names(written, named)
    # what of a preset applies follows the scene and the split, whichever way they are said
    where = ("scene", "cube", "split", "train_mask", "test_mask")

    def usual_for(plain: dict[str, Any]) -> dict[str, Any]:
        first = RunSettings.from_dict({key: plain[key] for key in where if key in plain})
        return preset_for(preset, scene=str(first.scene), split=kind_of(first.split_kind))

    plain = usual_for(asked)
    if whole and "split" in written and plain != usual_for(written):
        warnings.warn(
            f"{files[-1]} holds every setting, so that what the preset changes for the scene and "
            "the split of the command line is not applied; for these, give the settings of "
            "--print_config with them",
            stacklevel=2,
        )
    settings = RunSettings.from_dict(merge(plain, asked) | names)
    if not settings.pretrains and (useless := set(given.get("pretrain", ())) - {"denoiser"}):
        raise ConfigurationError(
            f"{settings.method} learns from raw bands and has no denoiser: leave out "
            f"{', '.join(f'--pretrain.{name}' for name in sorted(useless))}"
        )
    return settings


def _check_same_names(written: Mapping[str, Any], named: Mapping[str, str]) -> None:
    """Refuse a method or preset beside a file that holds all settings of another one."""
    for key, value in named.items():
        if key in written and str(written[key]) != value:
            raise ConfigurationError(
                f"--{key} {value} would change the name and nothing else, since --config holds "
                f"every setting of {key} {written[key]}: leave out one of the two, or print the "
                f"settings of the other {key} (--{key} {value} --print_config) and change those"
            )


def _files_and_names(arguments: Sequence[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """The files of --config, method and preset as flags give them, and all other flags."""
    parser = _quiet_parser()
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--method", default=argparse.SUPPRESS)
    parser.add_argument("--preset", default=argparse.SUPPRESS)
    options, flags = _parse_known(parser, arguments)
    named = vars(options)
    return named.pop("config"), named, flags


def _quiet_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)


def _parse_known(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """What a parser knows of a command line, and the rest; errors are told as all others."""
    try:
        return parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        why = "needs a value" if "expected" in error.message else "takes no value"
        raise ConfigurationError(f"{error.argument_name} {why}") from error


def _run_help(prog: str) -> None:
    from jsonargparse import DefaultHelpFormatter

    from hsi_diffusion.recipes import settings_parser
    from hsi_diffusion.runs import RunSettings

    class Formatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """Keeps the lines of the examples."""

    parser = settings_parser(
        RunSettings,
        prog=prog,
        usage="%(prog)s [--SETTING VALUE ...] [--out DIR]",
        description="Fit a method on a scene without labels, classify it with few, and compare "
        "with the same classifier on raw bands.",
        epilog=RUN_EXAMPLES,
        formatter_class=Formatter,
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--config", help="settings to start from, such as a run's config.yaml; several are merged"
    )
    group.add_argument("--print_config", help="print the settings, which repeat the run, and exit")
    group.add_argument("--out", help="folder (default: runs/SCENE-METHOD-SPLIT-seedN)")
    group.add_argument("--resume", help="folder of an interrupted run to go on with")
    group.add_argument("--overwrite", help="replace an earlier run in --out")
    group.add_argument("--no-progress", help="no progress bars")
    # torch alone has hundreds of classes that could stand where a network is wanted
    print(re.sub(r",\s+known\s+subclasses:[^)]*\)", ")", parser.format_help()))


def _part_help(arguments: list[str], prog: str) -> None:
    """The settings of a part, such as --pretrain.denoiser.help UNet2D."""
    from hsi_diffusion.recipes import settings_parser
    from hsi_diffusion.runs import RunSettings

    try:
        settings_parser(RunSettings, prog=prog).parse_args(arguments)  # prints, and exits
    except argparse.ArgumentError as error:
        raise ConfigurationError(str(error)) from error


def _settings_to_resume(folder: Path, rest: list[str], options: argparse.Namespace) -> RunSettings:
    """The settings of the run in ``folder``, which nothing on the command line may change."""
    from hsi_diffusion.recipes import read_yaml

    others = rest + [f"--{name}" for name in ("out", "overwrite") if getattr(options, name)]
    if others:
        raise ConfigurationError(
            f"--resume goes on with the run's own settings; leave out {others[0].split('=')[0]}"
        )
    if not (folder / "config.yaml").is_file():
        raise ConfigurationError(f"{folder} holds no config.yaml, so there is no run to resume")
    from hsi_diffusion.runs import RunSettings

    return RunSettings.from_dict(read_yaml(folder / "config.yaml"))
