"""The fusion module against loops, and what it must not look at."""

from __future__ import annotations

import pytest
import torch

from hsi_diffusion.networks import AWAM, CTSSFM, WeightedMean

B, P, T, C = 2, 3, 4, 8


def tokens() -> torch.Tensor:
    return torch.randn(B, P * P, T, C, generator=torch.Generator().manual_seed(0))


def prior() -> torch.Tensor:
    return torch.randn(B, P * P, T, generator=torch.Generator().manual_seed(1)).log_softmax(dim=2)


def module(merge: torch.nn.Module | None = None) -> CTSSFM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CTSSFM(C, P, merge or AWAM(C), heads=2, head_dim=3).eval()


@pytest.mark.parametrize("weighed", [False, True])
def test_branches_are_joined_as_described(weighed: bool) -> None:
    fusion, x = module(WeightedMean()), tokens()
    log_weights = prior() if weighed else None
    mixed = x + fusion.across_timesteps(x, log_weights)
    weights = torch.full((B, P * P, T), 1 / T) if log_weights is None else log_weights.exp()
    spatial = torch.zeros(B, P * P, C)
    for t in range(T):
        spatial += weights[:, :, t, None] * mixed[:, :, t]
    spectral = mixed[:, 4]  # the centre of 3 x 3
    spectral = spectral + fusion.to_spectral(spectral, spatial)
    centre = None if log_weights is None else log_weights[:, 4]
    expected = spatial + fusion.to_spatial(spatial, spectral, centre)
    torch.testing.assert_close(fusion(x, log_weights), expected)


def test_every_pixel_sees_the_centre_at_every_timestep() -> None:
    fusion, x = module(), tokens().requires_grad_()
    (gradient,) = torch.autograd.grad(fusion(x)[:, 0].square().sum(), x)
    assert (gradient[:, 4].abs().amax(dim=-1) > 0).all()


def test_timesteps_may_come_in_any_order() -> None:
    fusion, order = module(), [2, 3, 0, 1]
    found = fusion(tokens()[:, :, order], prior()[..., order])
    torch.testing.assert_close(found, fusion(tokens(), prior()))


def test_timesteps_of_no_weight_are_never_looked_at() -> None:
    fusion = module()
    out = torch.tensor([0.0, 0.0, -torch.inf, -torch.inf]).log_softmax(dim=0).expand(B, P * P, T)
    found = fusion(tokens(), out)
    torch.testing.assert_close(found, fusion(tokens()[:, :, :2], out[..., :2]))
    assert found.isfinite().all()


def test_bfloat16_is_close() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        rough = module()(tokens(), prior())
    assert (rough - module()(tokens(), prior())).abs().max() < 0.1
