from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.convolution import Conv3d, ConvTranspose3d, conv3d


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


WRONG = [
    (nn.Conv3d(128, 64, 3, padding=1), Conv3d(128, 64, 3, padding=1), (1, 128, 3, 32, 32)),
    (nn.Conv3d(64, 64, 3, padding=1), Conv3d(64, 64, 3, padding=1), (1, 64, 1, 48, 48)),
    (nn.Conv3d(8, 64, 3, padding=1), Conv3d(8, 64, 3, padding=1), (1, 8, 6, 64, 64)),
    (
        nn.Conv3d(64, 64, (4, 5, 5), (2, 1, 1), (1, 2, 2)),
        Conv3d(64, 64, (4, 5, 5), stride=(2, 1, 1), padding=(1, 2, 2)),
        (2, 64, 2, 48, 48),
    ),
    (
        nn.ConvTranspose3d(64, 64, (4, 5, 5), (2, 1, 1), (1, 2, 2)),
        ConvTranspose3d(64, 64, (4, 5, 5), stride=(2, 1, 1), padding=(1, 2, 2)),
        (2, 64, 1, 48, 48),
    ),
]
"""Layers and shapes at which torch 2.13 gets the weights' gradient wrong, with AMX."""


@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize(
    ("plain", "layer", "shape"), WRONG, ids=[f"{one[1]}-{one[2]}" for one in WRONG]
)
def test_many_rows_learn_in_bfloat16_what_they_learn_in_float32(
    plain: nn.Module, layer: nn.Module, shape: tuple[int, ...], cast: bool
) -> None:
    random = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if cast else torch.float32
    # values that bfloat16 holds, so that nothing but its sums can differ
    rounded = {name: value.bfloat16().float() for name, value in plain.state_dict().items()}
    plain.load_state_dict(rounded)
    layer.load_state_dict(rounded)
    plain.float().zero_grad()
    layer.to(dtype).zero_grad()
    values = torch.randn(shape, generator=random).bfloat16().float()
    expected_x, found_x = values.requires_grad_(), values.detach().to(dtype).requires_grad_()
    expected = plain(expected_x)
    weights = torch.randn(expected.shape, generator=random).bfloat16()
    expected.backward(weights.float())
    with torch.autocast("cpu", torch.bfloat16, enabled=not cast):
        found = layer(found_x)
    found.backward(weights)
    assert found.dtype == torch.bfloat16
    pairs = [(expected, found), (expected_x.grad, found_x.grad)]
    pairs += [(one.grad, two.grad) for one, two in zip(*map(leaves, (plain, layer)), strict=True)]
    assert len(pairs) == 4
    for one, two in pairs:
        assert (two.float() - one).norm() / one.norm() < 0.01


def leaves(layer: nn.Module) -> list[nn.Parameter]:
    return list(layer.parameters())


def test_only_the_gradient_of_the_weights_is_computed_in_float32() -> None:
    """What is right, the result and the input's gradient, stays bit for bit."""
    x = torch.randn(1, 64, 3, 48, 48).bfloat16()
    weight, bias = torch.randn(64, 64, 3, 3, 3).bfloat16() / 40, torch.randn(64).bfloat16()
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, found = (of(x, weight, bias, padding=1) for of, x in ((F.conv3d, one), (conv3d, two)))
    assert torch.equal(found, expected)
    expected.sum().backward()  # type: ignore[no-untyped-call]
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert one.grad is not None
    assert two.grad is not None
    assert torch.equal(two.grad, one.grad)


@pytest.mark.parametrize("shape", [(16, 16, 12, 16, 16), (2, 64, 3, 16, 16), (4, 32, 4, 4, 5)])
def test_small_patches_learn_as_ever(shape: tuple[int, ...]) -> None:
    """Those of the presets: float32 would only cost time."""
    x = torch.randn(shape).bfloat16()
    weight = (torch.randn(16, shape[1], 3, 3, 3) / 40).bfloat16()
    one, two = weight.clone().requires_grad_(), weight.clone().requires_grad_()
    F.conv3d(x, one, padding=1).sum().backward()  # type: ignore[no-untyped-call]
    conv3d(x, two, padding=1).sum().backward()  # type: ignore[no-untyped-call]
    assert one.grad is not None
    assert two.grad is not None
    assert torch.equal(two.grad, one.grad)


def test_transposed_layer_is_that_of_torch() -> None:
    torch.manual_seed(0)
    expected = nn.ConvTranspose3d(16, 8, (4, 5, 5), (2, 1, 1), (1, 2, 2))
    torch.manual_seed(0)
    found = ConvTranspose3d(16, 8, (4, 5, 5), stride=(2, 1, 1), padding=(1, 2, 2))
    assert found.state_dict().keys() == expected.state_dict().keys()
    for bands in (1, 3):
        assert torch.equal(found(images(bands)), expected(images(bands)))
    sized = found(images(3), output_size=[7, 5, 6])
    assert torch.equal(sized, expected(images(3), output_size=[7, 5, 6]))
