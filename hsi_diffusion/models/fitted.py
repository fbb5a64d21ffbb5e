"""What a model has learned, and of which image."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.models.representation import BandRepresentation, DiffusionRepresentation
from hsi_diffusion.scenes import Scene, SceneInfo
from hsi_diffusion.scenes.wavelengths import check_wavelengths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.classifiers import PixelClassifier

Representation = BandRepresentation | DiffusionRepresentation

OTHER_UNITS = 30.0
"""How many times a typical value of one image may be that of another in the same units: light and
covers make less of a difference, percent, parts of 10,000 and 8 bits more."""

SAMPLE = 2**16
"""Pixels, about, that a typical value is taken from."""


@dataclass(frozen=True, eq=False)
class FittedOn:
    """The image that a model learned, and what it knows of its pixels.

    Attributes:
        scene: Name of the scene.
        shape: Height and width in pixels, and number of bands.
        sha256: Digest of the cube, which tells whether an image is the same.
        pixels: Flat numbers of the labelled pixels that were learned, shape (N,).
        classes: Their classes, 1..K.
        class_names: Names of the K classes.
        class_ids: The number of each class in the label map.
        palette: One (red, green, blue) in 0..255 per class.
        wavelengths: Band centres in nm; None where unknown.
        rgb_bands: Bands shown as red, green and blue.
        fwhm: Full widths of the bands at half maximum in nm; None where unknown.
        level: A typical value (:func:`typical_value`); None where unknown.
    """

    scene: str
    shape: tuple[int, int, int]
    sha256: str
    pixels: NDArray[np.int64]
    classes: NDArray[np.int64]
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    palette: tuple[tuple[int, int, int], ...]
    wavelengths: tuple[float, ...] | None
    rgb_bands: tuple[int, int, int]
    # earlier models don't name these
    fwhm: tuple[float, ...] | None = None
    level: float | None = None

    @classmethod
    def of(cls, scene: Scene, pixels: NDArray[np.int64]) -> FittedOn:
        """What is known of a scene whose pixels were learned."""
        return cls(
            scene=scene.name,
            shape=scene.info.shape,
            sha256=digest_of_cube(scene.cube),
            pixels=pixels,
            classes=scene.labels.ravel()[pixels],
            level=typical_value(scene.cube, scene.valid),
            **_facts(scene.info),
        )

    def info(self, height: int, width: int) -> SceneInfo:
        """Names, numbers and colours of the classes, as facts of an image of this size."""
        return SceneInfo(
            name=self.scene,
            title=self.scene,
            height=height,
            width=width,
            bands=self.shape[2],
            **_facts(self),
        )

    def labels(self) -> NDArray[np.int64]:
        """A label map, (H, W), of the pixels that were learned."""
        labels = np.zeros(self.shape[0] * self.shape[1], dtype=np.int64)
        labels[self.pixels] = self.classes
        return labels.reshape(self.shape[:2])

    def is_image(self, cube: NDArray[Any]) -> bool:
        """Whether a cube is the one that was learned, value by value."""
        return cube.shape == self.shape and digest_of_cube(cube) == self.sha256

    def cube_of(self, image: Scene | NDArray[Any]) -> NDArray[Any]:
        """The values of an image, if it has the bands that were learned.

        Raises:
            SceneError: It has another number of bands, other wavelengths, or impossible values.
        """
        cube = image.cube if isinstance(image, Scene) else np.asarray(image)
        self.check_bands(cube.shape, image.info.wavelengths if isinstance(image, Scene) else None)
        if cube.dtype.kind not in "biuf" or not np.isfinite(cube).all():
            raise SceneError(
                f"image must hold finite real numbers, got {cube.dtype} with nan, infinity or "
                "values of another kind; mask pixels without data (np.ma.masked_invalid(image)), "
                "or read the image with load_custom_scene(..., nodata=...)"
            )
        return cube

    def check_bands(self, shape: tuple[int, ...], waves: tuple[float, ...] | None) -> None:
        """Refuse an image of other bands than those that were learned.

        Raises:
            SceneError: It has another number of bands, or other wavelengths.
        """
        if len(shape) != 3 or shape[2] != self.shape[2]:
            raise SceneError(
                f"image must have shape (H, W, {self.shape[2]}), the bands of {self.scene}, on "
                f"which this model was fitted, got {tuple(shape)}; give an image of the same "
                "sensor, or resample its bands (--resample)"
            )
        check_wavelengths(waves, self.wavelengths, what="this model", source=self.scene)

    def warn_of_unknown_bands(self, waves: tuple[float, ...] | None) -> None:
        """Warn where an image can't be compared with the wavelengths that were learned."""
        if waves is None and self.wavelengths is not None:
            warnings.warn(
                "this image names no wavelengths, so that the order of its bands could not be "
                f"compared with the model's; they must be the bands of {self.scene}, in that order",
                stacklevel=3,
            )

    def warn_of_other_units(
        self, cube: NDArray[Any], valid: NDArray[np.bool_] | None = None
    ) -> None:
        """Warn where an image seems to be in other units than the one that was learned.

        Args:
            cube: The image or a part of it, shape (H, W, bands).
            valid: Which pixels hold data, shape (H, W); None: all.
        """
        level = typical_value(cube, valid)
        if level and self.level and not 1 / OTHER_UNITS < level / self.level < OTHER_UNITS:
            warnings.warn(
                f"a typical value of this image is {level:.3g}, and of {self.scene}, which this "
                f"model learned, {self.level:.3g}: are both in the same units? Multiply the image, "
                "or name the factor in its file (ENVI: reflectance scale factor, GeoTIFF: scale, "
                "HDF5: scale_factor)",
                stacklevel=3,
            )


