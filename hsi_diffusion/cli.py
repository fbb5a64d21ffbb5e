"""The program ``hsi-diffusion``: runs, maps, benchmarks, recipes, and Lightning's own commands."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hsi_diffusion.runs import RunSettings

COMMANDS = {
    "run": "fit a method on a scene, measure it and its control on raw bands, draw the map",
    "map": "apply the model of a run to another image of the same sensor",
    "benchmark": "compare methods on scenes and splits over seeds, in the tables of papers",
    "ablate": "change one part of DiffCRN at a time, and compare",
    "recipes": "list the methods and presets, or print one",
    "fit": "train a Lightning module on a data module (LightningCLI)",
    "validate": "validate a Lightning module",
    "test": "test a Lightning module",
    "predict": "predict with a Lightning module",
}

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
  report.md, metrics.json (the figures, and under raw_bands those of the same classifier on raw
  bands), config.yaml (repeats the run), model/ (for hsi-diffusion map), classification_map.png,
  classification_map.npy (classes 1..K, shape (H, W)), false_colour.png, confusion_matrix.png,
  reconstruction.png, split.npz, checkpoints/, features/, logs/
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: The command line; None: that of this process.

    Returns:
        0 = done, 1 = some runs failed, 2 = invalid settings or input, 130 = stopped.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given[0] if given else "--help"
    if command not in COMMANDS:
        print(_usage())
        return 0 if command in ("-h", "--help") else 2
    find_own_parts()
    work: Callable[[list[str]], int] = _DISPATCH[command]
    return work(given)


def find_own_parts() -> None:
    """Let settings name classes in files of the current folder, as ``python -m`` does.

    It is looked through last, so that no file there hides a package; not at all where Python was
    told to leave it out (``python -P``, ``PYTHONSAFEPATH``).
    """
    folder = str(Path.cwd())
    if not sys.flags.safe_path and folder not in sys.path:
        sys.path.append(folder)


def run_main(arguments: Sequence[str] | None = None, prog: str = "hsi-diffusion run") -> int:
    """Run the command ``run``: fit a method on a scene, and measure it.

    Args:
        arguments: The command line without the command; None: that of this process.
        prog: Name of the program in its help.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    find_own_parts()
    return guarded(lambda: _run(given, prog))


def guarded(work: Callable[[], int], *, stopped: str = "stopped") -> int:
    """Turn the library's errors, and those of files, into one line and an exit code.

    Args:
        work: What to do.
        stopped: Message when the user stops it.
    """
    from hsi_diffusion.errors import HsiDiffusionError

    try:
        return work()
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or error}{where}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:  # torch says it with a RuntimeError
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        print(
            "error: there is not enough memory; take smaller batches (micro_batch_size), tiles or "
            f"windows, fewer components or bands, or a smaller scene ({str(error)[:200]})",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # Lightning makes a SystemExit out of it
        print(stopped, file=sys.stderr)
        return 130


def _run(given: list[str], prog: str) -> int:
    options, rest = _run_options(given, prog)
    if options.help:
        _run_help(prog)
        return 0
    if helped := [n for n, argument in enumerate(rest) if argument.endswith(".help")]:
        _part_help(rest[helped[0] : helped[0] + 2], prog)
        return 0
    folder = None if options.resume is None else Path(options.resume)
    settings = run_settings(rest) if folder is None else _settings_to_resume(folder, rest, options)
    from hsi_diffusion.console import quieten
    from hsi_diffusion.runs import default_folder, run, show_result

    quieten()
    folder = folder or (Path(options.out) if options.out else default_folder(settings))
    if options.print_config:
        print(settings.to_yaml(), end="")
        return 0
    again = f"stopped; go on with: {prog} --resume {folder}"
    try:
        result = run(
            settings,
            folder,
            overwrite=options.overwrite,
            resume=options.resume is not None,
            progress=not options.no_progress,
        )
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second out of the first
        there = (folder / "config.yaml").is_file()
        print(again if there else "stopped, before anything was computed", file=sys.stderr)
        return 130
    if result is not None:  # another process of a distributed pretraining writes the result
        show_result(result, folder)
    return 0


def run_settings(arguments: Sequence[str]) -> RunSettings:
    """The settings that a command line means: flags over --config, over the preset.

    Args:
        arguments: ``--method``, ``--preset``, ``--config FILE``, and a flag for every setting.

    Raises:
        ConfigurationError: A flag or a value is not allowed.
    """
    from hsi_diffusion.errors import ConfigurationError
    from hsi_diffusion.recipes import merge, preset_for, read_preset, read_yaml

    files, flags = _configs(arguments)
    flags = [re.sub(r"^--image(?=$|=)", "--cube", flag) for flag in flags]  # as map calls it
    asked: dict[str, Any] = {}
    for plain in map(read_yaml, files):
        asked = merge(asked, plain)
    asked = merge(asked, _named(flags))
    usual = {"method": "spectraldiff", "preset": "quick"}
    names = {key: str(asked.get(key, value)) for key, value in usual.items()}
    preset = read_preset(names["method"], names["preset"])
    # imported here: with torch it takes seconds, and a wrong name is told at once
    from hsi_diffusion.recipes import from_flags
    from hsi_diffusion.runs import RunSettings

    given = from_flags(RunSettings, flags)
    asked = merge(asked, given)
    # what of a preset applies follows the scene and the split, whichever way they are said
    where = ("scene", "cube", "split", "train_mask", "test_mask")
    first = RunSettings.from_dict({key: asked[key] for key in where if key in asked})
    plain = preset_for(preset, scene=str(first.scene), split=first.split_kind)
    settings = RunSettings.from_dict(merge(plain, asked) | names)
    if not settings.pretrains and (useless := set(given.get("pretrain", ())) - {"denoiser"}):
        raise ConfigurationError(
            f"{settings.method} learns from raw bands and has no denoiser: leave out "
            f"{', '.join(f'--pretrain.{name}' for name in sorted(useless))}"
        )
    return settings


def _configs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files of --config, which may be given several times, and all other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="append", default=[])
    options, rest = parser.parse_known_args(list(arguments))
    return options.config, rest


