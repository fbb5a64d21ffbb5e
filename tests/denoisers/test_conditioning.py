"""Timesteps as numbers, and branches that they steer."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hsi_diffusion.denoisers.conditioning import Conditioned, TimeMLP, reset, sinusoids
from hsi_diffusion.errors import ConfigurationError
from tests.usual import usual_dtype

from .attention import images, lively


def test_sinusoids_are_sines_then_cosines() -> None:
    found = sinusoids(torch.tensor([0, 7, 499]), 8)
    for row, t in zip(found.tolist(), (0, 7, 499), strict=True):
        angles = [t * 10_000 ** (-i / 3) for i in range(4)]
        expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        assert row == pytest.approx(expected, abs=1e-4)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("usual", [torch.bfloat16, torch.float64])
def test_sinusoids_do_not_follow_the_usual_dtype(usual: torch.dtype) -> None:
    t = torch.arange(500)
    expected = sinusoids(t, 32)
    with usual_dtype(usual):
        assert torch.equal(sinusoids(t, 32), expected)


def test_neighbouring_timesteps_stay_apart_in_half_precision() -> None:
    embed = TimeMLP(64).bfloat16()
    with torch.no_grad():
        embedded = embed(torch.arange(490, 500))
    assert embedded.dtype == torch.bfloat16
    assert (embedded[1:] - embedded[:-1]).float().norm(dim=1).min() > 0.01


@pytest.mark.parametrize("channels", [0, 2, 7])
def test_sizes_that_cannot_be_embedded_are_named(channels: int) -> None:
    with pytest.raises(ConfigurationError, match=f"time_channels must be even .* got {channels}"):
        TimeMLP(channels)


def test_scale_shift_and_gate_are_those_of_each_image() -> None:
    module = lively(Conditioned(4, 6, nn.Linear(4, 4)))
    x, time = images(2, 3, 5, 4), images(2, 6)
    steering = F.linear(time, module.modulation.weight, module.modulation.bias)
    expected = x.clone()
    for image in range(2):
        scale, shift, gate = steering[image].chunk(3)
        for row in range(3):
            for column in range(5):
                pixel = x[image, row, column]
                normal = (pixel - pixel.mean()) / (pixel.var(correction=0) + 1e-5).sqrt()
                expected[image, row, column] += gate * module.branch(normal * (1 + scale) + shift)
    torch.testing.assert_close(module(x, time), expected)


def test_reset_is_the_identity_that_can_learn() -> None:
    module = lively(Conditioned(4, 6, nn.Linear(4, 4)))
    reset(module)
    x, time = images(2, 3, 5, 4), images(2, 6)
    output = module(x, time)
    assert torch.equal(output, x)
    (gradient,) = torch.autograd.grad(output.square().sum(), [module.modulation.weight])
    assert gradient[8:].abs().min() > 0
