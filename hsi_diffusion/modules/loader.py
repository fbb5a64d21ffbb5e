"""A loader of training patches that a resumed run continues where it was interrupted."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from hsi_diffusion.patches import PatchDataset, SeededSampler, collate_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lightning as L
    from torch.utils.data import Sampler

    from hsi_diffusion.types import PatchBatch


class TrainLoader(DataLoader["PatchBatch"]):
    """Batches in the order of a :class:`~hsi_diffusion.patches.SeededSampler`.

    Which batch comes next follows from the number of batches that were handed out before, over all
    epochs, and from nothing else: every iteration goes on where the last one ended. That number is
    the loader's state. The Trainer's epoch plays no part, since a Trainer that resumes from the end
    of an epoch, with ``max_steps`` alone, counts one too many. Lightning puts the state into its
    checkpoints, but where the Trainer has counted the batches beforehand, for a learning-rate
    schedule, it does not give it back; so the data module keeps it as well.

    A batch that was handed out but not learned is not in the state, as where an exception ends the
    step: Lightning repeats that step. To know it, the loader needs the Trainer.

    Args:
        dataset: The patches.
        batch_size: Patches of a batch.
        sampler: Their order. Lightning makes the loader again with a sampler of its own where the
            order has to stay the same (``Trainer(overfit_batches=...)``); with any other than a
            ``SeededSampler``, every iteration starts at the beginning.
        **settings: Further arguments of :class:`torch.utils.data.DataLoader`.

    Attributes:
        batches: Batches that were handed out.
        trainer: Who learns them; None: each counts as learned.
    """

    trainer: L.Trainer | None = None

    def __init__(
        self, dataset: PatchDataset, batch_size: int, *, sampler: Sampler[int], **settings: Any
    ) -> None:
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            # given already where Lightning makes the loader again
            **{"collate_fn": collate_batch, **settings},
        )
        self.batches = 0
        self._learned_before: int | None = None

    def __iter__(self) -> Iterator[PatchBatch]:  # type: ignore[override]  # an iterator will do
        """As many batches as an epoch has, from the next one on; across the end of its order.

        Nothing is drawn before the first batch is asked for: Lightning tells the sampler its own
        epoch after it has made the iterator.
        """
        if not isinstance(self.sampler, SeededSampler):
            yield from super().__iter__()
            return
        left = length = len(self)
        while left:
            epoch, start = divmod(self.batches, length)
            self.sampler.set_epoch(epoch)
            # the last batch may be smaller than the others
            self.sampler.resume_at(min(start * (self.batch_size or 1), len(self.sampler)))
            for batch in islice(super().__iter__(), min(left, length - start)):
                self._learned_before = self._learned()
                self.batches += 1
                left -= 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        """How many batches of this process were learned."""
        learned = self._learned()
        in_flight = learned is not None and learned == self._learned_before
        return {"batches": self.batches - in_flight}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after as many batches as ``state`` says."""
        self.batches = state["batches"]
        self._learned_before = None

    def _learned(self) -> int | None:
        """The Trainer's own count, which differs from ours by what it learned before."""
        if self.trainer is None:
            return None
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress
        return int(progress.total.processed)
