from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.convolution import Conv3d, conv3d


def images(bands: int) -> Tensor:
    return torch.randn(2, 16, bands, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bias", [False, True])
def test_layer_is_that_of_torch(bias: bool) -> None:
    """Names, initial weights, results: a seed makes the network that it always made."""
    torch.manual_seed(0)
    expected = nn.Conv3d(16, 8, 3, padding=1, bias=bias)
    torch.manual_seed(0)
    found = Conv3d(16, 8, 3, padding=1, bias=bias)
    assert list(found.state_dict()) == list(expected.state_dict())
    for name, value in found.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])
    for bands in (1, 2, 3):
        assert torch.equal(found(images(bands)), expected(images(bands)))


@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("bands", [1, 2, 3])
def test_gradients_of_bfloat16_are_those_of_float64(bands: int, cast: bool) -> None:
    weight = torch.randn(16, 16, 3, 3, 3, generator=torch.Generator().manual_seed(1)).bfloat16()
    x = images(bands).bfloat16()
    wide = weight.double().requires_grad_()
    F.conv3d(x.double(), wide, padding=1).square().mean().backward()  # type: ignore[no-untyped-call]
    assert wide.grad is not None
    for _ in range(4):
        waste = [torch.full((size,), float("nan")) for size in (400_000, 30_000, 10_000, 1_000)]
        del waste
        kernel = (weight if cast else weight.float()).clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=not cast):
            output = conv3d(x if cast else x.float(), kernel, padding=1)
        assert output.dtype == torch.bfloat16
        output.float().square().mean().backward()  # type: ignore[no-untyped-call]
        assert kernel.grad is not None
        assert kernel.grad.dtype == kernel.dtype
        error = (kernel.grad.double() - wide.grad).norm() / wide.grad.norm()
        assert error < 0.02


def test_float64_stays_what_it_is_under_autocast() -> None:
    x, weight = images(2).double(), torch.randn(8, 16, 3, 3, 3, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv3d(x, weight, padding=1)
    assert torch.equal(found, F.conv3d(x, weight, padding=1))


def test_without_gradients_nothing_is_computed_in_float32() -> None:
    """It would only cost time."""
    x, weight = images(2).bfloat16(), torch.randn(8, 16, 3, 3, 3).bfloat16()
    with torch.no_grad():
        assert torch.equal(conv3d(x, weight, padding=1), F.conv3d(x, weight, padding=1))
