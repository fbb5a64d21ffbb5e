"""The curves of a training that goes on from a checkpoint lie where those of a whole one do."""

from __future__ import annotations

from typing import Any

import lightning as L


class CurveSteps(L.Callback):
    """Has loggers count the optimiser's steps.

    After a checkpoint that was written when an epoch or a validation ended, Lightning's count for
    its loggers is one too high. Both Lightning modules bring this callback along, so that it also
    works in a Trainer of the user's.
    """

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Correct the count, which Lightning has no public name for."""
        if len(trainer.optimizers) == 1:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
