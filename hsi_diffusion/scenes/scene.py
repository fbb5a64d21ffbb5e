"""A scene: the cube, its label map and its facts, checked to fit together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.scenes.georeference import Georeference
    from hsi_diffusion.scenes.info import SceneInfo

SHOWN = 10
"""How many bands or values a message lists before it says "and more"."""


@dataclass(frozen=True, eq=False, repr=False)
class Scene:
    """A hyperspectral scene.

    A band that is constant over the scene carries nothing but is allowed, with a warning.

    Attributes:
        cube: Shape (H, W, bands), as published: a real number type in native byte order, in
            C order, in the units of the file.
        labels: int64, shape (H, W); 0 is unlabelled, classes are 1..K without gaps.
        info: The scene's facts.
        fixed_train: bool, shape (H, W), the training pixels of the published split; None where
            the scene has no such split.
        fixed_test: bool, shape (H, W), likewise the test pixels.
        valid: bool, shape (H, W), the pixels that hold data; None: all. The others are unlabelled,
            and their values stand in for padding, see
            :func:`~hsi_diffusion.scenes.fill_nodata`.
        georeference: Where the pixels lie on the ground; None where unknown.
        polygons: int64, shape (H, W), the polygon from 1 that labelled a pixel, 0 outside; None
            where the labels came as no polygons.
        images: Rows and columns of each image by its name, where several were joined, see
            :func:`~hsi_diffusion.scenes.join_scenes`; None: the scene is one image.
        fields: int64, shape (H, W), the field from 1 in which a pixel lies, 0 where unlabelled, for
            a scene that holds windows, which cut fields; None: connected areas of ``labels``, see
            :func:`~hsi_diffusion.patches.field_map`.

    Raises:
        SceneError: Values are not real and finite; labels are not 0 to K; heights and widths
            differ, also from those of the facts; or pixels are labelled without data, or fixed
            training and test pixels are unlabelled or not disjoint.
    """

    cube: NDArray[Any]
    labels: NDArray[np.int64]
    info: SceneInfo
    fixed_train: NDArray[np.bool_] | None = None
    fixed_test: NDArray[np.bool_] | None = None
    valid: NDArray[np.bool_] | None = None
    georeference: Georeference | None = None
    polygons: NDArray[np.int64] | None = None
    images: Mapping[str, tuple[slice, slice]] | None = None
    fields: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Check that everything fits together."""
        cube, labels, info = self.cube, self.labels, self.info
        # before a cube that holds none is told to be constant
        if self.valid is not None and not self.valid.any():
            raise SceneError(
                f"none of the {self.valid.size} pixels holds data: every one is NaN, the declared "
                "nodata value, or masked; check --nodata and the file's mask"
            )
        check_cube(cube)
        check_same_size(cube.shape, labels, "labels")
        if cube.shape != info.shape:
            raise SceneError(
                f"cube of scene {info.name!r} must have shape {info.shape} (height, width, bands), "
                f"got {cube.shape}"
            )
        if labels.dtype.kind not in "iu":
            raise SceneError(f"labels must be integers, got {labels.dtype}")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high > info.num_classes:
            raise SceneError(
                f"labels of scene {info.name!r} must be 0 (unlabelled) to {info.num_classes}, "
                f"got {low} to {high}"
            )
        for name in ("fixed_train", "fixed_test", "valid"):
            mask = getattr(self, name)
            if mask is None:
                continue
            check_same_size(cube.shape, mask, name)
            if mask.dtype != np.bool_:
                raise SceneError(f"{name} must be bool, got {mask.dtype}")
            if name == "valid":
                if lost := int(np.count_nonzero(labels[~mask])):
                    raise SceneError(f"labels must be 0 where valid is false, {lost} are not")
            elif unlabelled := int(np.count_nonzero(mask & (labels == 0))):
                raise SceneError(
                    f"{name} must mark labelled pixels only, {unlabelled} are unlabelled"
                )
        if self.fixed_train is not None and self.fixed_test is not None:
            shared = int(np.count_nonzero(self.fixed_train & self.fixed_test))
            if shared:
                raise SceneError(
                    f"fixed_train and fixed_test must be disjoint, they share {shared}"
                )

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.cube.shape))
        labelled = int(np.count_nonzero(self.labels))
        return (
            f"Scene({self.name!r}, {shape} {self.cube.dtype}, {labelled} labelled pixels in "
            f"{self.num_classes} classes)"
        )

    @property
    def name(self) -> str:
        """Short name, such as ``"indian_pines"``."""
        return self.info.name

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.cube.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.cube.shape[1])

    @property
    def bands(self) -> int:
        """Spectral bands."""
        return int(self.cube.shape[2])

    @property
    def num_classes(self) -> int:
        """How many classes the scene has (K)."""
        return self.info.num_classes


