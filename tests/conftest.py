"""What every test may use, and what keeps tests quick on a busy machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
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
    """A test that leaves a process group behind would change every test after it."""
    yield
    assert not torch.distributed.is_initialized()
