"""The command ``recipes``: list the methods and presets, or print one."""

from __future__ import annotations

import argparse
import textwrap
from itertools import takewhile
from typing import TYPE_CHECKING

import yaml

from hsi_diffusion.console import guarded
from hsi_diffusion.recipes.reading import (
    PRESETS,
    methods,
    preset_file,
    preset_for,
    read_preset,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


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
