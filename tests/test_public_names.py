"""The names that ``hsi_diffusion`` exports."""

from __future__ import annotations

import ast
from pathlib import Path

import hsi_diffusion


def test_type_checkers_see_the_names_that_can_be_imported() -> None:
    tree = ast.parse(Path(str(hsi_diffusion.__file__)).read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname
        for block in guarded
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(hsi_diffusion.__all__) == set(dir(hsi_diffusion))
    for name in hsi_diffusion.__all__:
        assert getattr(hsi_diffusion, name).__name__ == name
