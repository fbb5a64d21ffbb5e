"""The same figures and the same map from 1, 2 and 3 processes."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from tests.modules.ddp_worker import main
from tests.processes import together

if TYPE_CHECKING:
    from pathlib import Path


def work(rank: int, devices: int, out: Path) -> None:
    # Lightning would have logged something else
    warnings.filterwarnings("error", message=".*sync_dist")
    main(devices, out)


def test_figures_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    main(1, tmp_path / "1.json")
    one: dict[str, Any] = json.loads((tmp_path / "1.json").read_text())
    for devices in (2, 3):
        together(work, devices, devices, tmp_path / f"{devices}.json")
    two, three = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (2, 3))
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
