"""The windows of a map: planned to fit into memory, and classified one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import atomic_path
from hsi_diffusion.hardware import one_blas_thread
from hsi_diffusion.models.scene_classifier import SceneClassifier
from hsi_diffusion.scenes import Raster, open_raster, resample_bands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Box = tuple[int, int, int, int]

SIDE = 1024
"""Largest side of a window: a map that was stopped goes on from the last one."""

GRAIN = 64
"""Sides of windows are multiples of it."""

SHARE = 0.5
"""Part of the memory that the arrays of a window may take; the rest is for what works on them."""


@dataclass(frozen=True)
class MapJob:
    """What every worker has to know of a map.

    Attributes:
        model: Folder of the model.
        image: The image's file.
        folder: Where the windows are kept until all are there.
        windows: First and last row, first and last column of each; the last ones are excluded.
        tile: Side of the denoiser's tiles; None: the model's.
        kept: What is kept beside the classes: ``"probabilities"``, ``"uncertainty"``.
        image_options: Arguments of :func:`~hsi_diffusion.scenes.open_raster`.
        model_options: Arguments of :meth:`SceneClassifier.from_pretrained`.
        resample: Whether the image's bands are resampled to the model's wavelengths.
    """

    model: str
    image: str
    folder: Path
    windows: tuple[Box, ...]
    tile: int | None
    kept: tuple[str, ...]
    image_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    resample: bool = False

    def part(self, number: int) -> Path:
        """The file of a window."""
        return self.folder / f"window-{number}.npz"

    def open(self) -> tuple[SceneClassifier, Raster]:
        """Read the model, and open the image."""
        model = SceneClassifier.from_pretrained(self.model, **self.model_options)
        raster = open_raster(self.image, **self.image_options)
        if not self.resample:
            return model, raster
        if model.known.wavelengths is None:
            raise ConfigurationError(
                f"resample needs the wavelengths of {model.known.scene}, which this model learned "
                "without: fit it with wavelengths (--wavelengths)"
            )
        return model, resample_bands(raster, model.known.wavelengths, model.known.fwhm)

    def blocks(self, name: str) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
        """What is kept under a name: rows, columns and values (h, w, ...) of every window."""
        for number, (top, bottom, left, right) in enumerate(self.windows):
            with np.load(self.part(number), allow_pickle=False) as held:
                yield slice(top, bottom), slice(left, right), held[name]


def plan_windows(
    model: SceneClassifier, raster: Raster, memory: int
) -> tuple[tuple[Box, ...], int | None]:
    """Cut an image into windows whose arrays fit into memory.

    They depend on the model, the image and the memory alone: a map is the same however many
    processes make it.

    Args:
        model: The fitted model.
        raster: The image.
        memory: Bytes that a process may hold.

    Returns:
        The windows, and the side of the denoiser's tiles (None: the model's own).

    Raises:
        ConfigurationError: The memory does not suffice for the smallest window.
    """
    height, width, _ = raster.shape
    predictor = model.predictor
    room, reach = SHARE * memory, predictor.reach
    each = predictor.bytes_per_pixel + raster.bytes_per_pixel
    tile = predictor.tile_for(room)
    one_window = predictor.spreads or max(height, width) <= SIDE
    if one_window and height * width * each <= room:
        return ((0, height, 0, width),), tile
    side = math.isqrt(int(room / each)) - 2 * reach
    side = min(SIDE, side - side % GRAIN)
    if side < GRAIN:
        needed = each * (GRAIN + 2 * reach) ** 2 / SHARE
        raise ConfigurationError(
            f"memory must be at least {math.ceil(needed / 1e6)} MB for windows of {GRAIN} pixels "
            f"with the {reach} around them that decide their classes, got {memory / 1e6:g} MB"
        )
    boxes = tuple(
        (top, min(top + side, height), left, min(left + side, width))
        for top in range(0, height, side)
        for left in range(0, width, side)
    )
    return boxes, tile


HELD: dict[Path, tuple[SceneClassifier, Raster]] = {}
"""The model and the image that a process has opened, under a job's folder."""


def map_window(job: MapJob, number: int) -> None:
    """Classify a window, and write it to its file."""
    if job.folder not in HELD:
        HELD.clear()
        HELD[job.folder] = job.open()
    model, raster = HELD[job.folder]
    top, bottom, left, right = job.windows[number]
    rows, columns = slice(top, bottom), slice(left, right)
    with one_blas_thread():
        found, valid = model.predictor.predict_window(raster, rows, columns, tile=job.tile)
    ids = np.asarray(model.known.class_ids)
    held = {"classes": np.where(valid, ids[found.argmax(axis=2)], 0).astype(id_type(ids))}
    if "uncertainty" in job.kept:
        logs = np.log(np.maximum(found, np.finfo(np.float32).tiny))
        held["uncertainty"] = np.where(valid, -(found * logs).sum(axis=2), np.nan)
    if "probabilities" in job.kept:
        held["probabilities"] = np.where(valid[:, :, None], found, np.nan)
    with atomic_path(job.part(number)) as temporary:
        np.savez(temporary, **held)  # type: ignore[arg-type]  # no flag is among the names


def id_type(ids: NDArray[np.integer[Any]]) -> np.dtype[Any]:
    """The smallest type of numbers that holds class numbers."""
    return np.min_scalar_type(int(ids.max()))
