"""Weighted sums over timesteps against explicit loops."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from hsi_diffusion.networks import AWAM, WeightedMean

B, N, T, C = 2, 5, 3, 8


def tokens() -> torch.Tensor:
    return torch.randn(B, N, T, C, generator=torch.Generator().manual_seed(0))


def prior() -> torch.Tensor:
    return torch.randn(B, N, T, generator=torch.Generator().manual_seed(1)).log_softmax(dim=2)


def trained() -> AWAM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = AWAM(C)
        torch.nn.init.normal_(module.score.weight)
    return module


@pytest.mark.parametrize("weighed", [False, True])
def test_awam_against_a_loop(weighed: bool) -> None:
    module, x = trained(), tokens()
    log_weights = prior() if weighed else None
    expected = torch.zeros(B, N, C)
    for b in range(B):
        means = [sum(module.norm(x[b, n, t]) for n in range(N)) / N for t in range(T)]
        for n in range(N):
            scores = []
            for t in range(T):
                of_pixel = module.of_pixel(module.norm(x[b, n, t]))
                hidden = F.gelu(of_pixel + module.of_patch(means[t]))
                score = float(module.score(hidden))
                scores.append(score if log_weights is None else score + float(log_weights[b, n, t]))
            total = sum(math.exp(score) for score in scores)
            for t in range(T):
                expected[b, n] += math.exp(scores[t]) / total * x[b, n, t]
    torch.testing.assert_close(module(x, log_weights), expected, atol=1e-5, rtol=1e-5)


def test_awam_weights_have_sum_1_and_depend_on_the_input() -> None:
    weights = trained().weights(tokens())
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(B, N))
    assert weights.std(dim=(0, 1)).min() > 0.01


@pytest.mark.parametrize("weighed", [False, True])
def test_awam_starts_as_the_mean(weighed: bool) -> None:
    log_weights = prior() if weighed else None
    torch.testing.assert_close(
        AWAM(C)(tokens(), log_weights), WeightedMean()(tokens(), log_weights)
    )


def test_mean_against_a_loop() -> None:
    x, weights = tokens(), prior().exp()
    expected = sum(weights[:, :, t, None] * x[:, :, t] for t in range(T))
    torch.testing.assert_close(WeightedMean()(x, weights.log()), expected)
    torch.testing.assert_close(WeightedMean()(x), sum(x[:, :, t] / T for t in range(T)))


@pytest.mark.parametrize("module", [trained(), WeightedMean()], ids=["awam", "mean"])
def test_timesteps_may_come_in_any_order_and_be_left_out(module: torch.nn.Module) -> None:
    x, order = tokens(), [2, 0, 1]
    found = module(x, prior())
    torch.testing.assert_close(module(x[:, :, order], prior()[..., order]), found)
    out = torch.tensor([0.0, 0.0, -torch.inf]).log_softmax(dim=0).expand(B, N, T)
    torch.testing.assert_close(module(x, out), module(x[:, :, :2]))


def test_awam_keeps_the_dtype_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = trained()(tokens(), prior())
    torch.testing.assert_close(found, trained()(tokens(), prior()), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("module", [trained(), WeightedMean()], ids=["awam", "mean"])
def test_what_is_cast_keeps_its_dtype(module: torch.nn.Module, weighed: bool) -> None:
    log_weights = prior() if weighed else None
    low = copy.deepcopy(module).bfloat16()(tokens().bfloat16(), log_weights)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), module(tokens(), log_weights), atol=0.05, rtol=0.05)
