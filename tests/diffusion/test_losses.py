"""Losses against plain loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hsi_diffusion.diffusion import LOSSES, DenoisingLoss, build_loss, l1, l2
from hsi_diffusion.errors import ConfigurationError


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=random), torch.randn(shape, generator=random)


def test_l1_and_l2_are_means_over_all_elements() -> None:
    output, target = pair(2, 3, 4, 4)
    differences = [
        a - b for a, b in zip(output.flatten().tolist(), target.flatten().tolist(), strict=True)
    ]
    count = len(differences)
    assert float(l1(output, target)) == pytest.approx(sum(abs(d) for d in differences) / count)
    assert float(l2(output, target)) == pytest.approx(sum(d * d for d in differences) / count)


def test_weighted_sum_and_its_gradient() -> None:
    output, target = pair(2, 5)
    loss = DenoisingLoss({"l1": 0.5, "l2": 2.0})
    parts = loss(output.requires_grad_(), target)
    assert tuple(parts) == loss.names == ("loss", "l1", "l2")
    torch.testing.assert_close(parts["loss"].detach(), 0.5 * parts["l1"] + 2 * parts["l2"])
    assert not parts["l1"].requires_grad
    (gradient,) = torch.autograd.grad(parts["loss"], output)
    difference = (output - target).detach()
    torch.testing.assert_close(gradient, (0.5 * difference.sign() + 4 * difference) / 10)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_name_alone_is_that_loss(name: str) -> None:
    output, target = pair(3, 4)
    parts = build_loss(name)(output, target)
    assert float(parts["loss"]) == float(parts[name]) == float(LOSSES[name](output, target))


def test_a_loss_without_weight_is_left_out() -> None:
    assert build_loss({"l1": 1.0, "l2": 0.0}).names == ("loss", "l1")


def test_half_precision_is_compared_in_float32() -> None:
    output, target = (x.bfloat16() for x in pair(64, 64))
    value = build_loss("l2")(output, target)["loss"]
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(l2(output.double(), target.double())), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert build_loss("l1")(output, target)["loss"].dtype == torch.float32


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"huber": 1.0}, "l1, l2, but huber"),
        ({"l1": -1.0}, "at least 0, but {'l1': -1.0}"),
        ({"l1": float("nan")}, "finite"),
        ({}, "above 0"),
        ({"l1": 0.0}, "above 0"),
    ],
)
def test_impossible_weights_are_named(weights: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DenoisingLoss(weights)


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\(2, 3\) and \(3,\)"):
        build_loss("l1")(torch.zeros(2, 3), torch.zeros(3))