@dataclass(frozen=True, eq=False)
class FittedModel:
    """What :meth:`~hsi_diffusion.models.SceneClassifier.fit` has learned.

    Attributes:
        representation: What the classifier sees of an image.
        classifier: The fitted classifier.
        known: The image that was learned.
        graph_space: Space of the bands in which the graph of an image is made; None: nothing is
            spread.
        own_share: Weight of the graphs of what is classified, among those that labels are spread
            along.
        alpha: Part of a pixel's scores that comes from its neighbours, where labels are spread.
    """

    representation: Representation
    classifier: PixelClassifier
    known: FittedOn
    graph_space: BandRepresentation | None = None
    own_share: float = 0.0
    alpha: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate, and how good it is on validation pixels.

    Attributes:
        candidate: Timesteps and levels of features, or a space of bands.
        accuracy: Fraction of the validation pixels that are right; nan where nothing was compared.
        loss: Mean cross-entropy on them, in nats; likewise.
    """

    candidate: Any
    accuracy: float = math.nan
    loss: float = math.nan

    @property
    def rank(self) -> tuple[float, float]:
        """Smallest for the best: the highest accuracy, then the lowest loss; nan is the worst."""
        accuracy, loss = self.accuracy, self.loss
        return (
            math.inf if math.isnan(accuracy) else -accuracy,
            math.inf if math.isnan(loss) else loss,
        )


@dataclass(frozen=True, eq=False)
class FitRecord:
    """What was compared on the way, and how long it took.

    Attributes:
        trials: The candidates in their order, and what they reached on the validation pixels.
        best: The first of the best ones, which was learned.
        folds: Folds of the cross-validation that they were compared by; 1 = the split's own
            validation part.
        training_seconds: Time of the last training, without what came before it.
        test_seconds: Time to classify every pixel of the scene, with its features at hand.
        timestep_weights: How much each timestep is trusted at each pixel, shape (H, W, T); None for
            a classifier without a gate.
    """

    trials: tuple[Trial, ...]
    best: Trial
    folds: int
    training_seconds: float
    test_seconds: float
    timestep_weights: NDArray[np.float32] | None


def _facts(known: SceneInfo | FittedOn) -> dict[str, Any]:
    """Facts of classes and bands, which a model takes over from the scene that it learns."""
    names = ("class_names", "class_ids", "palette", "wavelengths", "rgb_bands", "fwhm")
    return {name: getattr(known, name) for name in names}


def typical_value(cube: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> float | None:
    """Median magnitude of an image's values, over some of its pixels.

    Args:
        cube: Shape (H, W, bands).
        valid: Which pixels hold data, shape (H, W); None: all.

    Returns:
        The median; None where no pixel holds data.
    """
    step = max(1, math.isqrt(cube.shape[0] * cube.shape[1] // SAMPLE))
    there = np.s_[::step, ::step]
    some = cube[there].reshape(-1, cube.shape[2]) if valid is None else cube[there][valid[there]]
    return float(np.median(np.abs(some.astype(np.float64)))) if some.size else None


def digest_of_cube(cube: NDArray[Any]) -> str:
    """SHA-256 of a cube's type, shape and values, in hexadecimal."""
    digest = hashlib.sha256(f"{cube.dtype.str} {cube.shape};".encode())
    digest.update(np.ascontiguousarray(cube).data)
    return digest.hexdigest()
