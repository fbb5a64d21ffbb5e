"""From a denoiser and a scene to a feature cube: the one function that most people call."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features.extract import iter_feature_tiles
from hsi_diffusion.features.reduce import FittedReduction, Reduction
from hsi_diffusion.features.request import check_request, feature_channels, finite_cube
from hsi_diffusion.features.store import FeatureCube, feature_key
from hsi_diffusion.patches import StreamingPCA
from hsi_diffusion.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.features.request import FeatureSettings
    from hsi_diffusion.features.store import FeatureStore
    from hsi_diffusion.types import PredictionKind


def compute_features(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor | NDArray[Any],
    settings: FeatureSettings,
    *,
    reduction: Reduction | FittedReduction | None = None,
    angles: PredictionKind | None = None,
    valid: NDArray[np.bool_] | None = None,
    store: FeatureStore | None = None,
    device: str | torch.device | None = None,
) -> FeatureCube:
    """Features of every pixel of a scene, reduced and kept on disk if wanted.

    Labels play no part: the reduction is fitted on all pixels of the scene, without them.

    With a store, what was computed before is read from its file, and raw features on their way to a
    reduction wait on disk: H x W x D x 4 bytes, or 2.8 GB for one timestep and level of the
    published network on Pavia University. Memory then holds a few tiles, the D x D matrix of the
    reduction, and the result. Without a store everything is in memory and no file is written.

    Args:
        denoiser: The trained network.
        schedule: The noise schedule that it was trained with.
        cube: The scene in the denoiser's input space, shape (H, W, bands).
        settings: Which features, and how.
        reduction: How to reduce the channels, fitted on all pixels of this cube; or a reduction
            that was fitted before, such as that of another image; None keeps them all.
        angles: Append one channel per timestep with the spectral angle between the scene and what
            the denoiser restores (:func:`~hsi_diffusion.features.spectral_angle`); says what its
            output means. An angle says how much of a pixel's spectrum the denoiser gets back from
            that timestep; a :class:`~hsi_diffusion.networks.TimestepGate` makes weights of it. The
            angles are those between vectors of the denoiser's input space, which the presets of
            DiffCRN make centred MNF components, not between reflectance spectra. None appends none.
        valid: Which pixels hold data, shape (H, W); the reduction is fitted on them, and nan and
            infinity in the others count as 0. None: all.
        store: Where to look for the result, and to keep it; None writes no files.
        device: Where to compute; by default where the denoiser is.

    Returns:
        The feature cube, what its channels are, and the reduction that made them.

    Raises:
        ConfigurationError: If the cube's bands, a timestep, a level, or the number of components
            don't fit, a valid pixel is nan or infinite, or a
            reduction has no valid pixel to be fitted on.
    """
    wanted = [(settings, reduction)]
    return compute_together(
        denoiser, schedule, cube, wanted, angles=angles, valid=valid, store=store, device=device
    )[0]


def compute_together(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor | NDArray[Any],
    wanted: Sequence[tuple[FeatureSettings, Reduction | FittedReduction | None]],
    *,
    angles: PredictionKind | None = None,
    valid: NDArray[np.bool_] | None = None,
    store: FeatureStore | None = None,
    device: str | torch.device | None = None,
) -> list[FeatureCube]:
    """Several feature cubes of a scene from the same passes through the denoiser.

    Args:
        denoiser: See :func:`compute_features`, as for all others.
        schedule: The noise schedule.
        cube: The scene, shape (H, W, bands).
        wanted: Which features, and how they are reduced; they may differ in their levels only.
        angles: Append the spectral angles.
        valid: Which pixels hold data, shape (H, W); reductions are fitted on them. None: all.
        store: Where to look for the results, and to keep them.
        device: Where to compute.

    Returns:
        The feature cubes, in the order of ``wanted``.

    Raises:
        ConfigurationError: As for :func:`compute_features`, or more than the levels differ.
    """
    cube = as_tensor(cube)
    first = wanted[0][0]
    for settings, _ in wanted:
        check_request(denoiser, schedule, tuple(cube.shape), settings)
        if replace(settings, levels=first.levels) != first:
            raise ConfigurationError(
                f"wanted must hold settings that differ in their levels only, got {first} and "
                f"{settings}; compute them one after the other"
            )
    cube = finite_cube(cube, valid)
    fits = any(isinstance(reduction, Reduction) for _, reduction in wanted)
    if fits and valid is not None and not valid.any():
        raise ConfigurationError(
            "valid must hold at least one pixel, on which the reduction is fitted, got none"
        )
    height, width, _ = cube.shape
    layouts = [feature_layout(denoiser, *one, pixels=height * width) for one in wanted]
    given: dict[str, Any] = {"angles": angles, "valid": valid}
    keys = [feature_key(denoiser, schedule, cube, *one, **given) for one in wanted]
    cubes: list[Any] = [None if store is None else store.load(key) for key in keys]
    missing = [number for number, found in enumerate(cubes) if found is None]
    if not missing:
        return cubes
    levels = dict.fromkeys(level for number in missing for level in wanted[number][0].levels)
    joint = replace(first, levels=tuple(levels))
    maps = np.empty((height, width, len(first.timesteps) * (angles is not None)), np.float32)
    with ExitStack() as stack:
        parts = []
        for number in missing:
            settings, reduction = wanted[number]
            layout = layouts[number]
            fits = isinstance(reduction, Reduction)
            shape = (height, width, layout.computed if fits else sum(layout.channels))
            raw: Any = (
                stack.enter_context(store.spool(shape, first.tile))
                if fits and store is not None
                else np.empty(shape, dtype=np.float32)
            )
            channels = _channels(denoiser, joint, settings.levels, angles=angles is not None)
            parts.append(_Part(reduction, layout, channels, raw))
        tiles = iter_feature_tiles(denoiser, schedule, cube, joint, angles=angles, device=device)
        stack.enter_context(closing(tiles))
        places = []
        for rows, columns, tile in tiles:
            places.append((rows, columns))
            values = tile.numpy()
            if angles is not None:  # one behind the features of each timestep
                step = values.shape[2] // len(first.timesteps)
                maps[rows, columns] = values[..., step - 1 :: step]
            counted = None if valid is None else valid[rows, columns]
            for part in parts:
                part.take(rows, columns, values[..., part.channels], counted)
        for number, part in zip(missing, parts, strict=True):
            array, fitted = part.finish(places)
            if angles is not None:
                array = np.concatenate([array, maps], axis=2)
            settings = wanted[number][0]
            description = {
                "timesteps": list(settings.timesteps),
                "levels": [denoiser.feature_info[level].name for level in settings.levels],
                "noise": settings.noise,
                "channels": list(layouts[number].channels),
                "reduction": None if fitted is None else asdict(fitted.settings),
                "explained_variance": None if fitted is None else fitted.explained_variance,
                "angles": angles is not None,
            }
            cubes[number] = FeatureCube(array, description, fitted)
            if store is not None:
                store.save(keys[number], cubes[number])
    return cubes


def _channels(
    denoiser: Denoiser, joint: FeatureSettings, levels: Sequence[int], *, angles: bool
) -> slice | NDArray[np.int64]:
    """Where the features of ``levels`` lie in tiles of ``joint``, which has more, and angles."""
    if levels == joint.levels and not angles:
        return slice(None)
    widths = [denoiser.feature_info[level].channels for level in joint.levels]
    level_of = np.repeat([*joint.levels, -1], [*widths, int(angles)])  # at one timestep
    numbers = np.arange(len(joint.timesteps) * len(level_of)).reshape(-1, len(level_of))
    return np.concatenate([numbers[:, level_of == level] for level in levels], axis=1).ravel()


class FeatureLayout(NamedTuple):
    """What the channels of a feature cube will be, known before they are computed.

    Attributes:
        computed: Channels that the denoiser gives.
        channels: Widths of the parts that are kept: one for each (timestep, level), or one for each
            separate reduction.
        parts: Separate reductions, 1 without any.
    """

    computed: int
    channels: tuple[int, ...]
    parts: int


def feature_layout(
    denoiser: Denoiser,
    settings: FeatureSettings,
    reduction: Reduction | FittedReduction | None,
    *,
    pixels: int,
) -> FeatureLayout:
    """Tell what the channels will be.

    Raises:
        ConfigurationError: So many pixels and channels don't have the components.
    """
    widths = feature_channels(denoiser, settings)
    if reduction is None:
        return FeatureLayout(sum(widths), widths, 1)
    fitted = isinstance(reduction, FittedReduction)
    plain = reduction.settings if isinstance(reduction, FittedReduction) else reduction
    parts = len(settings.timesteps) if plain.per_timestep else 1
    largest = sum(widths) // parts if fitted else min(sum(widths) // parts, pixels)
    if plain.components > largest:
        raise ConfigurationError(
            f"components must be at most {largest}, since {sum(widths) // parts} channels of "
            f"{pixels} pixels are reduced, got {plain.components}"
        )
    return FeatureLayout(sum(widths), (plain.components,) * parts, parts)


class _Part:
    """Takes tiles of features as they come; reduces them in the end, if that is to be fitted.

    Args:
        reduction: How.
        layout: Into how many parts the channels are cut, each with a reduction of its own.
        channels: Where they lie in a tile of the joint pass.
        raw: Array or h5py dataset, (H, W, D), of what is kept meanwhile.
    """

    def __init__(
        self,
        reduction: Reduction | FittedReduction | None,
        layout: FeatureLayout,
        channels: slice | NDArray[np.int64],
        raw: Any,
    ) -> None:
        self.reduction = reduction
        self.layout = layout
        self.channels = channels
        self.raw = raw
        self.reducers = [
            StreamingPCA(reduction.components, reduction.scale, reduction.whiten)
            for _ in range(layout.parts)
            if isinstance(reduction, Reduction)
        ]

    def take(
        self,
        rows: slice,
        columns: slice,
        tile: NDArray[np.float32],
        valid: NDArray[np.bool_] | None,
    ) -> None:
        """Keep a tile, and learn from its valid pixels, (h, w); None: all."""
        if isinstance(self.reduction, FittedReduction):
            tile = self.reduction(tile)
        self.raw[rows, columns] = tile
        if self.reducers:
            seen = tile.reshape(-1, tile.shape[2]) if valid is None else tile[valid]
            parts = np.split(seen, self.layout.parts, axis=1)
            for reducer, part in zip(self.reducers, parts, strict=True):
                reducer.partial_fit(part)

    def finish(
        self, places: Sequence[tuple[slice, slice]]
    ) -> tuple[NDArray[np.float32], FittedReduction | None]:
        """Features, (H, W, D), and what reduced them."""
        if not isinstance(self.reduction, Reduction):
            return self.raw, self.reduction
        reducers = tuple(reducer.finish() for reducer in self.reducers)
        fitted = FittedReduction(self.reduction, reducers)
        array = np.empty((*self.raw.shape[:2], sum(self.layout.channels)), dtype=np.float32)
        for rows, columns in places:
            array[rows, columns] = fitted(self.raw[rows, columns])
        return array, fitted
