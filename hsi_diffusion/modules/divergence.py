"""A training whose loss or weights are no numbers any more stops where that happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning as L
import torch

from hsi_diffusion.errors import DivergenceError

if TYPE_CHECKING:
    from torch import Tensor

EVERY = 50
"""Steps between two looks on a graphics card, where each look waits for the card."""


class StopOnDivergence(L.Callback):
    """Raises as soon as a loss is nan or infinite, and before such weights reach a checkpoint.

    Both Lightning modules bring it along, so that it also works in a Trainer of the user's. On a
    CPU every batch is looked at, on a card every :data:`EVERY`-th step and every checkpoint. The
    last checkpoint before stays as it is.

    Raises:
        DivergenceError: With the step, and what to change.
    """

    def __init__(self) -> None:
        self._bad: Tensor | None = None

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        """Look at the loss, or note on the card what will be looked at later."""
        bad = ~loss.detach().isfinite()
        self._bad = bad if self._bad is None else self._bad | bad
        if loss.device.type == "cpu" or trainer.global_step % EVERY == 0:
            self._look(trainer, pl_module, "loss")

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep a checkpoint of weights that are no numbers from being written."""
        del checkpoint
        finite = [value.isfinite().all() for value in pl_module.parameters()]
        if finite:
            self._bad = ~torch.stack(finite).all()
        self._look(trainer, pl_module, "weights")

    def _look(self, trainer: L.Trainer, pl_module: L.LightningModule, what: str) -> None:
        bad, self._bad = self._bad, None
        if bad is None or not bool(bad):
            return
        first = "leave out pixels that hold nan, if there are any; else "
        hint = "" if trainer.global_step else first
        rates = [f"{group['lr']:.3g}" for one in trainer.optimizers for group in one.param_groups]
        raise DivergenceError(
            f"the {what} of {type(pl_module).__name__} became nan or infinite at step "
            f"{trainer.global_step} (learning rate {', '.join(rates[:1]) or 'unknown'}): "
            f"{hint}lower learning_rate, clip the gradient (gradient_clip, or gradient_clip_val of "
            "a Trainer), or take precision float32; the last checkpoint is from before"
        )
