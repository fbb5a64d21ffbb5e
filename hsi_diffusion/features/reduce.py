"""How the channels of a feature cube are reduced to principal components, on any image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import CheckpointError
from hsi_diffusion.patches import ChannelScale, StreamingPCA, check_pca_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Reduction:
    """How to reduce the channels of a feature cube.

    Attributes:
        components: How many components to keep.
        scale: How channels are scaled before, see :class:`~hsi_diffusion.patches.StreamingPCA`.
        whiten: Give every component unit variance.
        per_timestep: Reduce the channels of every timestep on their own, to ``components`` each, so
            that a classifier can still distinguish the timesteps. Otherwise all channels together.

    Raises:
        ConfigurationError: If a value is outside what is allowed.
    """

    components: int
    scale: ChannelScale = "minmax"
    whiten: bool = False
    per_timestep: bool = False

    def __post_init__(self) -> None:
        check_pca_settings(self.components, self.scale)


@dataclass(frozen=True, eq=False)
class FittedReduction:
    """What a :class:`~hsi_diffusion.features.Reduction` became on the pixels of an image.

    Attributes:
        settings: How the channels are reduced.
        reducers: One fitted analysis for each separate reduction, in the order of the channels.
    """

    settings: Reduction
    reducers: tuple[StreamingPCA, ...]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reduce channels.

        Args:
            features: Shape (h, w, D), as many channels as those that it was fitted on.

        Returns:
            Shape (h, w, parts * components).
        """
        height, width, _ = features.shape
        size = self.settings.components
        array = np.empty((height, width, len(self.reducers), size), dtype=np.float32)
        split = np.split(features, len(self.reducers), axis=2)
        for number, (reducer, part) in enumerate(zip(self.reducers, split, strict=True)):
            reduced = reducer.transform(part.reshape(-1, part.shape[2]))
            array[:, :, number] = reduced.reshape(height, width, size)
        return array.reshape(height, width, -1)

    @property
    def explained_variance(self) -> list[float]:
        """Fraction of the variance that each separate reduction kept."""
        return [float(one.explained_variance_ratio.sum()) for one in self.reducers]

    def tensors(self) -> dict[str, Tensor]:
        """The statistics by name, float64, for :meth:`from_tensors`."""
        return {
            f"{number}.{name}": value
            for number, reducer in enumerate(self.reducers)
            for name, value in reducer.state_dict().items()
            if hasattr(value, "numpy")
        }

    @classmethod
    def from_tensors(cls, settings: Reduction, tensors: Mapping[str, Tensor]) -> FittedReduction:
        """The reduction whose statistics these are.

        Raises:
            CheckpointError: Something is missing.
        """
        parts: dict[str, dict[str, Any]] = {}
        for key, value in tensors.items():
            number, _, name = key.partition(".")
            parts.setdefault(number, {})[name] = value
        if not parts:
            raise CheckpointError("the saved reduction holds no statistics; fit the model again")
        plain = {name: getattr(settings, name) for name in ("components", "scale", "whiten")}
        ordered = [parts[number] for number in sorted(parts, key=int)]
        return cls(settings, tuple(StreamingPCA.from_state_dict(plain | one) for one in ordered))
