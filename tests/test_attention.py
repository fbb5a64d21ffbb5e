"""Attention in whatever form is fastest, against the formula in float64."""

from __future__ import annotations

import pytest
import torch

from hsi_diffusion.attention import attend


def formula(parts: list[torch.Tensor]) -> torch.Tensor:
    """softmax(q k / sqrt(d) + bias) v of query, key, value and bias."""
    query, key, value, bias = parts
    scores = torch.einsum("bhmd,bhnd->bhmn", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bhmn,bhnd->bhmd", (scores + bias).softmax(dim=-1), value)


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_attention_and_its_gradients_are_the_formula(
    dtype: torch.dtype, tolerance: float, learned: bool
) -> None:
    torch.manual_seed(0)
    shapes = ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8), (3, 5, 7))
    exact = [torch.randn(shape).to(dtype).double().requires_grad_() for shape in shapes]
    exact[3] = torch.where(torch.arange(7) == 6, -torch.inf, exact[3].detach())  # a key left out
    exact[3].requires_grad_(learned)
    ours = [part.detach().to(dtype).requires_grad_(part.requires_grad) for part in exact]
    found, expected = attend(*ours), formula(exact)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
    weights = torch.randn(expected.shape)
    for one in ((found * weights).sum(), (expected * weights).sum()):
        one.backward()  # type: ignore[no-untyped-call]
    for mine, theirs in zip(ours, exact, strict=True):
        assert (mine.grad is None) == (theirs.grad is None)
        if mine.grad is not None and theirs.grad is not None:
            torch.testing.assert_close(
                mine.grad.double(), theirs.grad, rtol=tolerance, atol=tolerance
            )
