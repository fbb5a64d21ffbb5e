from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def test_both_ways_give_the_same_features(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    path = request.config.rootpath / "experiments" / "feature_speed.py"
    spec = importlib.util.spec_from_file_location("feature_speed_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sizes = ["--size", "16", "--bands", "8", "--tile", "16", "--repeats", "1"]
    module.main([*sizes, "--device", "cpu"])
    printed = capsys.readouterr().out
    found = re.search(r"float32: largest error (\S+) of the largest feature", printed)
    assert found is not None
    assert float(found.group(1)) < 1e-5
    assert re.search(r"level 0 only, float32: .* ratio [\d.]+", printed)
