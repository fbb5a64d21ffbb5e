"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

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