def check_cube(cube: NDArray[Any]) -> None:
    """Check that ``cube`` is a cube of real, finite numbers; warn of constant bands.

    Raises:
        SceneError: If it is not.
    """
    if cube.ndim != 3 or 0 in cube.shape:
        raise SceneError(f"cube must have shape (height, width, bands), got {cube.shape}")
    if cube.dtype.kind not in "iuf" or cube.dtype.itemsize > 8:
        raise SceneError(
            f"cube must hold real numbers (integers or floats up to 64 bits), got {cube.dtype}; "
            + ("give its magnitude, or its real part" if cube.dtype.kind == "c" else "convert it")
        )
    # the extremes carry NaN and infinities, so a healthy cube needs no second pass and no mask
    low, high = cube.min(axis=(0, 1)), cube.max(axis=(0, 1))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise SceneError(_describe_not_finite(cube))
    constant = np.flatnonzero(low == high)
    if constant.size:
        warnings.warn(
            f"{constant.size} of {cube.shape[2]} bands are constant over the whole scene and "
            f"carry no information: {shorten(constant.tolist())} (counted from 0)",
            stacklevel=2,
        )


def check_same_size(
    shape: tuple[int, ...], image: NDArray[Any], name: str, axes: str | None = None
) -> None:
    """Check that the 2-D ``image``, called ``name``, has the height and width of a cube.

    Args:
        shape: That of the cube, or its height and width.
        image: Shape (H, W).
        name: What to call the image in a message.
        axes: The order of axes in which the cube was read; None: HWC.

    Raises:
        SceneError: If it has not; the message says which order of the cube's axes would fit.
    """
    size = tuple(shape[:2])
    if image.shape == size:
        return
    orders = ("WHC", "CHW", "HCW", "CWH", "WCH") if len(shape) == 3 else ("WHC",)
    fitting = [o for o in orders if image.shape == (shape[o.index("H")], shape[o.index("W")])]
    hint = ""
    if fitting:
        right = "".join(fitting[0]["HWC".index(axis)] for axis in axes or "HWC")
        hint = (
            "; its transpose would fit: give it transposed (numpy: array.T), or the cube with"
            if fitting[0] == "WHC"
            else "; the cube's axes seem to be in another order: give"
        )
        hint += f" axes={right!r} (--axes {right})"
    raise SceneError(
        f"{name} must have the height and width of the cube, {size}, got {image.shape}{hint}"
    )


def shorten(values: Sequence[object]) -> str:
    """List ``values`` for a message, the first ten of them."""
    shown = ", ".join(map(str, values[:SHOWN]))
    return f"{shown} and {len(values) - SHOWN} more" if len(values) > SHOWN else shown


def _describe_not_finite(cube: NDArray[Any]) -> str:
    bad = ~np.isfinite(cube)
    nan, infinite = np.count_nonzero(np.isnan(cube)), np.count_nonzero(np.isinf(cube))
    pixels = np.count_nonzero(bad.any(axis=2))
    first = tuple(map(int, np.unravel_index(bad.argmax(), bad.shape)))
    return (
        f"cube must be finite, got {nan} NaN and {infinite} infinite values in {pixels} pixels, "
        f"the first at (row, column, band) {first}; replace them (for example by the mean of the "
        f"neighbouring pixels) or cut the scene before loading it"
    )
