"""The command ``map``: apply a saved model to another image of the same sensor."""

from __future__ import annotations

import argparse
import functools
import re
from typing import TYPE_CHECKING, Any

from hsi_diffusion.console import find_own_parts, guarded

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    add("--wavelengths", metavar="FILE", help="text file of its band centres, if it names none")
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
    add("--labels", metavar="FILE", help="ground truth of the image, to measure the map by")
    add("--label_attribute", metavar="NAME", help="of polygons: the column that holds the class")
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
    add("--schedule", metavar="CLASS", help="the denoiser's noise schedule, likewise")
    add("--network", metavar="CLASS", help="the classifier's network, likewise")
    add(
        "--transform",
        metavar="CLASS",
        help="the class of the band transforms, if it is your own: its path; what it was made and "
        "fitted with is in the model",
    )
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
    from hsi_diffusion.models.mapping import map_image
    from hsi_diffusion.modules import Runtime
    from hsi_diffusion.recipes import PretrainSettings, from_flags, from_plain
    from hsi_diffusion.scenes.wavelengths import read_wavelengths

    parts: dict[str, Any] = {}
    kinds = dict.fromkeys(("denoiser", "schedule", "transform"), PretrainSettings)
    for name, kind in {**kinds, "network": ClassifierSettings}.items():
        if (given := getattr(options, name)) is not None:
            plain = from_flags(kind, [f"--{name}={given}"])
            parts[name] = getattr(from_plain(kind, plain), name)
    if isinstance(made := parts.get("transform"), functools.partial):  # its arguments are saved
        parts["transform"] = made.func
    runtime = Runtime(accelerator=options.accelerator)
    areas = map_image(
        options.model,
        options.image,
        [file.strip() for file in options.out.split(",")],
        probabilities=options.probabilities,
        uncertainty=options.uncertainty,
        labels=options.labels,
        label_attribute=options.label_attribute,
        memory=options.memory,
        workers=options.workers,
        scheduler=options.scheduler,
        resample=options.resample,
        image_options={
            "nodata": options.nodata,
            "axes": options.axes,
            "wavelengths": options.wavelengths and read_wavelengths(options.wavelengths),
        },
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
