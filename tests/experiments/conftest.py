"""What the tests of experiments/run.py share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def main(repository: Path) -> Callable[[list[str]], int]:
    """The main function of experiments/run.py."""
    function: Callable[[list[str]], int] = load_script(repository, "run").main
    return function
