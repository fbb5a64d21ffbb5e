"""One thread: on arrays this small, threads that wait for each other cost more than they bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep torch and BLAS to one thread for the length of a test."""
    with threadpool_limits(limits=1):
        yield
