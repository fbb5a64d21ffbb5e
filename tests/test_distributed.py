"""Rows of several processes, and what comes back through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hsi_diffusion.distributed import gather_rows
from tests.distributed_worker import ROWS, gather, loss_of, rows
from tests.processes import together

if TYPE_CHECKING:
    from pathlib import Path


def test_two_processes_share_rows_and_gradients(tmp_path: Path) -> None:
    together(gather, 2, tmp_path)

    alone = rows().requires_grad_()
    loss = loss_of(alone, 0) + loss_of(alone, 1)
    (expected,) = torch.autograd.grad(loss, alone)
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal(result["joined"], rows())
        mine = expected[rank * ROWS : (rank + 1) * ROWS]
        torch.testing.assert_close(result["gradient"], mine, rtol=1e-12, atol=1e-12)


def test_alone_nothing_happens() -> None:
    x = torch.ones(2, 3)
    assert gather_rows(x) is x
