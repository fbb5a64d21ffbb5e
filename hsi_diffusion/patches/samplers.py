"""Orders of items that depend on names, not on what was drawn before.

Both samplers are :class:`~torch.utils.data.DistributedSampler`, the type that keeps Lightning from
putting its own in their place. The process group is looked up when the order is asked for,
because a loader may be built before the group exists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DistributedSampler

from hsi_diffusion.distributed import rank_and_processes
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches.gather import PADDING_ITEM
from hsi_diffusion.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized


class _ProcessSampler(DistributedSampler[int], ABC):
    """Deals the items of :meth:`_order` out to the processes, one after the other.

    Item i goes to process i mod R. So batch b over all R processes together holds the same items
    whatever R is, as long as the joint batch has the same size.
    """

    def __init__(self, dataset: Sized, *, seed: int = 0, shuffle: bool) -> None:
        # DistributedSampler asks for the group at once; it may come later
        super().__init__(
            dataset,  # type: ignore[arg-type]  # only its length is used
            num_replicas=1,
            rank=0,
            shuffle=shuffle,
            seed=seed,
        )

    def _resolve(self) -> None:
        """Set num_replicas, rank, num_samples and total_size as the process group stands now."""
        self.rank, self.num_replicas = rank_and_processes()
        items = self._num_items()
        self.num_samples = -(-items // self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas

    def _num_items(self) -> int:
        """Number of items of one epoch over all processes, before it is made divisible."""
        return len(self.dataset)  # type: ignore[arg-type]  # Dataset promises no length

    @abstractmethod
    def _order(self) -> list[int]:
        """The ``total_size`` items of this epoch over all processes."""

    def __iter__(self) -> Iterator[Any]:
        """The items of this process."""
        self._resolve()
        return islice(self._order(), self.rank, None, self.num_replicas)

    def __len__(self) -> int:
        """Number of items that each process gets."""
        self._resolve()
        return self.num_samples


class SeededSampler(_ProcessSampler):
    """Random order for training: a function of (seed, epoch) and of nothing else.

    No generator is carried along, so a resumed run and a second run see the same order, and the
    number of processes does not change it. Lightning calls :meth:`set_epoch` before every epoch.

    Every process gets the same number of items. Where the epoch can't be divided, the first items
    of the order come once more at its end; otherwise no two processes get the same item.

    Args:
        dataset: Only its length is used.
        seed: Names the sequence of orders.
        samples_per_epoch: Items of one epoch over all processes; None means the whole dataset. A
            longer epoch starts a new random walk through the dataset each time one is complete, so
            no item is drawn more than once more often than another.

    Raises:
        ConfigurationError: ``samples_per_epoch`` is below 1, or the dataset is empty.
    """

    def __init__(
        self, dataset: Sized, *, seed: int = 0, samples_per_epoch: int | None = None
    ) -> None:
        super().__init__(dataset, seed=seed, shuffle=True)
        if len(dataset) == 0:
            raise ConfigurationError("dataset must hold at least one item to draw from, got none")
        if samples_per_epoch is not None and samples_per_epoch < 1:
            raise ConfigurationError(
                "samples_per_epoch must be at least 1, or None for the whole dataset, got "
                f"{samples_per_epoch}"
            )
        self.samples_per_epoch = samples_per_epoch
        self._skip = 0
        self._resolve()

    def resume_at(self, item: int) -> None:
        """Leave out the first ``item`` items of this process, in the next iteration only.

        For a run that goes on in the middle of an epoch: after ``b`` batches of B items, the loader
        that starts with ``resume_at(b * B)`` yields what would have come next. ``len()`` stays that
        of the whole epoch.

        Args:
            item: Number of items that this process has already seen in this epoch.

        Raises:
            ConfigurationError: ``item`` is negative or beyond the epoch.
        """
        if not 0 <= item <= len(self):
            raise ConfigurationError(
                f"item must lie between 0 and the {len(self)} items of this process, got {item}"
            )
        self._skip = item

    def __iter__(self) -> Iterator[Any]:
        """The items of this process in this epoch."""
        skip, self._skip = self._skip, 0
        return islice(super().__iter__(), skip, None)

    def _num_items(self) -> int:
        return self.samples_per_epoch or super()._num_items()

    def _order(self) -> list[int]:
        items, size = super()._num_items(), self._num_items()
        random = generator("sampler", self.seed, self.epoch)
        walks = [torch.randperm(items, generator=random) for _ in range(-(-size // items))]
        order = torch.cat(walks)[:size]
        # repeats from the front, to what the processes can share
        return order[torch.arange(self.total_size) % size].tolist()


class EvaluationSampler(_ProcessSampler):
    """Every item exactly once over all processes, in order, for validation, test and maps.

    Every process gets the same number of items, so that none waits for a batch that another one
    does not have. What is missing for that is filled with item -1, which
    :class:`~hsi_diffusion.patches.gather.PatchDataset` turns into a patch that metrics pass over.
    (A plain DistributedSampler repeats real items, which changes the metrics.)

    Args:
        dataset: Only its length is used. It has to understand item -1 as soon as there is more
            than one process.
    """

    def __init__(self, dataset: Sized) -> None:
        super().__init__(dataset, shuffle=False)
        self._resolve()

    def _order(self) -> list[int]:
        items = self._num_items()
        return [*range(items), *[PADDING_ITEM] * (self.total_size - items)]
