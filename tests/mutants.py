"""Change one place of a module at a time, and see whether its tests notice.

    python -m tests.mutants hsi_diffusion/diffusion/schedule.py tests/diffusion/test_schedule.py

Comparisons, arithmetic, numbers and whole statements are changed. Each mutant runs in a fork with
limits of time; prints the survivors, and counts. ``--sample N`` takes N mutants of all there are.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import lightning  # noqa: F401 - once, and not in every fork
import numpy as np  # noqa: F401
import pytest
import scipy.ndimage  # noqa: F401
import sklearn.base  # noqa: F401

if TYPE_CHECKING:
    import types
    from collections.abc import Sequence

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult,
}  # fmt: skip


def places(tree: ast.Module) -> list[tuple[int, int]]:
    """Which nodes of ``ast.walk`` can be changed, and how."""
    kinds = (ast.Compare, ast.BinOp, ast.AugAssign, ast.BoolOp, ast.Constant, ast.stmt)
    return [
        (number, change)
        for number, node in enumerate(ast.walk(tree))
        if isinstance(node, kinds)
        for change in range(2)
        if _change(copy.deepcopy(node), change)
    ]


def mutant(tree: ast.Module, number: int, change: int) -> tuple[int, str, ast.Module]:
    """Line, what is changed, and the changed tree."""
    changed = copy.deepcopy(tree)
    node = list(ast.walk(changed))[number]
    told = _change(node, change)
    return getattr(node, "lineno", 0), told, ast.fix_missing_locations(changed)


def _change(node: ast.AST, change: int) -> str:
    """Change a node in place; "" where there is nothing to change."""
    before = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
    if change == 0 and isinstance(node, ast.Compare):
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
    elif change == 0 and isinstance(node, ast.BinOp | ast.AugAssign):
        if type(node.op) not in ARITHMETIC:
            return ""
        node.op = ARITHMETIC[type(node.op)]()
    elif change == 0 and isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif change == 0 and isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            node.value = not node.value
        elif isinstance(node.value, int | float):
            node.value += 1
        else:
            return ""
    elif change == 1 and isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.With):
        body = [one for one in node.body if not isinstance(one, ast.Return | ast.Pass)]
        body = [one for one in body if not _is_text(one)]
        if not body:
            return ""
        gone = body[-1]
        node.body = [ast.Pass() if one is gone else one for one in node.body]
        return f"without `{ast.unparse(gone).splitlines()[0]}`"
    else:
        return ""
    return f"`{before.splitlines()[0]}` as `{ast.unparse(node).splitlines()[0]}`"


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


class Changed:
    """Imports one module from a changed tree."""

    def __init__(self, name: str, file: str, tree: ast.Module) -> None:
        self.name, self.file, self.tree = name, file, tree

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        loader: object = self
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.file, loader=loader)  # type: ignore[arg-type]

    def create_module(self, spec: object) -> None:
        """As usual."""

    def exec_module(self, module: types.ModuleType) -> None:
        exec(compile(self.tree, self.file, "exec"), module.__dict__)


def survives(file: str, tree: ast.Module, tests: Sequence[str], seconds: float) -> bool:
    """Whether the tests pass all the same; a mutant that takes too long is noticed."""
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        signal.alarm(int(seconds))
        name = file.removesuffix(".py").replace("/", ".")
        sys.meta_path.insert(0, Changed(name, file, tree))  # type: ignore[arg-type]
        code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])
        os._exit(int(code))
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tree = ast.parse(Path(options.file).read_text(encoding="utf-8"))
    found = places(tree)
    total = len(found)
    if options.sample is not None and options.sample < total:
        found = random.Random(options.seed).sample(found, options.sample)
    start = time.monotonic()
    if not survives(options.file, tree, options.tests, 600):
        raise SystemExit("the tests fail without any change")
    seconds = 10 + 5 * (time.monotonic() - start)
    left = 0
    for number, change in sorted(found):
        line, told, changed = mutant(tree, number, change)
        if survives(options.file, changed, options.tests, seconds):
            left += 1
            print(f"{options.file}:{line}: {told}", flush=True)
    print(
        f"| `{options.file}` | {total} | {len(found)} | {len(found) - left} | {left} |", flush=True
    )


if __name__ == "__main__":
    main()
