"""Label maps for the tests of splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.io

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="session")
def indian_pines_labels(shared_data: Path) -> NDArray[np.uint8]:
    path = shared_data / "indian_pines" / "Indian_pines_gt.mat"
    labels: NDArray[np.uint8] = scipy.io.loadmat(path)["indian_pines_gt"]
    return labels


@pytest.fixture(scope="session")
def field_labels() -> NDArray[np.int64]:
    """Fields of 7 classes, 60 x 50, with unlabelled pixels between them and one rare class."""
    random = np.random.default_rng(0)
    labels = np.kron(random.integers(1, 7, (6, 5)), np.ones((10, 10), dtype=np.int64))
    labels[::10] = 0
    labels[:, ::10] = 0
    labels[32:36, 42:47] = 9
    return labels
