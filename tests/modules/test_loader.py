from __future__ import annotations

import pytest
import torch

from hsi_diffusion.modules.loader import TrainLoader
from hsi_diffusion.patches import PatchDataset, SeededSampler


def build(workers: int = 0) -> TrainLoader:
    """10 patches in batches of 4, 4 and 2."""
    dataset = PatchDataset(torch.randn(4, 5, 2), torch.arange(10), None, patch_size=3)
    return TrainLoader(dataset, 4, sampler=SeededSampler(dataset, seed=1), num_workers=workers)


def order(loader: TrainLoader) -> SeededSampler:
    assert isinstance(loader.sampler, SeededSampler)
    return loader.sampler


def pixels(loader: TrainLoader, epoch: int) -> list[list[int]]:
    iterator = iter(loader)
    order(loader).set_epoch(epoch)  # as Lightning does: after it made the iterator
    return [batch["index"].tolist() for batch in iterator]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_goes_on_in_the_middle_of_an_epoch(workers: int, done: int) -> None:
    whole = build(workers)
    expected = pixels(whole, epoch=7)
    assert [len(batch) for batch in expected] == [4, 4, 2]

    interrupted = build(workers)
    order(interrupted).set_epoch(7)
    iterator = iter(interrupted)
    for _ in range(done):
        next(iterator)
    state = interrupted.state_dict()
    assert state == {"epoch": 7, "batches": done}

    resumed = build(workers)
    resumed.load_state_dict(state)
    assert len(resumed) == 3
    assert pixels(resumed, epoch=7) == expected[done:]
    assert resumed.state_dict() == whole.state_dict()
    assert pixels(resumed, epoch=8) == pixels(whole, epoch=8)


def test_another_epoch_starts_at_its_beginning() -> None:
    resumed = build()
    resumed.load_state_dict({"epoch": 3, "batches": 2})
    assert pixels(resumed, epoch=4) == pixels(build(), epoch=4)
    assert pixels(resumed, epoch=3) == pixels(build(), epoch=3)
