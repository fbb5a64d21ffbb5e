"""Restored scenes against one plain pass of the network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hsi_diffusion import DiffusionPretrainModule
from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings, restored_scenes
from tests.features.networks import BANDS, unet

if TYPE_CHECKING:
    from torch import Tensor

    from hsi_diffusion.types import PredictionKind

SCHEDULE = NoiseSchedule(timesteps=50)
SETTINGS = FeatureSettings(timesteps=(3,))


def scene(height: int = 23, width: int = 30) -> Tensor:
    return torch.rand(height, width, BANDS, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.mark.parametrize("prediction", ["noise", "x0", "v"])
@pytest.mark.parametrize("tile", [7, 64])
def test_is_what_one_pass_of_the_network_predicts(prediction: PredictionKind, tile: int) -> None:
    net, cube, timesteps = unet().eval(), scene(), (3, 20)
    found = restored_scenes(
        net, SCHEDULE, cube, FeatureSettings(timesteps=timesteps, tile=tile), prediction=prediction
    )
    assert found.shape == (2, 23, 30, BANDS)
    assert found.dtype == torch.float32
    image = cube.permute(2, 0, 1)[None]
    for restored, timestep in zip(found, timesteps, strict=True):
        t = torch.tensor([timestep])
        with torch.no_grad():
            x_t = math.sqrt(SCHEDULE.alpha_bar(timestep)) * image
            expected = SCHEDULE.predict_x0(x_t, t, net(x_t, t), prediction)[0]
        torch.testing.assert_close(restored, expected.permute(1, 2, 0), atol=1e-4, rtol=1e-3)


def test_a_module_restores_by_its_own_prediction() -> None:
    module = DiffusionPretrainModule(
        BANDS,
        denoiser={"class_path": "StagedDenoiser", "init_args": {"channels": 16, "stages": 1}},
        prediction="x0",
    ).eval()
    settings: dict[str, Any] = {"timesteps": (10, 200)}
    found = module.restore(scene(), **settings)
    expected = restored_scenes(
        module.trained_denoiser,
        module.schedule,
        scene(),
        FeatureSettings(**settings),
        prediction="x0",
    )
    assert torch.equal(found, expected)


def test_values_that_are_no_numbers_do_not_spread() -> None:
    net, cube = unet().eval(), scene()
    expected = restored_scenes(net, SCHEDULE, cube.index_fill(0, torch.tensor([4]), 0), SETTINGS)
    cube[4] = torch.nan
    with pytest.raises(ConfigurationError, match=r"30 of its pixels .* row 4, column 0"):
        restored_scenes(net, SCHEDULE, cube, SETTINGS)
    valid = np.ones((23, 30), dtype=np.bool_)
    valid[4] = False
    module = DiffusionPretrainModule(BANDS, denoiser=net, schedule=SCHEDULE)
    found = module.restore(cube, SETTINGS, valid=valid)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_wrong_requests_are_named() -> None:
    with pytest.raises(ConfigurationError, match="timestep"):
        restored_scenes(unet(), SCHEDULE, scene(), FeatureSettings(timesteps=(50,)))
    for cube in (scene()[0], scene()[None], scene()[..., :-1]):
        with pytest.raises(ConfigurationError, match=rf"cube must be \(height, width, {BANDS}\)"):
            restored_scenes(unet(), SCHEDULE, cube, FeatureSettings())
