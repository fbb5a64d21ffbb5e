"""Features of every pixel of a scene, from a denoiser that runs over it tile by tile.

How tiles and their halos are laid, and what noise they see, is in
:mod:`hsi_diffusion.features.tiles`.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features.tiles import TiledPass

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.features.tiles import Progress, Tile

NoiseMode = Literal["none", "fixed", "mean"]
"""What a denoiser sees at extraction: x_t without noise, with one draw, or with several draws."""

Precision = Literal["float32", "bfloat16"]
"""In what the denoiser computes; features come out in float32 either way."""


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Which features of a scene to compute, and how.

    Attributes:
        timesteps: Steps t of the noise schedule, from 0 to T - 1.
        levels: Numbers of levels in the denoiser's ``feature_info``.
        noise: "none": x_t = sqrt(abar_t) x_0. "fixed": one seeded noise field per timestep, as
            published recipes have it. "mean": the features (not the images) averaged over ``draws``
            noise fields.
        draws: Number of noise fields per timestep with noise "mean"; not used otherwise.
        seed: Of the noise fields; not used with noise "none".
        tile: Height and width of a tile in pixels, without its halo. Changes memory and speed, not
            the features.
        precision: "float32", or "bfloat16" for autocast.

    Raises:
        ConfigurationError: If a value is outside what is allowed.
    """

    timesteps: tuple[int, ...] = (5,)
    levels: tuple[int, ...] = (0,)
    noise: NoiseMode = "none"
    draws: int = 8
    seed: int = 0
    tile: int = 64
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("timesteps", "levels"):
            values = tuple(getattr(self, name))  # a list out of a YAML file will do
            object.__setattr__(self, name, values)
            if not values or len(set(values)) < len(values) or min(values) < 0:
                raise ConfigurationError(
                    f"{name} must hold at least one number from 0, each once, but is {values}"
                )
        for name, allowed in (("noise", get_args(NoiseMode)), ("precision", get_args(Precision))):
            if getattr(self, name) not in allowed:
                raise ConfigurationError(
                    f"{name} must be one of {', '.join(allowed)}, but is {getattr(self, name)!r}"
                )
        for name in ("draws", "tile"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, but is {getattr(self, name)}")

    def identity(self) -> dict[str, Any]:
        """The settings on which the features depend, as plain data: no tile, no unused draws."""
        facts: dict[str, Any] = {
            "timesteps": list(self.timesteps),
            "levels": list(self.levels),
            "noise": self.noise,
            "precision": self.precision,
        }
        if self.noise != "none":
            facts["seed"] = self.seed
        if self.noise == "mean":
            facts["draws"] = self.draws
        return facts


class FeatureBlock(NamedTuple):
    """Neighbouring channels of a feature cube that come from one place.

    Attributes:
        timestep: Step t of the noise schedule.
        level: Number of the level in the denoiser's ``feature_info``.
        name: The level's name.
        channels: How many channels.
    """

    timestep: int
    level: int
    name: str
    channels: int


def feature_blocks(denoiser: Denoiser, settings: FeatureSettings) -> tuple[FeatureBlock, ...]:
    """Where each channel comes from: timestep by timestep, and within it level by level."""
    info = denoiser.feature_info
    return tuple(
        FeatureBlock(timestep, level, info[level].name, info[level].channels)
        for timestep, level in product(settings.timesteps, settings.levels)
    )


def check_request(
    denoiser: Denoiser, schedule: NoiseSchedule, shape: tuple[int, ...], settings: FeatureSettings
) -> None:
    """Raise a ConfigurationError unless these can work together on a cube of ``shape``."""
    if len(shape) != 3 or shape[2] != denoiser.num_bands or 0 in shape:
        raise ConfigurationError(
            f"cube must be (height, width, {denoiser.num_bands}), since the denoiser was made for "
            f"{denoiser.num_bands} bands, but has shape {tuple(shape)}; apply the band transform "
            f"that the denoiser was trained with"
        )
    for timestep in settings.timesteps:
        schedule.check_step(timestep)
    denoiser.check_indices(settings.levels)


def iter_feature_tiles(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor | NDArray[Any],
    settings: FeatureSettings,
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Generator[Tile]:
    """Compute the features of a scene, one tile at a time, row by row of tiles.

    Until the iteration ends, or its ``close`` is called, the denoiser is in evaluation mode and on
    ``device``; then every submodule gets its mode back, and the denoiser goes back to where it was.
    Nothing is learned on the way: BatchNorm uses its stored statistics and keeps them.

    Args:
        denoiser: The network; only what the asked levels need is computed.
        schedule: The noise schedule that it was trained with.
        cube: The scene in the denoiser's input space, shape (H, W, bands).
        settings: Which features, and how.
        device: Where to compute; by default where the denoiser is.
        progress: Called with (tiles done, tiles in all) after every tile.

    Returns:
        A generator of (rows, columns, features): two slices of the scene, and a float32 tensor on
        the CPU, shape (h, w, D), with channels as in :func:`feature_blocks`.

    Raises:
        ConfigurationError: If the cube's bands, a timestep or a level don't fit.
    """
    check_request(denoiser, schedule, tuple(cube.shape), settings)
    levels = [denoiser.feature_info[level] for level in settings.levels]

    def maps(_: Tensor, x_t: Tensor, t: Tensor) -> list[Tensor]:
        return [found[0] for found in denoiser.forward_intermediates(x_t, t, settings.levels)]

    tiled = TiledPass(
        denoiser=denoiser,
        schedule=schedule,
        cube=torch.as_tensor(cube),
        settings=settings,
        maps=maps,
        channels=tuple(level.channels for level in levels),
        reductions=tuple(level.reduction for level in levels),
        radius=max(level.radius for level in levels),
        alignment=denoiser.alignment,
    )
    return tiled.tiles(device, progress)


def extract_features(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor | NDArray[Any],
    settings: FeatureSettings,
    *,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """All tiles of :func:`iter_feature_tiles` in one tensor.

    Returns:
        Shape (H, W, D), float32, on the CPU.

    Raises:
        ConfigurationError: If the cube's bands, a timestep or a level don't fit.
    """
    tiles = iter_feature_tiles(denoiser, schedule, cube, settings, device=device, progress=progress)
    channels = sum(block.channels for block in feature_blocks(denoiser, settings))
    features = torch.empty(*cube.shape[:2], channels)
    with closing(tiles):
        for rows, columns, tile in tiles:
            features[rows, columns] = tile
    return features
