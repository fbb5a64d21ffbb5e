"""What is asked of a denoiser: timesteps, levels, noise; where each channel then comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.hardware import Precision
from hsi_diffusion.options import check_at_least, check_choice, settings_of
from hsi_diffusion.tensors import as_tensor, check_valid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule

NoiseMode = Literal["none", "fixed", "mean"]
"""What a denoiser sees at extraction: x_t without noise, with one draw, or with several draws."""


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Which features of a scene to compute, and how.

    Attributes:
        timesteps: Steps t of the noise schedule, from 0 to T - 1; a single one may be given alone.
        levels: Numbers of levels in the denoiser's ``feature_info``, likewise.
        noise: "none": x_t = sqrt(abar_t) x_0. "fixed": one seeded noise field per timestep, as
            published recipes have it. "mean": the features (not the images) averaged over ``draws``
            noise fields.
        draws: Number of noise fields per timestep with noise "mean"; not used otherwise.
        seed: Seed of the noise fields; not used with noise "none".
        tile: Height and width of a tile in pixels, without its halo. Changes memory and speed, not
            the features, up to the rounding of ``precision``.
        precision: "float32", or "bfloat16" for autocast.
        place: (row, column, width) where the cube is a window of an image of that width which
            starts there: it sees the image's noise. None: the cube is the image.

    Raises:
        ConfigurationError: If a value is outside what is allowed.
    """

    timesteps: tuple[int, ...] = (5,)
    levels: tuple[int, ...] = (0,)
    noise: NoiseMode = "none"
    draws: int = 8
    seed: int = 0
    tile: int = 160
    precision: Precision = "float32"
    place: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("timesteps", "levels"):
            object.__setattr__(self, name, whole_numbers(name, getattr(self, name)))
        check_choice(get_args(NoiseMode), noise=self.noise)
        check_choice(get_args(Precision), precision=self.precision)
        check_at_least(1, draws=self.draws, tile=self.tile)

    def identity(self) -> dict[str, Any]:
        """The settings on which the features depend, as plain data: no tile, no unused draws."""
        facts: dict[str, Any] = {
            "timesteps": list(self.timesteps),
            "levels": list(self.levels),
            "noise": self.noise,
            "precision": self.precision,
        }
        if self.noise != "none":
            facts["seed"] = int(self.seed)
            facts |= {} if self.place is None else {"place": list(self.place)}
        if self.noise == "mean":
            facts["draws"] = self.draws
        return facts


def whole_numbers(name: str, given: object) -> tuple[int, ...]:
    """Timesteps or levels as a tuple; a list out of a YAML file will do, or one number alone.

    Raises:
        ConfigurationError: There is none, or one that is no whole number from 0 or there twice.
    """
    values = tuple(given) if isinstance(given, Iterable) else (given,)
    whole = all(isinstance(value, Integral) and int(value) >= 0 for value in values)
    if not whole or not values or len(set(values)) < len(values):
        raise ConfigurationError(
            f"{name} must hold at least one number, whole numbers from 0 only, each once, "
            f"got {given}"
        )
    return tuple(map(int, values))


def feature_settings(given: FeatureSettings | Mapping[str, Any] | None) -> FeatureSettings:
    """Settings of what a user gave; all have their defaults where that is None.

    Raises:
        ConfigurationError: A key is unknown, or a value impossible.
    """
    return settings_of(FeatureSettings, given, "features")


def feature_channels(denoiser: Denoiser, settings: FeatureSettings) -> tuple[int, ...]:
    """How many channels come from each place: timestep by timestep, and within it by level."""
    widths = tuple(denoiser.feature_info[level].channels for level in settings.levels)
    return widths * len(settings.timesteps)


def check_request(
    denoiser: Denoiser, schedule: NoiseSchedule, shape: tuple[int, ...], settings: FeatureSettings
) -> None:
    """Raise a ConfigurationError unless these can work together on a cube of ``shape``."""
    if len(shape) != 3 or shape[2] != denoiser.num_bands or 0 in shape:
        raise ConfigurationError(
            f"cube must be (height, width, {denoiser.num_bands}), since the denoiser was made for "
            f"{denoiser.num_bands} bands, got {tuple(shape)}; apply the band transform "
            f"that the denoiser was trained with"
        )
    for timestep in settings.timesteps:
        schedule.check_step(timestep)
    denoiser.check_indices(settings.levels)


def finite_cube(cube: Tensor, valid: NDArray[np.bool_] | None) -> Tensor:
    """The cube without values that would pass into the features of all pixels around them.

    Pixels without data become 0 where they hold nan or infinity; elsewhere these are refused.

    Args:
        cube: Shape (H, W, bands); it stays as it is.
        valid: Which pixels hold data, shape (H, W); None: all.

    Raises:
        ConfigurationError: A pixel with data holds nan or infinity; the first one is named.
    """
    check_valid(valid, cube.shape[:2])
    # row by row, so that no mask of the cube's size is needed
    bad = ~torch.stack([row.isfinite().all(dim=1) for row in cube]).numpy(force=True)
    if valid is not None and (bad & ~valid).any():
        cube = cube.clone()
        cube[as_tensor(bad & ~valid)] = 0
        bad &= valid
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ConfigurationError(
            f"cube must be finite, but {int(bad.sum())} of its pixels hold nan or infinity, the "
            f"first in row {row}, column {column}: fill them before the band transform, or leave "
            "out pixels without data by valid"
        )
    return cube
