"""The scene as a denoiser restores it from each timestep."""

from __future__ import annotations

import copy
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch

from hsi_diffusion.diffusion import check_prediction
from hsi_diffusion.features.request import check_request, finite_cube
from hsi_diffusion.features.tiles import TiledPass, like_of, reach_of
from hsi_diffusion.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.features.request import FeatureSettings
    from hsi_diffusion.types import PredictionKind


def restored_scenes(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor | NDArray[Any],
    settings: FeatureSettings,
    *,
    prediction: PredictionKind = "noise",
    valid: NDArray[np.bool_] | None = None,
    device: str | torch.device | None = None,
) -> Tensor:
    """The x_0 that the denoiser predicts at each timestep, over a whole scene.

    The later the timestep, the more of a pixel comes from its surroundings and from what the
    denoiser has learned of the scene. No label is looked at.

    Args:
        denoiser: The trained network.
        schedule: The noise schedule that it was trained with.
        cube: The scene in the denoiser's input space, shape (H, W, bands).
        settings: As for features: timesteps, noise, tile and precision; with noise "mean" the
            scenes are averaged over the draws. Levels play no part.
        prediction: What the denoiser's output means.
        valid: Which pixels hold data, shape (H, W); others are taken as 0 where they hold nan or
            infinity. None: all.
        device: Where to compute; by default where the denoiser is.

    Returns:
        float32, shape (T, H, W, bands), on the CPU: a view, in which a timestep's channels lie
        together.

    Raises:
        ConfigurationError: If the cube's bands or a timestep don't fit, a pixel with data holds
            nan or infinity, or ``prediction`` is unknown.
    """
    cube = as_tensor(cube)
    check_request(denoiser, schedule, tuple(cube.shape), settings)
    cube = finite_cube(cube, valid)
    home = device if device is not None else like_of(denoiser).device
    restored = restorer(schedule, prediction, home)

    def maps(_: Tensor, x_t: Tensor, t: Tensor) -> list[Tensor]:
        return [restored(x_t, t, denoiser(x_t, t))[0]]

    tiled = TiledPass(
        denoiser=denoiser,
        schedule=schedule,
        cube=cube,
        settings=settings,
        maps=maps,
        channels=(denoiser.num_bands,),
        reductions=(1,),
        reach=reach_of(denoiser, (), output=True),
    )
    height, width, bands = cube.shape
    found = torch.empty(height, width, len(settings.timesteps), bands, dtype=torch.float32)
    with closing(tiled.tiles(device)) as tiles:
        for rows, columns, tile in tiles:
            found[rows, columns] = tile.reshape(*tile.shape[:2], -1, bands)
    return found.permute(2, 0, 1, 3)


def restorer(
    schedule: NoiseSchedule, prediction: PredictionKind, device: str | torch.device
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """From (x_t, t, output of a denoiser) on a device to the x_0 that the output means."""
    check_prediction(prediction)
    moved = copy.deepcopy(schedule).to(device)  # the caller's stays on its device

    def restored(x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        return moved.predict_x0(x_t, t, output.to(x_t.dtype), prediction)

    return restored
