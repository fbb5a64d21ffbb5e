"""Base of both Lightning modules: plain data in checkpoints, the learning rate, and batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, Final, Self, cast

import lightning as L
import torch

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from hsi_diffusion.modules.optimisation import Optimisation
    from hsi_diffusion.types import PatchBatch

KEEP_NAN: Final = float("nan")
"""``nan_strategy`` of torchmetrics' means: a nan takes the place of a nan. By default they leave it
out, and a loss would look fine that is not."""

JOINED: Final[dict[str, Any]] = {"sync_dist": True, "reduce_fx": "max"}
"""Arguments of ``log`` for a figure that is the same on every process, as what torchmetrics
computes at the end of an epoch is. Without ``sync_dist`` Lightning warns all the same; its mean
over the processes could differ in the last bit, the largest of equal numbers does not.
"""


class PlainModule(L.LightningModule):
    """Base of the modules: hyperparameters are plain data, and so are checkpoints.

    A subclass gives ``save_hyperparameters`` a dict in which parts are what
    :func:`~hsi_diffusion.parts.plain_part` makes of them. So parts of the library are built again
    from their names; a class of the user's is only noted, and has to be given.

    Attributes:
        optimisation: How the weights are trained.
    """

    optimisation: Optimisation

    @property
    def learning_rate(self) -> float:
        """Highest learning rate; Lightning's ``Tuner.lr_find`` sets it."""
        return self.optimisation.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self.optimisation.learning_rate = self.hparams["learning_rate"] = rate

    def usable(self, batch: Any) -> PatchBatch:
        """A batch of any loader, with patches in the dtype of the weights.

        Not by Lightning's hook for it, of whose use with a data module it warns.

        Raises:
            ConfigurationError: It is no such batch.
        """
        image = batch.get("image") if isinstance(batch, Mapping) else None
        if not isinstance(image, torch.Tensor):
            raise ConfigurationError(
                'a batch must be a dict that holds "image", patches (B, C, P, P); "index", flat '
                'pixel numbers (B,), to validate, test and predict; and "label", classes from 0 '
                f"(B,), to learn and measure classes; got a {type(batch).__name__}: give the "
                "loader a collate_fn that makes such dicts"
            )
        weights = (one.dtype for one in self.parameters() if one.is_floating_point())
        dtype = next(weights, torch.float32)
        return cast("PatchBatch", {**batch, "image": image.to(dtype)})

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make the module of a checkpoint.

        The file is read with ``weights_only=True``, whatever is given, and no class that it names
        is imported: what is not the library's has to be given, such as ``denoiser=MyDenoiser``.

        Args:
            checkpoint_path: File, URL, or an open file.
            map_location: Where the weights go.
            hparams_file: Hyperparameters instead of the checkpoint's, a YAML or CSV file.
            strict: Whether the weights must fit by name; None: yes.
            weights_only: Has no effect: it is always True.
            **kwargs: Arguments of the class, instead of the checkpoint's.

        Returns:
            The module, with the checkpoint's weights.

        Raises:
            ConfigurationError: The checkpoint was written with a class that is not the library's,
                which was not given.
        """
        del weights_only
        # a function to import, which Lightning's command line notes; nothing else reads the class
        # that it may note beside it
        return super().load_from_checkpoint(
            checkpoint_path,
            map_location,
            hparams_file,
            strict,
            weights_only=True,
            **(kwargs | {"_instantiator": None}),
        )
