"""The pages and drawings of the site that are made from the code, so that they can't be wrong."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import math
import re
import shutil
import textwrap
import typing
from collections import Counter
from functools import partial, reduce
from pathlib import Path
from typing import Any

import docstring_parser.google
import torch
import yaml
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyBboxPatch

import hsi_diffusion
from hsi_diffusion.denoisers import PixelDenoiser, StagedDenoiser, UNet2D, UNet3D
from hsi_diffusion.networks import (
    CrossLayerTransformer,
    FusionClassifier,
    SpectralTransformer,
)
from hsi_diffusion.recipes import methods, preset_file, to_plain
from hsi_diffusion.runs import RunSettings

PACKAGE = Path(hsi_diffusion.__file__).parent
REPOSITORY = PACKAGE.parent

DRAWN = {
    "spectraldiff_denoiser": (partial(UNet3D, 200), (200, 16, 16)),
    "spectraldiff_classifier": (partial(SpectralTransformer, 200, 16, 11), (200, 11, 11)),
    "diffspectralnet_denoiser": (partial(UNet2D, 24), (24, 32, 32)),
    "diffspectralnet_classifier": (partial(CrossLayerTransformer, 64, 16, 11), (64, 11, 11)),
    "diffcrn_denoiser": (partial(StagedDenoiser, 24), (24, 32, 32)),
    "diffcrn_classifier": (
        partial(FusionClassifier, 99, 16, 11, timesteps=3, angles=True),
        (99, 11, 11),
    ),
    "diffgraph_denoiser": (partial(PixelDenoiser, 24), (24, 4, 4)),
}
"""What makes a network, and the shape of an image that it is drawn with."""


def write(folder: Path) -> None:
    """Write everything into a folder that is not in the repository."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "api").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    (folder / "settings.md").write_text(settings_page(RunSettings), encoding="utf-8")
    (folder / "presets.md").write_text(presets_page(), encoding="utf-8")
    order = folders_in_order()
    told = [
        name
        for name in order
        if hasattr(importlib.import_module(f"hsi_diffusion.{name}"), "__all__")
    ]
    for name in told:
        (folder / "api" / f"{name}.md").write_text(api_page(name), encoding="utf-8")
    (folder / "api" / "index.md").write_text(api_index(told), encoding="utf-8")
    architecture(order).savefig(folder / "architecture.svg")
    for name, (make, shape) in DRAWN.items():
        network_drawing(make(), shape).savefig(folder / f"{name}.svg")


def settings_page(kind: type[Any]) -> str:
    """A table of the fields of a dataclass, and of those inside it."""
    lines = [
        "# Every setting",
        "Made from the types. Each is a flag of `hsi-diffusion run`: `--pretrain.steps 500`.",
    ]
    usual = to_plain(kind())
    waiting = [("", kind)]
    while waiting:
        prefix, kind = waiting.pop(0)
        hints = typing.get_type_hints(kind)
        told = _attributes(kind)
        if prefix:
            lines.append(f"## {prefix}")
            lines.append((inspect.getdoc(kind) or "").split("\n\n")[0])
        else:
            lines.append("## The run")
        rows = ["| setting | type | default | |", "| --- | --- | --- | --- |"]
        for field in dataclasses.fields(kind):
            name = f"{prefix}.{field.name}" if prefix else field.name
            if dataclasses.is_dataclass(hints[field.name]):
                waiting.append((name, hints[field.name]))
                continue
            cells = [f"`{name}`", f"`{_type(hints[field.name])}`", f"`{_default(usual, name)}`"]
            cells.append(told.get(field.name, "").replace("``", "`"))
            rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("\n".join(rows))
    return "\n\n".join(lines) + "\n"


