"""From a denoiser and a scene to a feature cube: the one function that most people call."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features.extract import iter_feature_tiles
from hsi_diffusion.features.fitted import FittedReduction
from hsi_diffusion.features.reduce import Reduction
from hsi_diffusion.features.request import check_request, feature_channels
from hsi_diffusion.features.store import FeatureCube, feature_key
from hsi_diffusion.patches import StreamingPCA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.features.request import FeatureSettings
    from hsi_diffusion.features.store import FeatureStore
    from hsi_diffusion.features.tiles import Tile
    from hsi_diffusion.types import Prediction


def compute_features(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor | NDArray[Any],
    settings: FeatureSettings,
    *,
    reduction: Reduction | FittedReduction | None = None,
    angles: Prediction | None = None,
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
            the denoiser restores (:func:`~hsi_diffusion.features.spectral_angle_maps`); says what
            its output means. The angles are those between vectors of the denoiser's input space,
            which the presets of DiffCRN make centred MNF components, not between reflectance
            spectra. None appends none.
        valid: Which pixels hold data, shape (H, W); the reduction is fitted on them. None: all.
        store: Where to look for the result, and to keep it; None writes no files.
        device: Where to compute; by default where the denoiser is.

    Returns:
        The feature cube, what its channels are, and the reduction that made them.

    Raises:
        ConfigurationError: If the cube's bands, a timestep, a level, or the number of components
            don't fit.
    """
    cube = torch.as_tensor(cube)
    check_request(denoiser, schedule, tuple(cube.shape), settings)
    layout = feature_layout(denoiser, settings, reduction, pixels=cube.shape[0] * cube.shape[1])
    key = feature_key(denoiser, schedule, cube, settings, reduction, angles=angles, valid=valid)
    if store is not None and (found := store.load(key)) is not None:
        return found

    height, width, _ = cube.shape
    steps = len(settings.timesteps)
    maps = np.empty((height, width, steps * (angles is not None)), dtype=np.float32)
    found_tiles = iter_feature_tiles(
        denoiser, schedule, cube, settings, angles=angles, device=device
    )
    tiles = _without_angles(found_tiles, maps)
    fitted: FittedReduction | None = None
    with closing(found_tiles):
        if isinstance(reduction, Reduction):
            shape = (height, width, layout.computed)
            spool: AbstractContextManager[Any] = (
                nullcontext(np.empty(shape, dtype=np.float32))
                if store is None
                else store.spool(shape, settings.tile)
            )
            with spool as raw:
                array, fitted = _reduce(tiles, raw, reduction, layout, valid)
        else:
            fitted = reduction
            array = np.empty((height, width, sum(layout.channels)), dtype=np.float32)
            for rows, columns, tile in tiles:
                array[rows, columns] = tile if fitted is None else fitted(tile)
    plain = None if fitted is None else fitted.settings
    features = FeatureCube(
        array,
        {
            "timesteps": list(settings.timesteps),
            "levels": [denoiser.feature_info[level].name for level in settings.levels],
            "noise": settings.noise,
            "channels": list(layout.channels),
            "reduction": None if plain is None else asdict(plain),
            "explained_variance": None if fitted is None else fitted.explained_variance,
            "angles": False,
        },
        fitted,
    )
    if angles is not None:
        features = features.with_angles(maps)
    if store is not None:
        store.save(key, features)
    return features


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
            f"{pixels} pixels are reduced, but is {plain.components}"
        )
    return FeatureLayout(sum(widths), (plain.components,) * parts, parts)


def _without_angles(
    tiles: Iterable[Tile], maps: NDArray[np.float32]
) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """Tiles of features; the angles behind each timestep's go to ``maps``, (H, W, T or 0)."""
    for rows, columns, tile in tiles:
        values = tile.numpy()
        if steps := maps.shape[2]:
            cut = values.reshape(*values.shape[:2], steps, -1)
            maps[rows, columns] = cut[..., -1]
            values = cut[..., :-1].reshape(*values.shape[:2], -1)
        yield rows, columns, values


def _reduce(
    tiles: Iterable[tuple[slice, slice, NDArray[np.float32]]],
    raw: Any,
    reduction: Reduction,
    layout: FeatureLayout,
    valid: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float32], FittedReduction]:
    """Learn from the tiles as they come and keep them in ``raw``, then project them from there.

    Args:
        tiles: Rows, columns and features.
        raw: Array or h5py dataset, (H, W, D).
        reduction: The settings.
        layout: Into how many parts the channels are cut, each with a reduction of its own.
        valid: Which pixels to learn from; None: all.

    Returns:
        Features, (H, W, parts * components), and the fitted reduction.
    """
    reducers = [
        StreamingPCA(reduction.components, reduction.scale, reduction.whiten)
        for _ in range(layout.parts)
    ]
    places = []
    for rows, columns, tile in tiles:
        places.append((rows, columns))
        raw[rows, columns] = tile
        seen = tile.reshape(-1, tile.shape[2])
        if valid is not None:
            seen = seen[valid[rows, columns].ravel()]
        for reducer, part in zip(reducers, np.split(seen, layout.parts, axis=1), strict=True):
            reducer.partial_fit(part)
    fitted = FittedReduction(reduction, tuple(reducer.finish() for reducer in reducers))
    array = np.empty((*raw.shape[:2], sum(layout.channels)), dtype=np.float32)
    for rows, columns in places:
        array[rows, columns] = fitted(raw[rows, columns])
    return array, fitted
