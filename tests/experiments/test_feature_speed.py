from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.experiments.scripts import load_script

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_both_ways_give_the_same_features(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load_script(repository, "feature_speed")
    sizes = ["--size", "16", "--bands", "8", "--tile", "16", "--repeats", "1"]
    module.main([*sizes, "--device", "cpu"])
    printed = capsys.readouterr().out
    found = re.search(r"float32: largest error (\S+) of the largest feature", printed)
    assert found is not None
    assert float(found.group(1)) < 1e-5
    assert re.search(r"level 0 only, float32: .* ratio [\d.]+", printed)