def _attributes(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a dataclass and its parents say of its fields."""
    told: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        doc = docstring_parser.google.parse(one.__doc__ or "")
        told |= {p.arg_name: re.sub(r"\s+", " ", p.description or "") for p in doc.params}
    return told


def _type(hint: Any) -> str:
    text = inspect.formatannotation(hint) if not isinstance(hint, str) else hint
    text = re.sub(r"collections\.abc\.|typing\.|Annotated\[(\w+),[^]]*\]", r"\1", text)
    text = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)
    return text.replace("NoneType", "None")


def _default(usual: dict[str, Any], name: str) -> str:
    value = reduce(lambda inner, part: inner[part], name.split("."), usual)
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()


def presets_page() -> str:
    """The recipes as their files have them."""
    lines = ["# The recipes, as their files have them"]
    for method in methods():
        lines.append(f"## {method}")
        files = dict.fromkeys(preset_file(method, name) for name in ("quick", "cpu", "paper"))
        for file in files:
            text = file.read_text(encoding="utf-8").strip()
            lines.append(f"{file.name}:\n\n```yaml\n{text}\n```")
    return "\n\n".join(lines) + "\n"


def api_index(order: list[str]) -> str:
    """The names that most people import, with links; and the folders."""
    pages = "\n".join(order)
    rows = []
    for name in sorted(hsi_diffusion.__all__):
        value = getattr(hsi_diffusion, name)
        what = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
        what = re.sub(r":\w+:`~?(?:[\w.]+\.)?([\w]+)`", r"`\1`", what).replace("``", "`")
        folder = value.__module__.split(".")[1]
        role = "class" if inspect.isclass(value) else "func"
        rows.append(f"| {{py:{role}}}`{name} <hsi_diffusion.{folder}.{name}>` | {what} |")
    table = "\n".join(["| `from hsi_diffusion import` | |", "| --- | --- |", *rows])
    return f"# Reference\n\n{table}\n\n```{{toctree}}\n{pages}\n```\n"


def api_page(folder: str) -> str:
    """Every public name of a folder, once."""
    module = importlib.import_module(f"hsi_diffusion.{folder}")
    lines = [
        f"# hsi_diffusion.{folder}",
        (module.__doc__ or "").replace("``", "`"),
        "```{eval-rst}",
    ]
    for name in sorted(getattr(module, "__all__", ())):
        value, path = getattr(module, name), f"hsi_diffusion.{folder}.{name}"
        if inspect.isclass(value):
            lines.append(f".. autoclass:: {path}\n   :members:\n   :show-inheritance:\n")
        elif inspect.isfunction(value):
            lines.append(f".. autofunction:: {path}\n")
        else:
            text = _comment(folder, name).replace("\n", "\n   ")
            lines.append(f".. py:data:: {path}\n\n   {text}\n")
    return "\n".join([*lines, "```", ""])


def _comment(folder: str, name: str) -> str:
    """The text below a constant, wherever in the package it is assigned."""
    files = [*sorted((PACKAGE / folder).rglob("*.py")), *sorted(PACKAGE.rglob("*.py"))]
    for file in files:
        body = ast.parse(file.read_text(encoding="utf-8")).body
        for here, after in zip(body, [*body[1:], None], strict=True):
            target = here.targets[0] if isinstance(here, ast.Assign) else here
            target = here.target if isinstance(here, ast.AnnAssign) else target
            if isinstance(target, ast.Name) and target.id == name:
                text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                return inspect.cleandoc(str(after.value.value)) if text else ""
    return ""


def imports() -> Counter[tuple[str, str]]:
    """How many imports of one folder stand in another; types only count, too."""
    found: Counter[tuple[str, str]] = Counter()
    for file in PACKAGE.rglob("*.py"):
        where = file.relative_to(PACKAGE).parts[0]
        if not (PACKAGE / where).is_dir():
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "hsi_diffusion."
            ):
                other = (node.module or "").split(".")[1]
                if other != where and (PACKAGE / other).is_dir():
                    found[where, other] += 1
    return found


def folders_in_order() -> list[str]:
    """The folders of the package, as its docstring has them."""
    return re.findall(r"``(\w+)``", hsi_diffusion.__doc__ or "")


def architecture(order: list[str]) -> Figure:
    """The folders below each other; an arc for every folder that imports from one above it."""
    figure = Figure(figsize=(8.5, 8.5 * 16 / 13.4))
    axis = figure.add_axes((0, 0, 1, 1))
    for (where, other), count in imports().items():
        low, high = sorted((order.index(where), order.index(other)))
        size = high - low
        axis.add_patch(
            Arc(
                (2.5, -(low + high) / 2),
                0.72 * size,
                size,
                theta1=-90,
                theta2=90,
                color="tab:blue",
                alpha=0.45,
                linewidth=0.6 + 0.5 * math.sqrt(count),
            )
        )
    for place, name in enumerate(order):
        module = importlib.import_module(f"hsi_diffusion.{name}")
        box = FancyBboxPatch(
            (1.0, -place - 0.28), 1.4, 0.56, "round,pad=0.03", fc="white", ec="0.3"
        )
        axis.add_patch(box)
        axis.text(1.7, -place, name, ha="center", va="center", fontsize=9, family="monospace")
        what = (module.__doc__ or "").split("\n\n")[0].replace("\n", " ").rstrip(".")
        axis.text(
            7.9,
            -place,
            textwrap.fill(what.replace("`", ""), 44),
            va="center",
            fontsize=8.5,
            color="0.3",
        )
    axis.set_xlim(0.8, 14.2)
    axis.set_ylim(-len(order), 1)
    axis.axis("off")
    axis.set_aspect("equal")
    return figure


def network_drawing(network: torch.nn.Module, shape: tuple[int, ...]) -> Figure:
    """The parts of a network in the order in which they compute, with the shapes that come out.

    Sizes are those of the defaults, on the image of the first line.
    """
    steps: list[tuple[str, str, tuple[int, ...], int]] = []

    def note(name: str, part: torch.nn.Module, output: Any) -> None:
        while isinstance(output, tuple | list):
            output = output[0]
        if isinstance(output, torch.Tensor):
            size = sum(weight.numel() for weight in part.parameters())
            steps.append((name, type(part).__name__, tuple(output.shape[1:]), size))

    for name, part in _parts(network):
        part.register_forward_hook(partial(lambda n, p, _, out: note(n, p, out), name))
    network.eval()
    image = torch.zeros(1, *shape)
    with torch.no_grad():
        time = "x_t" in inspect.signature(network.forward).parameters
        output = network(image, torch.zeros(1, dtype=torch.long)) if time else network(image)
    ends = [("image", "", shape, 0), *steps, ("output", "", tuple(output.shape[1:]), 0)]
    figure = Figure(figsize=(8, 0.42 * len(ends) + 0.2))
    axis = figure.add_axes((0, 0, 1, 1))
    for place, (name, kind, size, weights) in enumerate(ends):
        what = f"{name}: {kind}" if kind else name
        axis.add_patch(
            FancyBboxPatch((0.1, -place - 0.33), 4.3, 0.66, "round,pad=0.02", ec="0.3",
                           fc="#dce9f5" if kind else "white")
        )  # fmt: skip
        axis.text(0.25, -place, what, va="center", fontsize=9, family="monospace")
        axis.text(4.7, -place, " x ".join(map(str, size)), va="center", fontsize=9)
        if weights:
            axis.text(6.9, -place, f"{weights:,} weights", va="center", fontsize=8, color="0.35")
    axis.set_xlim(0, 8.6)
    axis.set_ylim(-len(ends) + 0.4, 0.6)
    axis.axis("off")
    return figure


def _parts(network: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """The children of a network; lists of modules, and modules of few parts, give theirs."""
    found: list[tuple[str, torch.nn.Module]] = []
    for name, child in network.named_children():
        if isinstance(child, torch.nn.ModuleList | torch.nn.ModuleDict):
            found += [(f"{name}.{inner}", part) for inner, part in _parts(child)]
        else:
            found.append((name, child))
    return found
