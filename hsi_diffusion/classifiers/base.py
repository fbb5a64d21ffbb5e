"""Classifiers of a scene's pixels: labelled pixels of a cube in, probabilities out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from hsi_diffusion.features import FeatureCube

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

Cube = FeatureCube | np.ndarray[Any, np.dtype[np.float32]]
"""Diffusion features, or bands in some space, over the pixels of an image, shape (H, W, D)."""


class Layout(NamedTuple):
    """How the channels of a cube lie, which is known before the cube is computed.

    Attributes:
        channels: How many, D.
        timesteps: In how many equal groups they lie, one for each timestep.
        angles: Whether one spectral angle per timestep stands behind them.
    """

    channels: int
    timesteps: int = 1
    angles: bool = False


def layout_of(cube: Cube) -> Layout:
    """How the channels of a cube lie."""
    if isinstance(cube, FeatureCube):
        return Layout(cube.array.shape[2], cube.timesteps, cube.angles)
    return Layout(cube.shape[2])


def array_of(cube: Cube) -> NDArray[np.float32]:
    """The values of a cube, (H, W, D)."""
    return cube.array if isinstance(cube, FeatureCube) else cube


def parts_of(cube: Cube, *, each: bool) -> Sequence[NDArray[np.float32]]:
    """The values of a cube in one piece, or those of each timestep and level, (H, W, d)."""
    return cube.parts() if each and isinstance(cube, FeatureCube) else (array_of(cube),)


class PixelClassifier(ABC):
    """Learns labelled pixels of a cube, and gives class probabilities of any pixels.

    Attributes:
        seen: Side of the square of pixels around a pixel that decides its class.
    """

    kind: ClassVar[str]
    seen: int = 1

    @abstractmethod
    def check(self, layout: Layout, num_classes: int) -> None:
        """Make everything that will learn once, so that a wrong setting is reported at once.

        Raises:
            ConfigurationError: A setting does not fit the cube, or is outside what is allowed.
        """

    @abstractmethod
    def fit(
        self,
        cube: Cube,
        labels: NDArray[np.integer[Any]],
        pixels: NDArray[np.integer[Any]],
        num_classes: int,
        validation: NDArray[np.integer[Any]] | None = None,
    ) -> Self:
        """Learn the labelled pixels of a cube.

        Args:
            cube: Shape (H, W, D).
            labels: Label map, shape (H, W), classes 1..K; read at ``pixels`` only.
            pixels: Flat numbers of the pixels to learn, shape (N,).
            num_classes: Number of classes K.
            validation: Flat numbers of labelled pixels, for a curve in the log of what trains in
                steps; nothing is learned from them.

        Returns:
            Itself.

        Raises:
            ConfigurationError: A pixel to learn lies outside of the cube, or has no class from 1 to
                ``num_classes``.
        """

    @abstractmethod
    def predict(
        self, cube: Cube, pixels: NDArray[np.integer[Any]] | None = None
    ) -> NDArray[np.float32]:
        """Class probabilities of pixels.

        Args:
            cube: Over the image that was learned, or another one; channels as those learned.
            pixels: Flat numbers, shape (M,); None: all of them.

        Returns:
            Shape (M, K), of sum 1.

        Raises:
            NotFittedError: Nothing was learned yet.
        """

    @abstractmethod
    def trial(self, steps: int, name: str) -> PixelClassifier:
        """A cheaper one of the same kind, to compare cubes with.

        Args:
            steps: Training steps of a network.
            name: Name of the trial in logs.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What was learned with and what was chosen on the way, as plain data."""

    @property
    def parameters(self) -> int | None:
        """Trained numbers of all networks; None where that means nothing."""
        return None

    def timestep_weights(self, cube: Cube) -> NDArray[np.float32] | None:
        """How much each timestep is trusted at each pixel, (H, W, T); None without a gate."""
        del cube
        return None

    @abstractmethod
    def save(self, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Write what has a file format of its own, and give the rest.

        Args:
            folder: Where such files go.

        Returns:
            Plain data, and tensors by name.
        """

    @abstractmethod
    def load(self, folder: Path, plain: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """Be again what :meth:`save` wrote; nothing that a file names is imported or run.

        Raises:
            CheckpointError: The files are damaged, or hold a class of the user's own, which must be
                given as an object.
        """
