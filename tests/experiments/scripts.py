"""The scripts in ``experiments/``, as modules."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def load_script(repository: Path, name: str) -> ModuleType:
    """Run ``experiments/NAME.py`` without its command line."""
    path = repository / "experiments" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for their own annotations
    spec.loader.exec_module(module)
    return module
