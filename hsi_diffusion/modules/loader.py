"""A loader of training patches that a resumed run continues in the middle of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from hsi_diffusion.patches import PatchDataset, SeededSampler, collate_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.utils.data import Sampler

    from hsi_diffusion.types import PatchBatch


class TrainLoader(DataLoader["PatchBatch"]):
    """Batches in the order of a :class:`~hsi_diffusion.patches.SeededSampler`.

    Its state is a place, (epoch, batches), which only counts if the training goes on in that epoch:
    after the end of an epoch, the next one starts at its beginning. Lightning puts it into its
    checkpoints, but where the Trainer has counted the batches beforehand, for a learning-rate
    schedule, it does not give it back; so the data module keeps it as well.

    Nothing is drawn before the first batch is asked for. Lightning makes the iterator before it
    tells the sampler the epoch, so that loader processes, which fetch ahead, would otherwise fetch
    from another epoch.

    Args:
        dataset: The patches.
        batch_size: Patches of a batch.
        sampler: Their order. Lightning makes the loader again with a sampler of its own where the
            order has to stay the same (``Trainer(overfit_batches=...)``); with any other than a
            ``SeededSampler``, an interrupted epoch starts again at its beginning.
        **settings: Further arguments of :class:`torch.utils.data.DataLoader`.
    """

    def __init__(
        self, dataset: PatchDataset, batch_size: int, *, sampler: Sampler[int], **settings: Any
    ) -> None:
        super().__init__(
            dataset, batch_size=batch_size, sampler=sampler, collate_fn=collate_batch, **settings
        )
        self._batches_done = 0
        self._resume_from: tuple[int, int] | None = None

    @property
    def _epoch(self) -> int:
        return self.sampler.epoch if isinstance(self.sampler, SeededSampler) else 0

    def __iter__(self) -> Iterator[PatchBatch]:  # type: ignore[override]  # an iterator will do
        """The batches of the sampler's epoch; the rest of them right after a resume within it."""
        place, self._resume_from = self._resume_from, None
        self._batches_done = 0
        if isinstance(self.sampler, SeededSampler) and place and place[0] == self._epoch:
            self._batches_done = place[1]
            patches = self._batches_done * (self.batch_size or 1)
            # the last batch may be smaller than the others
            self.sampler.resume_at(min(patches, len(self.sampler)))
        for batch in super().__iter__():
            self._batches_done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches this process has handed out."""
        return {"epoch": self._epoch, "batches": self._batches_done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next iteration where ``state`` stands, if it is one of that epoch."""
        self._resume_from = state["epoch"], state["batches"]
