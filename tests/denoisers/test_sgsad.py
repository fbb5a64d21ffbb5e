"""Attention between groups of channels against loops over pixels and groups."""

from __future__ import annotations

import pytest
import torch

from hsi_diffusion.denoisers import SGSAD
from hsi_diffusion.denoisers.sgsad import GroupAttention

from .attention import group_attention, images, lively


@pytest.mark.parametrize(("channels", "groups"), [(6, 3), (8, 8), (4, 1), (8, 2)])
def test_groups_look_at_the_groups_of_their_pixel(channels: int, groups: int) -> None:
    module = lively(GroupAttention(channels, groups))
    x = images(2, 3, 2, channels)
    with torch.no_grad():
        torch.testing.assert_close(module(x), group_attention(module, x))


def test_same_gradients_as_the_loops() -> None:
    module = lively(GroupAttention(6, 3))
    x = images(2, 2, 3, 6).requires_grad_()
    inputs = [x, *module.parameters()]
    found = torch.autograd.grad(module(x).square().sum(), inputs)
    expected = torch.autograd.grad(group_attention(module, x).square().sum(), inputs)
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize("cast", [False, True])
def test_bfloat16_stays_bfloat16_and_is_close(cast: bool) -> None:
    module = lively(GroupAttention(8, 4)).float()
    x = images(2, 3, 2, 8).float()
    expected = module(x)
    with torch.autocast("cpu", torch.bfloat16, enabled=not cast):
        found = module.bfloat16()(x.bfloat16()) if cast else module(x)
    assert found.dtype == torch.bfloat16
    error = (found.float() - expected).norm() / expected.norm()
    assert error < 0.03


def test_values_keep_their_variance_at_the_start() -> None:
    torch.manual_seed(0)
    module = GroupAttention(64, 4)
    tokens = torch.randn(2000, 4, 16)
    qkv = torch.einsum("pgd,gde->pge", tokens, module.qkv_weight)
    assert qkv.var().item() == pytest.approx(1, abs=0.1)


def test_every_pixel_is_on_its_own() -> None:
    module = lively(SGSAD(8, 6, groups=4))
    x, time = images(2, 3, 4, 8), images(2, 6)
    alone = module(x[:, 1:2, 2:3], time)
    torch.testing.assert_close(module(x, time)[:, 1:2, 2:3], alone)
    assert not torch.allclose(alone, x[:, 1:2, 2:3])
