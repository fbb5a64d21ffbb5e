"""From a denoiser and a scene to a feature cube: the one function that most people call."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features.angles import spectral_angle_maps
from hsi_diffusion.features.extract import iter_feature_tiles
from hsi_diffusion.features.reduce import StreamingPCA
from hsi_diffusion.features.request import check_request, feature_blocks
from hsi_diffusion.features.store import FeatureCube, feature_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.features.reduce import Reduction
    from hsi_diffusion.features.request import FeatureSettings
    from hsi_diffusion.features.store import FeatureStore
    from hsi_diffusion.features.tiles import Progress, Tile
    from hsi_diffusion.types import Prediction


def compute_features(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor | NDArray[Any],
    settings: FeatureSettings,
    *,
    reduction: Reduction | None = None,
    angles: Prediction | None = None,
    store: FeatureStore | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
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
        reduction: How to reduce the channels; None keeps them all.
        angles: Append one channel per timestep with the spectral angle between the scene and what
            the denoiser restores (:func:`~hsi_diffusion.features.spectral_angle_maps`); says what
            its output means. The angles are those between vectors of the denoiser's input space,
            which the presets of DiffCRN make centred MNF components, not between reflectance
            spectra. None appends none.
        store: Where to look for the result, and to keep it; None writes no files.
        device: Where to compute; by default where the denoiser is.
        progress: Called with (tiles done, tiles in all) after every tile.

    Returns:
        The feature cube and what its channels are.

    Raises:
        ConfigurationError: If the cube's bands, a timestep, a level, or the number of components
            don't fit.
    """
    cube = torch.as_tensor(cube)
    check_request(denoiser, schedule, tuple(cube.shape), settings)
    widths = [block.channels for block in feature_blocks(denoiser, settings)]
    shape = (cube.shape[0], cube.shape[1], sum(widths))
    parts = len(settings.timesteps) if reduction is not None and reduction.per_timestep else 1
    if reduction is not None:
        check_components(reduction, channels=shape[2] // parts, pixels=shape[0] * shape[1])
        widths = [reduction.components] * parts
    key = feature_key(denoiser, schedule, cube, settings, reduction, angles=angles)
    if store is not None and (found := store.load(key)) is not None:
        return found

    spool: AbstractContextManager[Any] = (
        nullcontext(np.empty(shape, dtype=np.float32))
        if store is None or reduction is None
        else store.spool(shape, settings.tile)
    )
    tiles = iter_feature_tiles(denoiser, schedule, cube, settings, device=device, progress=progress)
    explained = None
    with closing(tiles), spool as raw:
        if reduction is None:
            for rows, columns, tile in tiles:
                raw[rows, columns] = tile.numpy()
            array = raw
        else:
            array, explained = _reduce(tiles, raw, reduction, parts)
    features = FeatureCube(
        array,
        {
            "timesteps": list(settings.timesteps),
            "levels": [denoiser.feature_info[level].name for level in settings.levels],
            "noise": settings.noise,
            "channels": widths,
            "reduction": None if reduction is None else asdict(reduction),
            "explained_variance": explained,
            "angles": False,
        },
    )
    if angles is not None:
        maps = spectral_angle_maps(
            denoiser, schedule, cube, settings, prediction=angles, device=device, progress=progress
        )
        features = features.with_angles(maps.numpy())
    if store is not None:
        store.save(key, features)
    return features


def _reduce(
    tiles: Iterable[Tile], raw: Any, reduction: Reduction, parts: int
) -> tuple[NDArray[np.float32], list[float]]:
    """Learn from the tiles as they come and keep them in ``raw``, then project them from there.

    Args:
        tiles: Rows, columns and features.
        raw: Array or h5py dataset, (H, W, D).
        reduction: The settings.
        parts: Into how many equal parts the channels are cut, each with a reduction of its own.

    Returns:
        Features, (H, W, parts * components), and the share of the variance that each part kept.
    """
    reducers = [
        StreamingPCA(reduction.components, reduction.scale, reduction.whiten) for _ in range(parts)
    ]
    places = []
    for rows, columns, tile in tiles:
        places.append((rows, columns))
        raw[rows, columns] = tile.numpy()
        for reducer, part in zip(reducers, np.split(tile.numpy(), parts, axis=2), strict=True):
            reducer.partial_fit(part.reshape(-1, part.shape[2]))
    for reducer in reducers:
        reducer.finish()

    height, width, _ = raw.shape
    array = np.empty((height, width, parts, reduction.components), dtype=np.float32)
    for rows, columns in places:
        split = np.split(raw[rows, columns], parts, axis=2)
        for index, (reducer, part) in enumerate(zip(reducers, split, strict=True)):
            reduced = reducer.transform(part.reshape(-1, part.shape[2]))
            array[rows, columns, index] = reduced.reshape(*part.shape[:2], -1)
    explained = [float(reducer.explained_variance_ratio.sum()) for reducer in reducers]
    return array.reshape(height, width, -1), explained


def check_components(reduction: Reduction, *, channels: int, pixels: int) -> None:
    """Raise a ConfigurationError unless so many pixels and channels have the components."""
    if reduction.components > min(channels, pixels):
        raise ConfigurationError(
            f"components must be at most {min(channels, pixels)}, since {channels} channels of "
            f"{pixels} pixels are reduced, but is {reduction.components}"
        )