def _named(flags: Sequence[str]) -> dict[str, str]:
    """Method and preset as flags give them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--method", default=argparse.SUPPRESS)
    parser.add_argument("--preset", default=argparse.SUPPRESS)
    try:
        return vars(parser.parse_known_args(list(flags))[0])
    except argparse.ArgumentError:  # without a value: the parser of all settings says so
        return {}


def _run_options(given: list[str], prog: str) -> tuple[argparse.Namespace, list[str]]:
    """Where a run goes; the rest are settings."""
    parser = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--print_config", "--print-config", action="store_true")
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument("--resume", metavar="DIR")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--no-progress", action="store_true")
    options, rest = parser.parse_known_args(given)
    return options, rest


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
    from hsi_diffusion.errors import ConfigurationError
    from hsi_diffusion.recipes import settings_parser
    from hsi_diffusion.runs import RunSettings

    try:
        settings_parser(RunSettings, prog=prog).parse_args(arguments)  # prints, and exits
    except argparse.ArgumentError as error:
        raise ConfigurationError(str(error)) from error


def _settings_to_resume(folder: Path, rest: list[str], options: argparse.Namespace) -> RunSettings:
    """The settings of the run in ``folder``, which nothing on the command line may change."""
    from hsi_diffusion.errors import ConfigurationError
    from hsi_diffusion.recipes import read_yaml

    others = [argument for argument in rest if argument.startswith("--")]
    others += [f"--{name}" for name in ("out", "overwrite") if getattr(options, name)]
    if others:
        raise ConfigurationError(
            f"--resume goes on with the run's own settings; leave out {others[0].split('=')[0]}"
        )
    if not (folder / "config.yaml").is_file():
        raise ConfigurationError(f"{folder} holds no config.yaml, so there is no run to resume")
    from hsi_diffusion.runs import RunSettings

    return RunSettings.from_dict(read_yaml(folder / "config.yaml"))


def map_main(arguments: Sequence[str] | None = None) -> int:
    """The command ``map``: apply a saved model to another image of the same sensor."""
    parser = argparse.ArgumentParser(
        prog="hsi-diffusion map",
        description="Apply the model of a run to an image of the same sensor, window by window. "
        "Nothing is fitted: transform, denoiser, reduction and classifier are the model's. Stopped "
        "at any moment, the same command goes on. The areas of the classes are printed, and "
        "written beside the map.",
    )
    add = parser.add_argument
    add("--model", required=True, metavar="DIR", help="model/ of a run, or a folder of save()")
    add("--image", required=True, metavar="FILE[:key]", help="the image")
    add("--nodata", type=float, metavar="X", help='value that means "no data here"')
    add("--axes", metavar="CHW", help="order of the image's axes, if it is not HWC")
    add(
        "--resample",
        action="store_true",
        help="resample the image's bands to the model's wavelengths, if it is of another sensor",
    )
    add(
        "--out",
        required=True,
        metavar="FILE",
        help="the map: .tif (GeoTIFF), .hdr (ENVI) or .npy with the class ids, .png as a picture; "
        "several may be given, separated by commas",
    )
    add("--probabilities", metavar="FILE", help="also write them: float32, a band per class")
    add("--uncertainty", metavar="FILE", help="also write their entropy: float32, in nats")
    add(
        "--memory",
        default="2GB",
        type=_bytes,
        metavar="SIZE",
        help="what each process may hold beside the library itself (default: %(default)s)",
    )
    add("--workers", type=int, metavar="N", help="share the windows among N processes")
    add("--scheduler", metavar="ADDRESS", help="or among the workers of a Dask cluster")
    add(
        "--denoiser",
        metavar="CLASS",
        help="the model's denoiser, if it is a class of your own: its path, or "
        "'{class_path: my_package.MyDenoiser, init_args: {...}}'; files of models import nothing",
    )
    add("--network", metavar="CLASS", help="the classifier's network, likewise")
    add(
        "--trusted",
        metavar="NAME",
        action="append",
        default=[],
        help="full name of a class of the estimator that is not scikit-learn's; may be repeated",
    )
    add("--accelerator", default="auto", choices=("auto", "cpu", "gpu"))
    options = parser.parse_args(arguments)
    find_own_parts()
    return guarded(lambda: _map(options), stopped="stopped; the same command goes on")


def _bytes(text: str) -> int:
    """A size such as 2GB or 500 MB, in bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)B?\s*", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be a size such as 2GB or 500MB, got {text!r}")
    return int(float(match[1]) * 1000 ** " kmgt".index(match[2].lower() or " "))


