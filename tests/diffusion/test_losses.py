"""Losses against plain loops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import l1_loss, mse_loss

from hsi_diffusion.diffusion import LOSSES, DenoisingLoss, lae
from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=random), torch.randn(shape, generator=random)


def test_l1_and_l2_are_means_over_all_elements() -> None:
    output, target = pair(2, 3, 4, 4)
    differences = [
        a - b for a, b in zip(output.flatten().tolist(), target.flatten().tolist(), strict=True)
    ]
    count = len(differences)
    parts = DenoisingLoss({"l1": 1.0, "l2": 1.0})(output, target)
    assert float(parts["l1"]) == pytest.approx(sum(abs(d) for d in differences) / count)
    assert float(parts["l2"]) == pytest.approx(sum(d * d for d in differences) / count)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_lae_and_its_gradient_against_loops(scale: float) -> None:
    output, target = (x.double() for x in pair(2, 3, 4))
    differences = (output - target).flatten().tolist()
    count = len(differences)
    expected = sum(math.log(1 + abs(d) / scale) for d in differences) / count
    loss = lae(output.requires_grad_(), target, scale)
    assert float(loss) == pytest.approx(expected, rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, output)
    slopes = [math.copysign(1 / (scale + abs(d)), d) / count for d in differences]
    assert gradient.flatten().tolist() == pytest.approx(slopes, rel=1e-12)


def test_lae_keeps_the_digits_of_small_errors() -> None:
    target = torch.zeros(4)
    assert float(lae(target + 1e-9, target)) == pytest.approx(1e-9, rel=1e-6)
    assert float(lae(target, target)) == 0
    # far above all errors, the scale makes it L1
    output, target = pair(4, 4)
    assert float(1e5 * lae(output, target, 1e5)) == pytest.approx(
        float(l1_loss(output, target)), 1e-4
    )
    half = lae(output.bfloat16(), target.bfloat16())
    assert half.dtype == torch.float32


def test_the_scale_is_that_of_the_loss() -> None:
    output, target = pair(4, 4)
    loss = DenoisingLoss({"lae": 2.0, "l1": 1.0}, lae_scale=0.3)
    parts = loss(output, target)
    assert float(parts["lae"]) == float(lae(output, target, 0.3))
    torch.testing.assert_close(
        parts["loss"], 2 * lae(output, target, 0.3) + l1_loss(output, target)
    )
    for scale in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigurationError, match="scale must be above 0 and finite"):
            lae(output, target, scale)
        with pytest.raises(ConfigurationError, match="lae_scale must be above 0 and finite"):
            DenoisingLoss({"l1": 1.0}, lae_scale=scale)


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
    parts = DenoisingLoss({name: 1.0})(output, target)
    assert float(parts["loss"]) == float(parts[name]) == float(LOSSES[name](output, target))


def test_a_loss_without_weight_is_left_out() -> None:
    assert DenoisingLoss({"l1": 1.0, "l2": 0.0}).names == ("loss", "l1")


def test_half_precision_is_compared_in_float32() -> None:
    output, target = (x.bfloat16() for x in pair(64, 64))
    value = DenoisingLoss({"l2": 1.0})(output, target)["loss"]
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(
        float(mse_loss(output.double(), target.double())), rel=1e-5
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert DenoisingLoss({"l1": 1.0})(output, target)["loss"].dtype == torch.float32


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"huber": 1.0}, "l1, l2, lae, got huber"),
        ({"own": {"class_path": "my_parts.loss"}}, "l1, l2, lae, got own"),
        ({"l1": -1.0}, r"weights\.l1 must be at least 0 and finite, got -1\.0"),
        ({"l1": float("nan")}, "finite"),
        ({}, "above 0"),
        ({"l1": 0.0}, "above 0"),
    ],
)
def test_impossible_weights_are_named(weights: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DenoisingLoss(weights)


@pytest.mark.parametrize("loss", [lae, DenoisingLoss({"l2": 1.0, "lae": 1.0})])
def test_shapes_that_would_broadcast_are_refused(loss: Callable[..., Any]) -> None:
    for shape in ((3,), (2, 1), (1, 2, 3)):
        with pytest.raises(ConfigurationError, match=r"one shape, got \(2, 3\) and"):
            loss(torch.zeros(2, 3), torch.zeros(shape))
