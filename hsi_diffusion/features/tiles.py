"""A denoiser over a whole scene, tile by tile: windows, noise fields, evaluation mode.

A tile is computed with a halo as wide as the receptive radius of what is asked for, and the halo is
cut off where the scene ends. So a network's own padding acts at the scene's border and nowhere
else, and tiles give what one pass over the whole scene gives, up to the rounding of the precision.

Maps on coarser grids are brought to the scene's pixels by bilinear interpolation, with the value of
a coarse pixel in its middle.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hsi_diffusion.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from torch import nn

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.features.request import FeatureSettings

    Tile = tuple[slice, slice, Tensor]
    Maps = Callable[[Tensor, Tensor, Tensor], list[Tensor]]


HELD_STRIPS = 2**29
"""Bytes of noise that are held for further tiles; one strip of Houston's 144 bands is 0.1 GB."""


class Reach(NamedTuple):
    """How far features look.

    Attributes:
        halo: Pixels to each side of a tile that are computed with it.
        step: Crops start at multiples of it, so that grids lie as they lie in the whole scene.
    """

    halo: int
    step: int


def reach_of(denoiser: Denoiser, levels: Sequence[int], *, output: bool) -> Reach:
    """How far the levels of a denoiser look, in pixels.

    Args:
        denoiser: The network.
        levels: Numbers of levels in its ``feature_info``; none where the output is all.
        output: Its output is asked for, too.
    """
    asked = [denoiser.feature_info[level] for level in levels]
    # the output comes through all grids of the network
    grids = denoiser.feature_info if output else asked
    radius = max(denoiser.radius * output, *(level.radius for level in asked), 0)
    # the coarse pixel next to a pixel's own counts, from half of its side away
    coarse = max((level.reduction for level in asked), default=1) // 2
    return Reach(radius + coarse, math.lcm(denoiser.alignment, *(grid.reduction for grid in grids)))