def _map(options: argparse.Namespace) -> int:
    from hsi_diffusion.classifiers import ClassifierSettings
    from hsi_diffusion.models import map_image
    from hsi_diffusion.modules import Runtime
    from hsi_diffusion.recipes import PretrainSettings, from_flags, from_plain

    parts: dict[str, Any] = {}
    for name, kind in (("denoiser", PretrainSettings), ("network", ClassifierSettings)):
        if (given := getattr(options, name)) is not None:
            plain = from_flags(kind, [f"--{name}={given}"])
            parts[name] = getattr(from_plain(kind, plain), name)
    runtime = Runtime(accelerator=options.accelerator)
    areas = map_image(
        options.model,
        options.image,
        options.out.split(","),
        probabilities=options.probabilities,
        uncertainty=options.uncertainty,
        memory=options.memory,
        workers=options.workers,
        scheduler=options.scheduler,
        resample=options.resample,
        image_options={"nodata": options.nodata, "axes": options.axes},
        model_options={**parts, "trusted": options.trusted, "runtime": runtime},
    )
    for area in areas:
        ground = "" if area["hectares"] is None else f"{area['hectares']:14,.2f} ha"
        print(f"{area['name']:30}{area['pixels']:14,} pixels{ground}{area['percent']:8.2f} %")
    print(f"map: {options.out}")
    for name in ("probabilities", "uncertainty"):
        if (file := getattr(options, name)) is not None:
            print(f"{name}: {file}")
    return 0


def recipes_main(arguments: Sequence[str] | None = None) -> int:
    """The command ``recipes``: list the methods and presets, or print one."""
    parser = argparse.ArgumentParser(
        prog="hsi-diffusion recipes",
        description="List the methods and presets; with a method, print its recipe as it applies "
        "to a scene and a split.",
    )
    parser.add_argument("method", nargs="?", help="name of a method")
    parser.add_argument("preset", nargs="?", default="cpu", help="quick, cpu or paper")
    parser.add_argument("--scene", default="", help="name of a scene")
    parser.add_argument("--split", default="", help="such as 0.1, 10 or blocks")
    options = parser.parse_args(arguments)
    return guarded(lambda: _recipes(options))


def _recipes(options: argparse.Namespace) -> int:
    import yaml

    from hsi_diffusion.recipes import PRESETS, methods, preset_file, preset_for, read_preset

    if options.method is None:
        for method in methods():
            print(_described(method, preset_file(method, "cpu").read_text(encoding="utf-8")))
        print(
            f"\npresets: {', '.join(PRESETS)}; print one with: hsi-diffusion recipes METHOD PRESET"
        )
        return 0
    plain = preset_for(
        read_preset(options.method, options.preset), scene=options.scene, split=options.split
    )
    named = {"method": options.method, "preset": options.preset, **plain}
    print(yaml.safe_dump(named, sort_keys=False, default_flow_style=None), end="")
    return 0


def _described(method: str, text: str) -> str:
    """A method with the first sentence of the comment at the top of its file."""
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line.strip("# ") for line in lines)
    sentence = comment.partition(". ")[0].removesuffix(".")
    return textwrap.fill(sentence, 100, initial_indent=f"{method:23}", subsequent_indent=" " * 23)


def _benchmark(given: list[str]) -> int:
    from hsi_diffusion.benchmarks.command import benchmark

    return benchmark(given[1:], command="hsi-diffusion benchmark")


def _ablate(given: list[str]) -> int:
    from hsi_diffusion.benchmarks.command import ablate

    return ablate(given[1:], command="hsi-diffusion ablate")


def _lightning(given: list[str]) -> int:
    from hsi_diffusion.modules.lightning_cli import SceneCLI

    def work() -> int:
        SceneCLI(given)
        return 0

    return guarded(work)


def _usage() -> str:
    lines = [f"  {name:12}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: hsi-diffusion COMMAND ...",
            "",
            *lines,
            "",
            "help of a command: hsi-diffusion COMMAND --help",
        ]
    )


_DISPATCH: dict[str, Any] = {
    "run": lambda given: run_main(given[1:]),
    "map": lambda given: map_main(given[1:]),
    "benchmark": _benchmark,
    "ablate": _ablate,
    "recipes": lambda given: recipes_main(given[1:]),
    "fit": _lightning,
    "validate": _lightning,
    "test": _lightning,
    "predict": _lightning,
}


if __name__ == "__main__":
    sys.exit(main())
