"""Features of every pixel of a scene, from a denoiser that runs over it tile by tile.

A tile is computed with a halo as wide as the receptive radius of the deepest level asked for, and
the halo is cut off where the scene ends. So a network's own padding acts at the scene's border and
nowhere else, and tiles give what one pass over the whole scene gives, up to float32 rounding.
"""

from __future__ import annotations

import math
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from hsi_diffusion.denoisers import Denoiser, FeatureLevel
    from hsi_diffusion.diffusion import NoiseSchedule

    Progress = Callable[[int, int], None]
    Tile = tuple[slice, slice, Tensor]

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
    extractor = _Extractor(denoiser, schedule, torch.as_tensor(cube), settings)
    return extractor.tiles(device, progress)


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


class _Window(NamedTuple):
    """A tile, and the larger crop that is computed for it."""

    rows: slice
    columns: slice
    crop_rows: slice
    crop_columns: slice


@dataclass(frozen=True, slots=True)
class _Extractor:
    denoiser: Denoiser
    schedule: NoiseSchedule
    cube: Tensor
    settings: FeatureSettings

    def tiles(
        self, device: str | torch.device | None, progress: Progress | None
    ) -> Generator[Tile]:
        windows = self._windows()
        with _evaluating(self.denoiser, device):
            for done, window in enumerate(windows, start=1):
                yield window.rows, window.columns, self._features(window)
                if progress is not None:
                    progress(done, len(windows))

    @property
    def _levels(self) -> list[FeatureLevel]:
        return [self.denoiser.feature_info[level] for level in self.settings.levels]

    def _windows(self) -> list[_Window]:
        halo = max(level.radius for level in self._levels)
        # a coarser grid, or a grid of windows, has to lie as it lies in the whole scene
        alignment: int = getattr(self.denoiser, "alignment", 1)
        step = math.lcm(alignment, *(level.reduction for level in self._levels))
        height, width, _ = self.cube.shape
        return [
            _Window(
                rows,
                columns,
                _with_halo(rows, halo, step, height),
                _with_halo(columns, halo, step, width),
            )
            for rows in _cut(height, self.settings.tile)
            for columns in _cut(width, self.settings.tile)
        ]

    def _features(self, window: _Window) -> Tensor:
        """Features of one tile, (h, w, D), on the CPU."""
        blocks = feature_blocks(self.denoiser, self.settings)
        # made outside of inference mode, so that a caller may train on it
        features = torch.empty(
            window.rows.stop - window.rows.start,
            window.columns.stop - window.columns.start,
            sum(block.channels for block in blocks),
        )
        parts = iter(torch.split(features, [block.channels for block in blocks], dim=2))
        like = _like(self.denoiser)
        autocast = torch.autocast(
            like.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        )
        with torch.inference_mode(), autocast:
            x0 = _as_image(self.cube[window.crop_rows, window.crop_columns]).to(like)
            for timestep in self.settings.timesteps:
                for level_map in self._level_maps(x0, timestep, window):
                    next(parts).copy_(level_map.permute(1, 2, 0))
        return features

    def _level_maps(self, x0: Tensor, timestep: int, window: _Window) -> list[Tensor]:
        """What each level holds on the tile, (D, h, w), averaged over the draws of noise."""
        settings = self.settings
        draws = settings.draws if settings.noise == "mean" else 1
        t = torch.tensor([timestep], device=x0.device)
        sums: list[Tensor] = []
        for draw in range(draws):
            x_t = self._noised(x0, timestep, draw, window)
            found = self.denoiser.forward_intermediates(x_t, t, settings.levels)
            maps = [
                _pick(level_map[0], level.reduction, window)
                for level_map, level in zip(found, self._levels, strict=True)
            ]
            sums = [a + b for a, b in zip(sums, maps, strict=True)] if sums else maps
        return [total / draws for total in sums]

    def _noised(self, x0: Tensor, timestep: int, draw: int, window: _Window) -> Tensor:
        alpha_bar = self.schedule.alpha_bar(timestep)
        x_t = math.sqrt(alpha_bar) * x0
        if self.settings.noise == "none":
            return x_t
        noise = self._noise_rows(timestep, draw, window.crop_rows)[:, window.crop_columns]
        return x_t + math.sqrt(1 - alpha_bar) * _as_image(noise).to(x0)

    def _noise_rows(self, timestep: int, draw: int, rows: slice) -> Tensor:
        """Rows of the scene's standard normal noise field, (rows, W, bands).

        Every row has a generator of its own, so that a tile gets its part of the field without the
        rest being held; on the CPU, so that it is the same for every device.
        """
        return torch.stack(
            [
                torch.randn(
                    self.cube.shape[1:],
                    generator=generator("feature-noise", self.settings.seed, timestep, draw, row),
                )
                for row in range(rows.start, rows.stop)
            ]
        )


def _pick(level_map: Tensor, reduction: int, window: _Window) -> Tensor:
    """The tile's pixels out of a map over the crop: (D, h, w), float32."""
    row_index, column_index = (
        torch.arange(part.start - crop.start, part.stop - crop.start) // reduction
        for part, crop in (
            (window.rows, window.crop_rows),
            (window.columns, window.crop_columns),
        )
    )
    return level_map[:, row_index[:, None], column_index].float()


def _cut(length: int, tile: int) -> list[slice]:
    """Neighbouring slices of at most ``tile``."""
    return [slice(start, min(start + tile, length)) for start in range(0, length, tile)]


def _with_halo(part: slice, halo: int, step: int, length: int) -> slice:
    """``part`` with a halo, cut off at the scene's border, starting at a multiple of ``step``."""
    start = max(part.start - halo, 0)
    return slice(start - start % step, min(part.stop + halo, length))


def _as_image(part: Tensor) -> Tensor:
    """(h, w, bands) to (1, bands, h, w)."""
    return part.permute(2, 0, 1)[None]


def _like(denoiser: Denoiser) -> Tensor:
    """A tensor with the device and dtype that the denoiser expects."""
    return next(denoiser.parameters(), torch.empty(0))


@contextmanager
def _evaluating(denoiser: Denoiser, device: str | torch.device | None) -> Iterator[None]:
    """Evaluation mode on ``device``; afterwards every submodule is as before."""
    training = {module: module.training for module in denoiser.modules()}
    home = _like(denoiser).device
    try:
        denoiser.eval().to(device if device is not None else home)
        yield
    finally:
        denoiser.to(home)
        for module, mode in training.items():
            module.training = mode