class Window(NamedTuple):
    """Rows and columns of a tile, and of the larger crop that is computed for it."""

    tile: tuple[slice, slice]
    crop: tuple[slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledPass:
    """One pass of a denoiser over a scene.

    Attributes:
        denoiser: The network.
        schedule: The noise schedule that it was trained with.
        cube: The scene in the denoiser's input space, shape (H, W, bands).
        settings: Timesteps, noise, tile and precision; the levels are the caller's affair.
        maps: What is wanted at one timestep under one draw of noise: (x_0, x_t, t) with images of
            shape (1, bands, h, w) and t int64 (1,) to maps of shape (D, h / reduction, w /
            reduction), rounded up, one per entry of ``channels``.
        channels: D of each map.
        reductions: By how much each map is coarser than the image.
        reach: How far they look.
    """

    denoiser: Denoiser
    schedule: NoiseSchedule
    cube: Tensor
    settings: FeatureSettings
    maps: Maps
    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    reach: Reach
    _strips: dict[tuple[int, int, int, int], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def tiles(self, device: str | torch.device | None) -> Generator[Tile]:
        """Compute the tiles, see :func:`~hsi_diffusion.features.iter_feature_tiles`.

        Yields:
            Rows, columns, and a float32 tensor on the CPU, shape (h, w, timesteps x channels),
            timestep by timestep.
        """
        with evaluating(self.denoiser, device):
            height, width, _ = self.cube.shape
            sides = cut(height, self.settings.tile), cut(width, self.settings.tile)
            for rows, columns in product(*sides):
                crop = with_halo(rows, *self.reach, height), with_halo(columns, *self.reach, width)
                yield rows, columns, self._compute(Window((rows, columns), crop))

    def _compute(self, window: Window) -> Tensor:
        """One tile, (h, w, timesteps x channels), on the CPU."""
        timesteps = self.settings.timesteps
        height, width = (part.stop - part.start for part in window.tile)
        # made outside of inference mode, so that a caller may train on it
        computed = torch.empty(
            height,
            width,
            len(timesteps) * sum(self.channels),
            dtype=torch.float32,  # a Trainer with precision "bf16-true" changes what is usual
        )
        parts = iter(torch.split(computed, list(self.channels) * len(timesteps), dim=2))
        like = like_of(self.denoiser)
        autocast = torch.autocast(
            like.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        )
        with torch.inference_mode(), autocast:
            x0 = _as_image(self.cube[window.crop]).to(like)
            for timestep in timesteps:
                for found in self._averaged(x0, timestep, window):
                    next(parts).copy_(found.permute(1, 2, 0))
        return computed

    def _averaged(self, x0: Tensor, timestep: int, window: Window) -> list[Tensor]:
        """The maps on the tile, (D, h, w) each, averaged over the draws of noise."""
        settings = self.settings
        draws = settings.draws if settings.noise == "mean" else 1
        t = torch.tensor([timestep], device=x0.device)
        sums: list[Tensor] = []
        for draw in range(draws):
            x_t = self._noised(x0, timestep, draw, window)
            maps = [
                _pick(found, reduction, window)
                for found, reduction in zip(self.maps(x0, x_t, t), self.reductions, strict=True)
            ]
            sums = [a + b for a, b in zip(sums, maps, strict=True)] if sums else maps
        return [total / draws for total in sums]

    def _noised(self, x0: Tensor, timestep: int, draw: int, window: Window) -> Tensor:
        alpha_bar = self.schedule.alpha_bar(timestep)
        x_t = math.sqrt(alpha_bar) * x0
        if self.settings.noise == "none":
            return x_t
        noise = self._noise_strip(timestep, draw, window)[:, window.crop[1]]
        return x_t + math.sqrt(1 - alpha_bar) * _as_image(noise).to(x0)

    def _noise_strip(self, timestep: int, draw: int, window: Window) -> Tensor:
        """The rows of a window in the scene's standard normal noise field, (rows, W, bands).

        The tiles of a row of tiles share the strip: the first draws it over the whole width of the
        scene, and the last lets it go. Strips beyond ``HELD_STRIPS`` are drawn by every tile again.
        """
        rows = window.crop[0]
        key = (rows.start, rows.stop, timestep, draw)
        strip = self._strips.pop(key, None)
        if strip is None:
            strip = self._draw_rows(timestep, draw, rows)
        others = sum(one.nbytes for one in self._strips.values())
        last = window.tile[1].stop == self.cube.shape[1]
        if not last and others + strip.nbytes <= HELD_STRIPS:
            self._strips[key] = strip
        return strip

    def _draw_rows(self, timestep: int, draw: int, rows: slice) -> Tensor:
        """Rows of the noise field, (rows, W, bands); of a window, those of its image.

        Every row has a generator of its own, so that a strip can be had without the rows above it;
        on the CPU, so that it is the same for every device.
        """
        _, width, bands = self.cube.shape
        top, left, whole = self.settings.place or (0, 0, width)
        strip = torch.empty(rows.stop - rows.start, width, bands, dtype=torch.float32)
        for number, row in enumerate(range(top + rows.start, top + rows.stop)):
            source = generator("feature-noise", self.settings.seed, timestep, draw, row)
            field = torch.randn(whole, bands, generator=source, dtype=torch.float32)
            strip[number] = field[left : left + width]
        return strip


def like_of(network: nn.Module) -> Tensor:
    """A tensor with the device and dtype that the network expects."""
    return next(network.parameters(), torch.empty(0, dtype=torch.float32))


@contextmanager
def evaluating(network: nn.Module, device: str | torch.device | None = None) -> Iterator[None]:
    """Evaluation mode, on ``device`` if given; afterwards every submodule is as before."""
    training = {module: module.training for module in network.modules()}
    home = like_of(network).device
    try:
        network.eval().to(device if device is not None else home)
        yield
    finally:
        network.to(home)
        for module, mode in training.items():
            module.training = mode


def _pick(found: Tensor, reduction: int, window: Window) -> Tensor:
    """The tile's pixels out of a map over the crop: (D, h, w), float32."""
    rows, columns = (
        slice(part.start - crop.start, part.stop - crop.start)
        for part, crop in zip(window.tile, window.crop, strict=True)
    )
    if reduction > 1:
        found = F.interpolate(found[None].float(), scale_factor=reduction, mode="bilinear")[0]
    return found[:, rows, columns].float()


def cut(length: int, tile: int) -> list[slice]:
    """Neighbouring slices of at most ``tile``, as few as possible and as equal as possible."""
    count = -(-length // tile)
    ends = [length * number // count for number in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


def with_halo(part: slice, halo: int, step: int, length: int) -> slice:
    """``part`` with a halo, cut off at the scene's border, starting at a multiple of ``step``."""
    start = max(part.start - halo, 0)
    return slice(start - start % step, min(part.stop + halo, length))


def _as_image(part: Tensor) -> Tensor:
    """(h, w, bands) to (1, bands, h, w)."""
    return part.permute(2, 0, 1)[None]
