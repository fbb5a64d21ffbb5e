"""Which pixels train, validate and test, as one value that can be saved."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self
from zipfile import BadZipFile

import numpy as np
from scipy.ndimage import maximum_filter

from hsi_diffusion.errors import FileFormatError, SplitError
from hsi_diffusion.files import atomic_path
from hsi_diffusion.options import check_at_least
from hsi_diffusion.types import DISJOINT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion.types import Padding

PARTS = ("train", "val", "test")
_MAKE_AGAIN = "use the split of this scene, or make one for it"


@dataclass(frozen=True, eq=False)
class Split:
    """Flat pixel numbers (row * W + column) of training, validation and test.

    The label budget, what "10 %" or "10 per class" means, is training and validation together:
    validation spends labels too.

    Attributes:
        train: Training pixels, int64, sorted, shape (number,).
        val: Validation pixels, likewise; may be empty.
        test: Test pixels, likewise; may be empty.
        shape: Height and width of the scene.
        settings: How the split was made, plain data: "kind", "seed", what the kind needs, "notes"
            (what could not be had), "per_class" (see :meth:`from_labels`).

    Raises:
        SplitError: Pixels lie outside the scene, occur twice or in two parts, nothing trains, or
            the settings are not plain data.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    shape: tuple[int, int]
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        height, width = map(int, self.shape)
        object.__setattr__(self, "shape", (height, width))
        for part in PARTS:
            pixels = _sorted_pixels(part, getattr(self, part), height * width)
            object.__setattr__(self, part, pixels)
        if len(self.train) == 0:
            raise SplitError("train must hold at least one pixel, got none")
        for part, other in (("train", "val"), ("train", "test"), ("val", "test")):
            both = np.intersect1d(getattr(self, part), getattr(self, other), assume_unique=True)
            if len(both):
                raise SplitError(
                    f"{part} and {other} must not share pixels, but {len(both)} are in both, the "
                    f"first is {both[0]}"
                )
        try:
            json.dumps(self.settings, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SplitError(
                f"settings must be plain data (str, int, float, bool, None, list, dict): {error}"
            ) from error

    @classmethod
    def from_labels(
        cls,
        labels: NDArray[np.int64],
        *,
        train: NDArray[np.int64],
        val: NDArray[np.int64],
        test: NDArray[np.int64],
        settings: dict[str, Any],
    ) -> Self:
        """A split of a label map, with the number of pixels per class noted in its settings.

        Args:
            labels: Label map, shape (H, W), 0 = unlabelled.
            train: Training pixels, flat numbers.
            val: Validation pixels.
            test: Test pixels.
            settings: How the split was made.

        Returns:
            The split; "per_class" is a list of {"class", "train", "val", "test"}.

        Raises:
            SplitError: See the class.
        """
        height, width = labels.shape
        split = cls(train, val, test, (height, width), settings)
        per_class = [
            {"class": number, **split._pixels_of(number, labels)}
            for number in np.unique(labels[labels > 0]).tolist()
        ]
        return replace(split, settings={**settings, "per_class": per_class})

    @property
    def labelled(self) -> NDArray[np.int64]:
        """The label budget: training and validation pixels together, sorted."""
        return np.sort(np.concatenate([self.train, self.val]))

    @property
    def disjoint(self) -> bool:
        """Whether what is tested, and what validates, lies apart from what trains."""
        return self.settings.get("kind") in DISJOINT

    def check_fits(self, labels: NDArray[np.int64]) -> None:
        """Check that the split is one of this label map: a stored one may be of another scene.

        Args:
            labels: Label map, shape (H, W), 0 = unlabelled.

        Raises:
            SplitError: The shapes differ, a pixel of the split is unlabelled, or a class has
                another number of pixels than when the split was made.
        """
        if labels.shape != self.shape:
            raise SplitError(
                f"the split is one of a scene of {self.shape} pixels (height, width), but the "
                f"label map has {labels.shape}; {_MAKE_AGAIN}"
            )
        flat = labels.ravel()
        for part in PARTS:
            if unlabelled := int((flat[getattr(self, part)] == 0).sum()):
                raise SplitError(
                    f"{unlabelled} of {len(getattr(self, part))} {part} pixels of the split are "
                    f"unlabelled in this label map; {_MAKE_AGAIN}"
                )
        for row in self.settings.get("per_class", []):
            for part, here in self._pixels_of(row["class"], labels).items():
                if here != row[part]:
                    raise SplitError(
                        f"the split was made from another label map: class {row['class']} had "
                        f"{row[part]} {part} pixels there, and has {here} here; {_MAKE_AGAIN}"
                    )

    def _pixels_of(self, number: int, labels: NDArray[np.int64]) -> dict[str, int]:
        """How many pixels of a class each part holds."""
        flat = labels.ravel()
        return {part: int((flat[getattr(self, part)] == number).sum()) for part in PARTS}

    def leakage(self, patch_size: int, padding: Padding = "reflect") -> float:
        """Fraction of the test patches that hold at least one training or validation pixel.

        Such a patch shows a classifier what it was trained on. With 10 % of Indian Pines drawn at
        random (seeds 0 to 2) and 9x9 patches it is 0.992 to 0.996; where all pixels are labelled,
        1 - 0.9 ** 81 = 0.9998.

        Args:
            patch_size: Side P of the patches in pixels; an even patch reaches one pixel further up
                and left, as :func:`~hsi_diffusion.patches.gather.gather_patches` cuts it.
            padding: What patches see outside the scene; mirrored pixels count as seen.

        Returns:
            A share from 0 to 1; nan without test pixels.

        Raises:
            ConfigurationError: ``patch_size`` is below 1.
        """
        check_at_least(1, patch_size=patch_size)
        if len(self.test) == 0:
            return float("nan")
        known = np.zeros(self.shape, dtype=np.uint8)
        known.ravel()[self.labelled] = 1
        # SciPy's "mirror" is NumPy's "reflect", and its windows have the same centre as patches
        seen = maximum_filter(
            known, size=patch_size, mode="mirror" if padding == "reflect" else "constant", cval=0
        )
        return float(seen.ravel()[self.test].mean())

    def save(self, path: str | Path) -> None:
        """Write the split to an ``.npz`` file, whole or not at all."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                train=self.train,
                val=self.val,
                test=self.test,
                shape=np.array(self.shape, dtype=np.int64),
                settings=np.array(json.dumps(self.settings)),
            )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a split that :meth:`save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            FileFormatError: The file is not a saved split.
            SplitError: Its pixels contradict each other.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                stored = {key: file[key] for key in (*PARTS, "shape", "settings")}
            height, width = stored["shape"].tolist()
            settings = json.loads(str(stored["settings"]))
        except (BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{path} is not a split that Split.save wrote ({error}); make the split again"
            ) from error
        return cls(stored["train"], stored["val"], stored["test"], (height, width), settings)


def _sorted_pixels(part: str, pixels: NDArray[Any], size: int) -> NDArray[np.int64]:
    """The pixel numbers as a sorted int64 array of its own, if they are pixels of the scene."""
    pixels = np.asarray(pixels)
    if pixels.ndim != 1 or (pixels.size and pixels.dtype.kind not in "iu"):
        raise SplitError(
            f"{part} must hold flat pixel numbers (row * width + column), integers in one "
            f"dimension, got {pixels.dtype} in shape {pixels.shape}"
        )
    ordered = np.sort(pixels).astype(np.int64)
    if len(ordered) and (ordered[0] < 0 or ordered[-1] >= size):
        raise SplitError(
            f"{part} must lie between 0 and {size - 1}, got {ordered[0]} to {ordered[-1]}"
        )
    if (repeated := ordered[1:] == ordered[:-1]).any():
        raise SplitError(f"{part} must hold each pixel once, but {ordered[1:][repeated][0]} twice")
    return ordered
