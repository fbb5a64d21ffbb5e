"""Lightning modules whose checkpoints hold plain data, and have nothing imported or run."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Final, Self

import lightning as L

if TYPE_CHECKING:
    from pathlib import Path

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
    """

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
        # Lightning's command line notes these two, for a class and a function to import
        return super().load_from_checkpoint(
            checkpoint_path,
            map_location,
            hparams_file,
            strict,
            weights_only=True,
            **(kwargs | {"_instantiator": None, "_class_path": None}),
        )
