"""Attention within windows against loops over pixels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hsi_diffusion.denoisers import SSAD
from hsi_diffusion.denoisers.conditioning import reset
from hsi_diffusion.denoisers.ssad import WindowAttention

from .attention import images, lively, window_attention


@pytest.mark.parametrize("shape", [(8, 4), (7, 5), (1, 2), (4, 9)])
@pytest.mark.parametrize(("window", "shift"), [(4, 0), (4, 2), (3, 1), (1, 0), (5, 4)])
def test_pixels_look_at_those_of_their_window(
    shape: tuple[int, int], window: int, shift: int
) -> None:
    module = lively(WindowAttention(4, window, heads=2, shift=shift))
    x = images(2, *shape, 4)
    with torch.no_grad():
        torch.testing.assert_close(module(x), window_attention(module, x))


@pytest.mark.parametrize("shift", [0, 1])
def test_same_gradients_as_the_loops(shift: int) -> None:
    module = lively(WindowAttention(4, 3, heads=2, shift=shift))
    x = images(2, 4, 5, 4).requires_grad_()
    inputs = [x, *module.parameters()]
    found = torch.autograd.grad(module(x).square().sum(), inputs)
    expected = torch.autograd.grad(window_attention(module, x).square().sum(), inputs)
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, other)


def test_position_bias_is_learned_from_all_differences_of_place() -> None:
    module = WindowAttention(4, 3, heads=2)
    assert module.bias.shape == (2, 25)
    assert sorted(set(module.pairs.flatten().tolist())) == list(range(25))
    assert "pairs" not in module.state_dict()


def test_fresh_module_is_the_identity_once_its_branches_are_reset() -> None:
    module = SSAD(4, 6, window=2, heads=2)
    assert isinstance(module.mlp.branch, nn.Sequential)
    for part in (module.attention, module.mlp):
        reset(part)
    x, time = images(1, 3, 3, 4).float(), images(1, 6).float()
    assert torch.equal(module(x, time), x)
    assert not torch.equal(lively(module)(x.double(), time.double()), x.double())
