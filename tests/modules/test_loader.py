from __future__ import annotations

import pytest
import torch

from hsi_diffusion.modules.loader import TrainLoader
from hsi_diffusion.patches import PatchDataset, SeededSampler


def build(workers: int = 0) -> TrainLoader:
    """10 patches in batches of 4, 4 and 2."""
    dataset = PatchDataset(torch.randn(4, 5, 2), torch.arange(10), None, patch_size=3)
    return TrainLoader(dataset, 4, sampler=SeededSampler(dataset, seed=1), num_workers=workers)


def pixels(loader: TrainLoader) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


def order(epoch: int) -> list[int]:
    sampler = SeededSampler(range(10), seed=1)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_every_iteration_is_the_next_epoch() -> None:
    loader = build()
    for epoch in range(3):
        found = pixels(loader)
        assert [len(batch) for batch in found] == [4, 4, 2]
        assert [pixel for batch in found for pixel in batch] == order(epoch)
    assert loader.state_dict() == {"batches": 9}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("done", [1, 3, 5])
def test_goes_on_after_any_batch(workers: int, done: int) -> None:
    whole = build()
    expected = [*pixels(whole), *pixels(whole), *pixels(whole)]

    interrupted = build(workers)
    first = iter(interrupted)
    seen = [next(first) for _ in range(min(done, 3))]
    second = iter(interrupted)  # where an epoch ended, or a Trainer's limit was reached
    seen += [next(second) for _ in range(done - len(seen))]
    assert [batch["index"].tolist() for batch in seen] == expected[:done]

    resumed = build(workers)
    resumed.load_state_dict(interrupted.state_dict())
    set_by_the_trainer = resumed.sampler
    assert isinstance(set_by_the_trainer, SeededSampler)
    set_by_the_trainer.set_epoch(77)
    assert len(resumed) == 3
    assert pixels(resumed) == expected[done : done + 3]
