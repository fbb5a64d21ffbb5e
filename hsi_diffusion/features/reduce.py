"""How the channels of a feature cube are reduced to principal components."""

from __future__ import annotations

from dataclasses import dataclass

from hsi_diffusion.patches import ChannelScale, check_pca_settings


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
