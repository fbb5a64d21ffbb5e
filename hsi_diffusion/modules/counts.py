"""A Trainer that goes on from a checkpoint counts as one that was never interrupted."""

from __future__ import annotations

from typing import Any

import lightning as L


class UnbrokenCounts(L.Callback):
    """Corrects what Lightning counts after a resume: epochs, batches of an epoch, loggers' steps.

    Noise, dropout and augmentation are named by the batch of the epoch. Both Lightning modules
    bring this callback along, so that it also works in a Trainer of the user's.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin a new epoch where the checkpoint is one of an epoch's end.

        A Trainer with ``max_steps`` would go on in the old one: end it once more, or, where no
        validation is due, count a batch beyond its last.
        """
        del pl_module
        loop = trainer.fit_loop
        epochs: Any = loop.epoch_progress.current
        complete = loop.epoch_loop.batch_progress.is_last_batch and epochs.processed == epochs.ready
        if not (loop.restarting and complete):
            return
        if epochs.completed < epochs.processed:
            loop.epoch_progress.increment_completed()
        loop.reset_restart_stage()
        loop.epoch_loop.restarting = False
        # its public name would set it again
        loop._restarting = False

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Have loggers count the optimiser's steps, which Lightning has no public name for.

        After a checkpoint of the end of an epoch or a validation, it counts one too many.
        """
        if len(trainer.optimizers) == 1:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
