"""The script that times graphs of large scenes, on a scene where every row is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_all_neighbours_are_found_where_all_are_compared(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_script(repository, "graph_speed").main(
        ["--height", "30", "--width", "40", "--bands", "20", "--components", "5"]
    )
    printed = capsys.readouterr().out
    assert printed.count("1,200 pixels") == 2
    assert printed.count("recall 1.000") == 2
