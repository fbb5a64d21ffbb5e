"""Classify images, whole or window by window, with what a model learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.classifiers import parts_of
from hsi_diffusion.features.tiles import with_halo
from hsi_diffusion.files import atomic_path
from hsi_diffusion.graphs import Spreading
from hsi_diffusion.models.representation import DiffusionRepresentation

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from hsi_diffusion.classifiers import Cube
    from hsi_diffusion.models.fitted import FittedModel, Representation
    from hsi_diffusion.recipes import Recipe
    from hsi_diffusion.scenes import Raster

OVERLAP = 64
"""Pixels around a window that take part where labels are spread inside of it."""


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


@dataclass(frozen=True)
class Predictor:
    """Classifies images of the sensor that a model learned.

    Attributes:
        fitted: What was learned.
        recipe: What decided it.
        device: Where to compute.
        prediction: What the fit found for the image that was learned; None: it is computed again.
    """

    fitted: FittedModel
    recipe: Recipe
    device: torch.device
    prediction: Prediction | None = None

    def predict(self, cube: NDArray[Any], valid: NDArray[np.bool_] | None) -> Prediction:
        """Classify every pixel of an image.

        Args:
            cube: Shape (H, W, bands), in the units and with the bands that were learned.
            valid: Which pixels hold data, shape (H, W); None: all.

        Returns:
            Probabilities and classes. For the image that was learned they are what the fit found;
            on another one nothing is fitted, and the graphs are its own.
        """
        fitted = self.fitted
        known = fitted.known
        own = known.is_image(cube)
        if own and self.prediction is not None:
            return self.prediction
        seen = fitted.representation(cube, valid)
        found = fitted.classifier.predict(seen).reshape(*cube.shape[:2], -1)
        if fitted.graph_space is not None:
            spreading = self._spreading(cube, valid, seen, fitted.representation)
            labelled = (known.labels(), known.pixels) if own else ()
            found = spreading.join(found, *labelled)
        return Prediction(found, known.class_names, known.class_ids, valid)

    def predict_window(
        self, image: Raster, rows: slice, columns: slice, *, tile: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Classify the pixels of a window of an image, which is read with what decides them.

        What it says is what :meth:`predict` says of the whole image, up to the rounding of float32.
        A model that spreads along a graph takes that of the window and of the pixels around it,
        unless the window is the whole image; labels that were learned are then not spread.

        Args:
            image: The image.
            rows: Rows of the window.
            columns: Its columns.
            tile: Side of the denoiser's tiles; None: the model's.

        Returns:
            Probabilities, shape (h, w, K), and which pixels hold data, shape (h, w); those of the
            others mean nothing.

        Raises:
            SceneError: The image has other bands.
        """
        fitted = self.fitted
        height, width, _ = image.shape
        if (rows, columns) == (slice(0, height), slice(0, width)):
            values, valid = image.read(rows, columns)
            found = self.predict(fitted.known.cube_of(values), _holes(valid)).probabilities
            return found, valid
        reach, seen_as = self.reach, fitted.representation
        step = seen_as.step if isinstance(seen_as, DiffusionRepresentation) else 1
        top, left = with_halo(rows, reach, step, height), with_halo(columns, reach, step, width)
        values, there = image.read(top, left)
        inner = (
            slice(rows.start - top.start, rows.stop - top.start),
            slice(columns.start - left.start, columns.stop - left.start),
        )
        valid, classes = there[inner], len(fitted.known.class_names)
        found = np.full((*valid.shape, classes), 1 / classes, dtype=np.float32)
        if not valid.any():
            return found, valid
        if not there.all():  # so far what stands in for them depends on where the window ends
            wide = with_halo(rows, 3 * reach, 1, height), with_halo(columns, 3 * reach, 1, width)
            values = image.read(*wide)[0][
                top.start - wide[0].start : top.stop - wide[0].start,
                left.start - wide[1].start : left.stop - wide[1].start,
            ]
        cube = fitted.known.cube_of(values)
        if isinstance(seen_as, DiffusionRepresentation):
            seen_as = seen_as.inside((top.start, left.start, width), tile)
        seen = seen_as(cube, _holes(there))
        if fitted.graph_space is None:
            numbers = np.arange(cube.shape[0] * cube.shape[1]).reshape(cube.shape[:2])
            found[valid] = fitted.classifier.predict(seen, numbers[inner][valid])
            return found, valid
        whole = fitted.classifier.predict(seen).reshape(*cube.shape[:2], -1)
        return self._spreading(cube, _holes(there), seen, seen_as).join(whole)[inner], valid

    @property
    def spreads(self) -> bool:
        """Whether a pixel's class depends on pixels anywhere in the image."""
        fitted = self.fitted
        averages = bool(getattr(fitted.representation, "neighbours", 0))
        return averages or fitted.graph_space is not None

    @property
    def reach(self) -> int:
        """Pixels to each side that decide a pixel's class; for one that spreads, that count."""
        fitted = self.fitted
        spaces = [one for one in (fitted.representation, fitted.graph_space) if one is not None]
        local = max(space.reach for space in spaces) + fitted.classifier.seen // 2
        return max(local, OVERLAP) if self.spreads else local

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that a prediction takes, about, without the image itself."""
        fitted = self.fitted
        classes = len(fitted.known.class_names)
        graph = 0
        if self.spreads:
            graphs = 1 + len(self.recipe.features.timesteps) * bool(fitted.own_share)
            graph = 32 * classes + graphs * 48 * (2 * self.recipe.spreading.neighbours + 9)
        return fitted.representation.bytes_per_pixel + 16 * classes + graph

    def tile_for(self, room: float) -> int | None:
        """Side of the denoiser's tiles that fit into so many bytes; None without a denoiser."""
        seen_as = self.fitted.representation
        return seen_as.tile_for(room) if isinstance(seen_as, DiffusionRepresentation) else None

    def _spreading(
        self,
        cube: NDArray[Any],
        valid: NDArray[np.bool_] | None,
        seen: Cube,
        seen_as: Representation,
    ) -> Spreading:
        """Graphs of an image, with the weights that the fit has chosen."""
        fitted, settings = self.fitted, self.recipe.spreading
        assert fitted.graph_space is not None  # noqa: S101  (asked for only where there is one)
        if not fitted.own_share:
            own: Any = ()
        elif settings.own == "restored" and isinstance(seen_as, DiffusionRepresentation):
            own = seen_as.restored(cube, self.recipe.features.timesteps)
        else:
            own = parts_of(seen, each=self.recipe.classifier.each)
        spreading = Spreading.fit(
            settings,
            fitted.graph_space(cube, valid),
            own,
            valid=valid,
            device=self.device,
        )
        spreading.share, spreading.alpha = fitted.own_share, fitted.alpha
        return spreading


def _holes(valid: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return None if valid.all() else valid
