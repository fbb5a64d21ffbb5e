"""What a model says of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Prediction:
    """Class probabilities of every pixel.

    Attributes:
        probabilities: float32, shape (H, W, K), of sum 1; NaN where the image holds no data.
        class_names: One name per class.
        class_ids: The number of each class in the label map that was learned.
        valid: Which pixels hold data, shape (H, W); None: all.
    """

    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    valid: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Leave no probabilities where there is nothing to classify."""
        if self.valid is not None:
            found = np.where(self.valid[:, :, None], self.probabilities, np.float32(np.nan))
            object.__setattr__(self, "probabilities", found)

    @property
    def classes(self) -> NDArray[np.int64]:
        """The most probable class of every pixel, 1..K, shape (H, W); of equal ones the first.

        0 where the image holds no data.
        """
        classes: NDArray[np.int64] = self.probabilities.argmax(axis=2) + 1
        return classes if self.valid is None else classes * self.valid

    @property
    def ids(self) -> NDArray[np.int64]:
        """The same with the numbers of the label map that was learned, shape (H, W)."""
        ids: NDArray[np.int64] = np.array([0, *self.class_ids], dtype=np.int64)[self.classes]
        return ids

    def save_probabilities(self, path: str | Path) -> None:
        """Write the probabilities as .npy, float32, shape (H, W, K)."""
        with atomic_path(path) as temporary:
            np.save(temporary, self.probabilities, allow_pickle=False)
