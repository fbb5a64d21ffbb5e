"""Names of the settings, read from the source: a wrong flag is told without waiting for torch."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_names

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = Path(__file__).resolve().parents[1]


def check_flags(kind: str, flags: Sequence[str]) -> None:
    """Refuse flags that name no setting; values, and what is inside a part, are not looked at.

    Args:
        kind: Name of the dataclass of the settings.
        flags: ``--pretrain.steps 500`` or ``--pretrain.steps=500``, any number of times.

    Raises:
        ConfigurationError: A flag names no setting, or a word belongs to no flag.
    """
    known = _settings()
    for before, flag in zip(("", *flags), flags, strict=False):
        if not flag.startswith("--"):
            if not before.startswith("--") or "=" in before:
                raise ConfigurationError(
                    f"settings are flags such as --pretrain.steps 500, got {flag}"
                )
            continue
        section, where = kind, ""
        for name in flag[2:].partition("=")[0].replace("-", "_").split("."):
            fields = _fields(known, section)
            check_names([name], sorted(fields), where)
            section, where = fields[name], f"{where}.{name}".lstrip(".")
            if section not in known:
                break


def _settings() -> dict[str, ast.ClassDef]:
    """Every dataclass of settings in the package by its name, and Recipe."""
    found: dict[str, ast.ClassDef] = {}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "Settings:\n" in text or "class RunSettings" in text:
            body = ast.parse(text).body
            found |= {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    return found


def _fields(known: dict[str, ast.ClassDef], kind: str) -> dict[str, str]:
    """Type of each field of a dataclass, those of its parents included."""
    fields: dict[str, str] = {}
    for parent in map(ast.unparse, known[kind].bases):
        fields |= _fields(known, parent) if parent in known else {}
    for node in known[kind].body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            fields[node.target.id] = ast.unparse(node.annotation)
    return fields
