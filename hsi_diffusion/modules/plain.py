"""Base of both Lightning modules: what they keep of a scene, the learning rate, and batches."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final, Self, cast

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from hsi_diffusion.distributed import rank_and_processes
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.modules.scene_data import SceneDataModule
from hsi_diffusion.patches import transform_from_state
from hsi_diffusion.scenes.wavelengths import check_wavelengths

if TYPE_CHECKING:
    from pathlib import Path

    from hsi_diffusion.modules.optimisation import Optimisation
    from hsi_diffusion.patches import BandTransform
    from hsi_diffusion.scenes import SceneInfo
    from hsi_diffusion.types import PatchBatch

FITTED: Final = "fitted"
"""Name in a state's metadata of what was fitted on the scene."""

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
        transform: The fitted band transform of the scene that the module learns or learned on; None
            before. It is saved in the module's checkpoints, and a data module that the Trainer
            gives to this module uses it and fits none of its own.
        wavelengths: Band centres in nm of that scene; None where unknown. Saved likewise.
    """

    learner: ClassVar[str] = "this module"
    """What the module is called where it is told on which scene it learned."""

    optimisation: Optimisation

    def __init__(self) -> None:
        super().__init__()
        self.transform: BandTransform | None = None
        self.wavelengths: tuple[float, ...] | None = None
        untyped: Any = self
        untyped.register_state_dict_post_hook(_note_fitted)
        untyped.register_load_state_dict_pre_hook(_take_fitted)

    @property
    def learning_rate(self) -> float:
        """Highest learning rate; Lightning's ``Tuner.lr_find`` sets it.

        An optimiser of one's own has a rate of its own: setting this one warns of that.
        """
        return self.optimisation.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        if self.optimisation.own["optimizer"] is not None:
            warnings.warn(
                f"learning_rate={rate:.3g} has no effect on the optimiser of your own, which is "
                f"made anew for every training: give its class this rate, such as "
                f"optimizer=functools.partial(torch.optim.SGD, lr={rate:.3g})",
                stacklevel=2,
            )
        self.optimisation.learning_rate = self.hparams["learning_rate"] = rate

    def setup(self, stage: str) -> None:
        """Give a data module that is set up already what the module learned with."""
        del stage
        self.give_fitted()

    def on_fit_start(self) -> None:
        """Keep the band transform of the scene that is learned."""
        data = self.trainer_data()
        if self.transform is None and isinstance(data, SceneDataModule):
            self.learns(data)

    @torch.no_grad()
    def on_validation_epoch_start(self) -> None:
        """Have all processes measure the first one's network, which checkpoints hold.

        BatchNorm's means are those of a process's own patches. DDP shares them before it looks at
        the first batch, but not in the middle of accumulated gradients.
        """
        if rank_and_processes()[1] == 1 or self.trainer.world_size == 1:
            return
        for buffer in self.buffers():
            if buffer.is_floating_point():
                values = buffer.contiguous()
                dist.broadcast(values, src=0)
                buffer.copy_(values)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what was fitted on the scene with the module."""
        checkpoint.update(self.fitted_state())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what the checkpoint holds of it, and give it to the Trainer's data module."""
        self.take_fitted(checkpoint)
        self.give_fitted()

    def trainer_data(self) -> L.LightningDataModule | None:
        """The Trainer's data module; None without one."""
        return getattr(self._trainer, "datamodule", None)

    def learns(self, data: SceneDataModule) -> None:
        """Keep the band transform of a scene, and the wavelengths of its bands."""
        self.transform, self.wavelengths = data.transform, data.info.wavelengths

    def fitted_state(self) -> dict[str, Any]:
        """What was fitted on the scene that was learned, as plain data and tensors."""
        if self.transform is None:
            return {}
        return {"transform": self.transform.state_dict(), "wavelengths": self.wavelengths}

    def take_fitted(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`fitted_state` gave, where it stands in a mapping."""
        if "transform" in state:
            self.transform = transform_from_state(state["transform"])
            self.wavelengths = state.get("wavelengths")

    def give_fitted(self) -> None:
        """Have the Trainer's data module use what the module learned with."""
        data = self.trainer_data()
        if self.transform is not None and isinstance(data, SceneDataModule):
            self.check_bands(data.info)
            data.use_transform(self.transform)

    def check_bands(self, scene: SceneInfo) -> None:
        """Refuse a scene of another sensor with as many bands as the one that was learned.

        Raises:
            SceneError: Its wavelengths are others.
        """
        if self.transform is not None and self.transform.num_bands == scene.bands:
            check_wavelengths(
                scene.wavelengths, self.wavelengths, what=self.learner,
                source=self.transform.fitted_on,
            )  # fmt: skip

    def usable(self, batch: Any, *needed: str) -> PatchBatch:
        """A batch of any loader, with patches in the dtype of the weights.

        Not by Lightning's hook for it, of whose use with a data module it warns.

        Args:
            batch: What the loader gave.
            *needed: What it has to hold beside "image".

        Raises:
            ConfigurationError: It is no such batch.
        """
        found = batch if isinstance(batch, Mapping) else {}
        missing = [
            key for key in ("image", *needed) if not isinstance(found.get(key), torch.Tensor)
        ]
        if missing:
            kind = type(batch).__name__
            held = ", ".join(f"{key} ({type(value).__name__})" for key, value in found.items())
            raise ConfigurationError(
                'a batch must be a dict of tensors that holds "image", patches (B, C, P, P); '
                '"index", flat pixel numbers (B,), to validate a pretraining and to predict; and '
                f'"label", classes from 0 (B,), to learn and measure classes; got a {kind}'
                + (f" of {held}" if held else "")
                + f" without {' and '.join(missing)}: have the dataset give them, or give the "
                "loader a collate_fn that makes such dicts"
            )
        weights = (one.dtype for one in self.parameters() if one.is_floating_point())
        dtype = next(weights, torch.float32)
        return cast("PatchBatch", {**batch, "image": batch["image"].to(dtype)})

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


def _note_fitted(module: PlainModule, state: Any, prefix: str, local_metadata: Any) -> None:
    """Put what was fitted beside the weights that a launched process leaves to the main one.

    ``ddp_spawn`` and ``ddp_fork`` train in processes of their own, and bring back the weights
    alone. Not among them, so that their names stay as they are; and not in other states, since
    weights may be meant for another scene.
    """
    del state, prefix
    strategy = getattr(module._trainer, "strategy", None)
    if isinstance(getattr(strategy, "launcher", None), _MultiProcessingLauncher):
        local_metadata[FITTED] = module.fitted_state()


def _take_fitted(
    module: PlainModule, state: Any, prefix: str, local_metadata: Mapping[str, Any], *_: Any
) -> None:
    """Take it in the main process."""
    del state, prefix
    if module.transform is None:
        module.take_fitted(local_metadata.get(FITTED, {}))
