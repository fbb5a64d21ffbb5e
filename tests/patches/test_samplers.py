"""Orders of items: repeatable, shared out fairly, whole."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches import samplers
from hsi_diffusion.patches.gather import PatchDataset, collate_batch
from hsi_diffusion.patches.samplers import EvaluationSampler, SeededSampler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@contextmanager
def process(rank: int, replicas: int) -> Iterator[None]:
    """Samplers inside are those of one process of several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samplers, "rank_and_processes", lambda: (rank, replicas))
        yield


def shares(items: int, replicas: int, **settings: Any) -> list[list[int]]:
    """What each process gets."""
    parts = []
    for rank in range(replicas):
        with process(rank, replicas):
            parts.append(list(SeededSampler(range(items), **settings)))
    return parts


def joined(parts: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(parts))


def test_order_depends_on_seed_and_epoch_only() -> None:
    sampler = SeededSampler(range(50), seed=3)
    torch.manual_seed(0)
    first = list(sampler)
    torch.manual_seed(1)
    assert list(sampler) == first
    sampler.set_epoch(7)
    later = list(sampler)
    assert sorted(later) == sorted(first) == list(range(50))
    assert later != first
    again = SeededSampler(range(50), seed=3)
    again.set_epoch(7)
    assert list(again) == later
    assert list(SeededSampler(range(50), seed=4)) != first


def test_drawing_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    list(SeededSampler(range(50), samples_per_epoch=70))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
def test_shares_are_disjoint_and_cover_the_dataset(replicas: int) -> None:
    parts = shares(30, replicas)
    assert {len(part) for part in parts} == {30 // replicas}
    assert sorted(joined(parts)) == list(range(30))


@pytest.mark.parametrize(("items", "replicas"), [(13, 2), (13, 3), (13, 5), (2, 5)])
def test_uneven_shares_repeat_as_little_as_possible(items: int, replicas: int) -> None:
    extra = -items % replicas
    repeated = joined(shares(items, replicas))
    assert len(repeated) == items + extra
    assert set(repeated) == set(range(items))


def test_joint_batches_do_not_depend_on_the_number_of_processes() -> None:
    alone = list(BatchSampler(SeededSampler(range(48), seed=1), 12, drop_last=False))
    for replicas in (2, 3, 4):
        each = [
            list(BatchSampler(part, 12 // replicas, False)) for part in shares(48, replicas, seed=1)
        ]
        joint = [sorted(joined(batches)) for batches in zip(*each, strict=True)]
        assert joint == [sorted(batch) for batch in alone]


def test_samples_per_epoch_are_balanced() -> None:
    few = list(SeededSampler(range(10), samples_per_epoch=4))
    assert len(set(few)) == len(few) == 4
    counts = Counter(SeededSampler(range(10), samples_per_epoch=34))
    assert counts.total() == 34
    assert set(counts.values()) == {3, 4}


def test_resume_in_the_middle_of_an_epoch() -> None:
    sampler = SeededSampler(range(20), seed=5)
    sampler.set_epoch(2)
    with process(1, 2):
        whole = list(sampler)
        sampler.resume_at(6)
        assert len(sampler) == 10
        assert list(sampler) == whole[6:]
        assert list(sampler) == whole
        with pytest.raises(ConfigurationError, match="between 0 and the 10 items"):
            sampler.resume_at(11)


@pytest.mark.parametrize(
    ("items", "replicas"), [(13, 1), (13, 2), (13, 3), (12, 3), (2, 5), (0, 2)]
)
def test_evaluation_sees_every_item_once(items: int, replicas: int) -> None:
    parts = []
    for rank in range(replicas):
        with process(rank, replicas):
            sampler = EvaluationSampler(range(items))
            parts.append(list(sampler))
            assert len(sampler) == len(parts[0]) == len(parts[-1])
    everything = joined(parts)
    assert sorted(item for item in everything if item >= 0) == list(range(items))
    assert everything.count(-1) == -items % replicas


def test_evaluation_fillers_reach_the_batches() -> None:
    labels = torch.ones(3, 3, dtype=torch.int64)
    dataset = PatchDataset(torch.zeros(3, 3, 2), torch.arange(9), labels, 3)
    sampler = EvaluationSampler(dataset)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, collate_fn=collate_batch)
    with process(1, 2):
        batches = list(loader)
        assert len(batches) == len(loader) == 3
    assert torch.cat([batch["index"] for batch in batches]).tolist() == [1, 3, 5, 7, -1]
    assert torch.cat([batch["label"] for batch in batches]).tolist() == [0, 0, 0, 0, -1]


def test_process_group_is_looked_up_when_iterating(tmp_path: Path) -> None:
    training, evaluation = SeededSampler(range(5)), EvaluationSampler(range(5))
    assert isinstance(training, DistributedSampler)
    assert len(training) == 5
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    try:
        # what a later, larger group would answer
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dist, "get_world_size", lambda: 2)
            patch.setattr(dist, "get_rank", lambda: 1)
            assert len(training) == len(evaluation) == 3
            assert list(evaluation) == [1, 3, -1]
            assert (training.num_replicas, training.rank) == (2, 1)
        assert list(evaluation) == [0, 1, 2, 3, 4]
    finally:
        dist.destroy_process_group()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match="samples_per_epoch must be at least 1"):
        SeededSampler(range(5), samples_per_epoch=0)
    with pytest.raises(ConfigurationError, match="at least one item"):
        SeededSampler([])
