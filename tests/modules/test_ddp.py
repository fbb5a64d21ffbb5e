"""The same figures and the same map from 1, 2 and 3 processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.modules.ddp_worker import main

WORKER = Path(__file__).with_name("ddp_worker.py")


def run_worker(devices: int, out: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(WORKER), str(devices), str(out)],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "sync_dist" not in done.stderr, "Lightning would have logged something else"
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_figures_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    main(1, tmp_path / "1.json")
    one = json.loads((tmp_path / "1.json").read_text())
    two, three = (run_worker(n, tmp_path / f"{n}.json") for n in (2, 3))
    for other in (two, three):
        # a count of pixels is exact; a mean of losses is summed in another order
        assert other["test"] == one["test"]
        assert other["map"] == one["map"]
        for part in ("val", "pretrain"):
            assert other[part] == pytest.approx(one[part], rel=1e-5)
        for stage, found in one["trained"].items():
            assert len(found["losses"]) == 10
            for what, values in found.items():
                assert other["trained"][stage][what] == pytest.approx(values, rel=1e-4, abs=2e-5)
    assert (one["steps"], two["steps"], three["steps"]) == (6, 3, 2)
    assert {value for row in one["map"] for value in row} <= {1, 2, 3, 4}
    assert 0 not in {value for row in one["map"] for value in row}
