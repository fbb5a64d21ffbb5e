"""What each process of the test does that spreads pixels over several (see test_hsi_metrics.py)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed

from hsi_diffusion.metrics import HSIMetrics

if TYPE_CHECKING:
    from pathlib import Path

NUM_CLASSES = 5
NUM_PIXELS = 101


def pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and targets, some of them ignored; the same in every process."""
    rng = torch.Generator().manual_seed(3)
    preds = torch.randint(0, NUM_CLASSES, (NUM_PIXELS,), generator=rng)
    target = torch.randint(-1, NUM_CLASSES - 1, (NUM_PIXELS,), generator=rng)
    return preds, target


def share(rank: int, world: int) -> slice:
    """Uneven shares: process 0 takes half, process 1 half of what is left, the last the rest."""
    ends = [NUM_PIXELS - NUM_PIXELS // 2**place for place in range(world)] + [NUM_PIXELS]
    return slice(ends[rank], ends[rank + 1])


def count_share(rank: int, world: int, folder: Path) -> None:
    """Join the others, count the own share in small batches, write the figures of all."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / f'store-{world}'}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    metrics = HSIMetrics(NUM_CLASSES)
    preds, target = pixels()
    for index in torch.arange(NUM_PIXELS)[share(rank, world)].view(-1, 1):
        metrics.update(preds[index], target[index])
    result = {"figures": metrics.compute(), "own": metrics.confusion_matrix}
    torch.save(result, folder / f"{world}-{rank}.pt")
    distributed.destroy_process_group()
