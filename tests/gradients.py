"""What a network learns in bfloat16, compared with what it learns in float32."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn


def assert_learns_in_bfloat16(
    network: nn.Module,
    run: Callable[[nn.Module, torch.dtype], Tensor],
    endings: tuple[str, ...],
    *,
    cast: bool,
) -> None:
    """Compare gradients, several times over memory full of nan.

    Some CPUs give noise or nan for the kernels of 3-D convolutions over 2 bands.

    Args:
        network: In float32; not changed.
        run: Gives the network's output for an input of the dtype.
        endings: Of the names of the parameters to compare; every ending has to occur.
        cast: Cast the network to bfloat16, instead of computing under autocast.
    """
    low = copy.deepcopy(network).bfloat16() if cast else network

    def gradients(net: nn.Module, *, autocast: bool) -> dict[str, Tensor]:
        net.zero_grad()
        dtype = torch.bfloat16 if net is low and cast else torch.float32
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            run(net, dtype).float().square().mean().backward()  # type: ignore[no-untyped-call]
        return {
            name: parameter.grad.float()
            for name, parameter in net.named_parameters()
            if parameter.grad is not None and name.endswith(endings)
        }

    expected = {name: found.clone() for name, found in gradients(network, autocast=False).items()}
    assert all(any(name.endswith(ending) for name in expected) for ending in endings)
    first = {name: found.clone() for name, found in gradients(low, autocast=not cast).items()}
    for _ in range(4):  # what memory holds differs from time to time
        waste = [torch.full((size,), float("nan")) for size in (400_000, 30_000, 10_000, 1_000)]
        del waste
        found = gradients(low, autocast=not cast)
        for name, gradient in found.items():
            assert torch.equal(gradient, first[name]), name
            error = (gradient - expected[name]).norm() / expected[name].norm()
            assert error < 0.3, f"{name}: {error}"
