"""Features of every pixel of a scene, from a denoiser that runs over it tile by tile.

How tiles and their halos are laid, and what noise they see, is in
:mod:`hsi_diffusion.features.tiles`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsi_diffusion.features.angles import angle_map
from hsi_diffusion.features.request import check_request
from hsi_diffusion.features.restore import restorer
from hsi_diffusion.features.tiles import TiledPass, like_of, reach_of
from hsi_diffusion.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.features.request import FeatureSettings
    from hsi_diffusion.features.tiles import Tile
    from hsi_diffusion.types import PredictionKind


def iter_feature_tiles(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor | NDArray[Any],
    settings: FeatureSettings,
    *,
    angles: PredictionKind | None = None,
    device: str | torch.device | None = None,
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
        angles: What the denoiser's output means; then each timestep's features are followed by the
            spectral angle between the scene and what is restored, from the same pass. None: no
            angles.
        device: Where to compute; by default where the denoiser is.

    Returns:
        A generator of (rows, columns, features): two slices of the scene, and a float32 tensor on
        the CPU, shape (h, w, D), timestep by timestep and within it level by level.

    Raises:
        ConfigurationError: If the cube's bands, a timestep or a level don't fit.
    """
    check_request(denoiser, schedule, tuple(cube.shape), settings)
    levels = [denoiser.feature_info[level] for level in settings.levels]

    home = device if device is not None else like_of(denoiser).device
    restored = None if angles is None else restorer(schedule, angles, home)

    def maps(x0: Tensor, x_t: Tensor, t: Tensor) -> list[Tensor]:
        if restored is None:
            return [found[0] for found in denoiser.forward_intermediates(x_t, t, settings.levels)]
        output, features = denoiser.forward_with_features(x_t, t, settings.levels)
        return [*(found[0] for found in features), angle_map(x0[0], restored(x_t, t, output)[0])]

    with_output = angles is not None
    tiled = TiledPass(
        denoiser=denoiser,
        schedule=schedule,
        cube=as_tensor(cube),
        settings=settings,
        maps=maps,
        channels=(*(level.channels for level in levels), *(1,) * with_output),
        reductions=(*(level.reduction for level in levels), *(1,) * with_output),
        reach=reach_of(denoiser, settings.levels, output=with_output),
    )
    return tiled.tiles(device)
