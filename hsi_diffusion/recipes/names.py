"""Names of the settings, read from the source: a wrong flag is refused without waiting for torch.

Words in place of numbers are refused too. Other values are checked later, by their types.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_names

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = Path(__file__).resolve().parents[1]


def check_flags(kind: str, flags: Sequence[str]) -> None:
    """Refuse flags that name no setting, and words in the place of numbers.

    What is inside a part is not looked at.

    Args:
        kind: Name of the dataclass of the settings.
        flags: ``--pretrain.steps 500`` or ``--pretrain.steps=500``, any number of times.

    Raises:
        ConfigurationError: A flag names no setting, a word belongs to no flag, or is no number.
    """
    known = _settings()
    for before, flag, after in zip(("", *flags), flags, (*flags[1:], ""), strict=False):
        if not flag.startswith("--"):
            if not before.startswith("--") or "=" in before:
                raise ConfigurationError(
                    f"settings are flags such as --pretrain.steps 500, got {flag}"
                )
            continue
        section, where = kind, ""
        path, equals, value = flag[2:].partition("=")
        for name in path.replace("-", "_").split("."):
            fields = _fields(known, section)
            check_names([name], sorted(fields), where)
            section, where = fields[name], f"{where}.{name}".lstrip(".")
            if section not in known:
                break
        if section in ("int", "float"):
            _check_number(where, section, value if equals else after)


def _check_number(name: str, kind: str, text: str) -> None:
    """Refuse what nobody could take for a number."""
    if re.fullmatch(r"[A-Za-z]+", text) and text.lower() not in ("null", "inf", "nan"):
        raise ConfigurationError(f"{name} must be of type {kind}, got {text!r}")


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
