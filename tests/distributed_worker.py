"""What each process of test_distributed.py does; processes are started, so it stands in a file."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed

from hsi_diffusion.distributed import gather_rows

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

ROWS = 3


def rows() -> Tensor:
    """The rows of two processes together."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(2 * ROWS, 4, generator=random, dtype=torch.float64)


def loss_of(x: Tensor, rank: int) -> Tensor:
    """Every row meets every other one, and each process weighs them in its own way."""
    return ((x @ x.T).sin() * torch.arange(1.0 + rank, 1 + rank + len(x))).sum()


def gather(rank: int, folder: Path) -> None:
    """Join the rows of both processes, and derive a loss that differs between them."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    mine = rows()[rank * ROWS : (rank + 1) * ROWS].requires_grad_()
    # not contiguous, as the rows of two views are
    joined = gather_rows(mine.T.contiguous().T)
    loss_of(joined, rank).backward()  # type: ignore[no-untyped-call]
    torch.save({"joined": joined.detach(), "gradient": mine.grad}, folder / f"{rank}.pt")
    distributed.destroy_process_group()
