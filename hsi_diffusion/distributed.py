"""Communication of several processes in the middle of a computation, with its gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from torch import Tensor


def rank_and_processes() -> tuple[int, int]:
    """Number of this process, and how many there are; (0, 1) without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gather_rows(x: Tensor) -> Tensor:
    """The rows of all processes, one process after the other; gradients flow back to every one.

    The gradient that a process gets for its rows is the sum over the losses of all processes. So if
    each of them computes the same loss L of the joined rows, it gets W dL/dx for W processes, and
    the mean over processes that DDP takes of the weights' gradients is exactly what one process
    would have with the joined batch. The same holds where each process computes its own share of
    the rows of a mean.

    Without a process group, or with one process, ``x`` itself comes back.

    Args:
        x: Shape (N, ...), with the same shape, dtype and turn of calls on every process.

    Returns:
        Shape (W * N, ...).
    """
    if rank_and_processes()[1] == 1:
        return x
    rows: Tensor = _GatherRows.apply(x)  # type: ignore[no-untyped-call]
    return rows


class _GatherRows(torch.autograd.Function):
    """``all_gather``, whose derivative is a sum over the processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        (gradient,) = gradients
        # a copy that is contiguous: the sum is taken in place, and others may hold the gradient
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
