"""What every test may use, and what keeps tests quick on a busy machine."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scenes and official label maps beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real scenes in {SHARED_DATA}, which is not there")
    return SHARED_DATA


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the program is called in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """The tests' arrays are tiny: more threads (torch, BLAS) would only wait for each other.

    For the session, so that fixtures of a module compute with as many threads as its tests: sums
    over several threads round differently.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _global_state_stays() -> Iterator[None]:
    """A process group, rank, threads or seed that a test leaves would change every one after it.

    Every test begins with the same seeds: which tests run before it must not matter.

    Lightning's command line keeps its seed in the environment, where processes that later tests
    start would find it.
    """
    seeds = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    before = {name: os.environ.get(name) for name in seeds}
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - scikit-learn's
    torch.manual_seed(0)
    yield
    assert not torch.distributed.is_initialized()
    assert torch.get_num_threads() == 1
    # a Trainer that was told to be another process; later runs would write nothing
    assert getattr(rank_zero_only, "rank", 0) == 0
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
