"""Patch networks as classifiers of a scene's pixels."""

from __future__ import annotations

import copy
import textwrap
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from hsi_diffusion.classifiers.base import PixelClassifier, array_of, layout_of
from hsi_diffusion.errors import CheckpointError, NotFittedError
from hsi_diffusion.graphs.graph import check_training
from hsi_diffusion.hardware import resolve_precision
from hsi_diffusion.modules import FeatureClassifierModule
from hsi_diffusion.modules.loader import TrainLoader
from hsi_diffusion.networks import NETWORKS
from hsi_diffusion.parts import FOREIGN, check_same_options
from hsi_diffusion.patches import PatchDataset, SeededSampler, collate_batch, gather_patches
from hsi_diffusion.seeding import seeded_layers
from hsi_diffusion.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.classifiers.base import Cube, Layout
    from hsi_diffusion.classifiers.settings import ClassifierSettings, NetworkFactory
    from hsi_diffusion.modules.runtime import Runtime
    from hsi_diffusion.types import PatchBatch

EPOCH_STEPS = 100
"""Steps between two checkpoints and lines of the log."""

CURVE_POINTS = 5
"""Validations of a training whose curve is logged."""

BATCH = 512
"""Patches that are classified at once."""


class NetworkClassifier(PixelClassifier):
    """Trains :class:`~hsi_diffusion.modules.FeatureClassifierModule` on patches of a cube.

    Args:
        settings: The network, and how it learns.
        runtime: Where it computes, logs and writes.
        stage: Name of the training in logs and of its checkpoint; None: neither is kept.
        class_names: Names of the classes.
        seed: Rules initial weights, order of patches, augmentation and dropout.
    """

    kind: ClassVar[str] = "network"

    def __init__(
        self,
        settings: ClassifierSettings,
        runtime: Runtime,
        *,
        stage: str | None = None,
        class_names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = settings
        self.runtime = runtime
        self.stage = stage
        self.class_names = class_names
        self.seed = seed
        self.seen = settings.patch_size
        self.trial_stage: str | None = None
        self.module: FeatureClassifierModule | None = None

    def build(self, layout: Layout, num_classes: int) -> FeatureClassifierModule:
        """The untrained network for a cube whose channels lie like this."""
        settings = self.settings
        names = (
            "learning_rate lr_schedule warmup weight_decay optimizer lr_scheduler label_smoothing "
            "members augmentation"
        )
        options = {name: getattr(settings, name) for name in names.split()}
        network = settings.network
        if isinstance(network, nn.Module):  # every training starts from the weights that were given
            network = copy.deepcopy(network)
        with seeded_layers("initial-weights", "classifier", self.seed):
            return FeatureClassifierModule(
                layout.channels,
                num_classes,
                settings.patch_size,
                timesteps=layout.timesteps,
                angles=layout.angles,
                classifier=network,
                class_names=self.class_names,
                seed=self.seed,
                **options,
            )

    def check(self, layout: Layout, num_classes: int) -> None:
        """See :meth:`PixelClassifier.check`."""
        settings = self.settings
        module = self.build(layout, num_classes)
        trainer = self.runtime.make_trainer(steps=settings.steps, precision=settings.precision)
        parameters = module.classifier.parameters()
        module.optimisation.configure(parameters, trainer, where="classifier.")

    def fit(
        self,
        cube: Cube,
        labels: NDArray[np.integer[Any]],
        pixels: NDArray[np.integer[Any]],
        num_classes: int,
        validation: NDArray[np.integer[Any]] | None = None,
    ) -> Self:
        """See :meth:`PixelClassifier.fit`."""
        settings = self.settings
        check_training(labels, pixels, num_classes, array_of(cube).shape[:2])
        module = self.build(layout_of(cube), num_classes)
        values, device = self._near(cube), self.runtime.device
        patches = PatchDataset(values, pixels, labels, settings.patch_size, settings.padding)
        # a few labels make a tiny dataset: walk through it many times in one epoch
        order = SeededSampler(
            patches, seed=self.seed, samples_per_epoch=settings.batch_size * EPOCH_STEPS
        )
        pinned = device.type == "cuda" and values.device.type == "cpu"
        loader = TrainLoader(patches, settings.batch_size, sampler=order, pin_memory=pinned)
        # a curve is worth its time only where somebody can look at it
        stage = self.stage if validation is None else self.trial_stage
        logger = False if stage is None else self.runtime.logger(stage)
        watched = validation if logger else None
        trainer = self.runtime.make_trainer(
            steps=settings.steps,
            precision=settings.precision,
            gradient_clip=settings.gradient_clip,
            logger=logger,
            checkpoint=None if self.stage is None else self.runtime.checkpoint(self.stage),
            validate_every=None if watched is None else max(1, settings.steps // CURVE_POINTS),
        )
        held_out = None if watched is None else self._batches(cube, labels, watched)
        with warnings.catch_warnings():  # only where a curve is drawn it validates
            warnings.filterwarnings("ignore", "You defined a `validation_step`")
            trainer.fit(module, loader, held_out)
        self.module = module.eval()
        return self

    def _near(self, cube: Cube) -> Tensor:
        """The cube on the card, if it takes at most half of what is free there."""
        values, device = as_tensor(array_of(cube)), self.runtime.device
        if device.type == "cuda" and 2 * values.nbytes <= torch.cuda.mem_get_info(device)[0]:
            values = values.to(device)
        return values

    def _batches(
        self, cube: Cube, labels: NDArray[np.integer[Any]], pixels: NDArray[np.integer[Any]]
    ) -> DataLoader[PatchBatch]:
        """Labelled patches to validate on."""
        settings = self.settings
        patches = PatchDataset(
            array_of(cube), pixels, labels, settings.patch_size, settings.padding
        )
        return DataLoader(patches, batch_size=BATCH, collate_fn=collate_batch)

    def predict(
        self, cube: Cube, pixels: NDArray[np.integer[Any]] | None = None
    ) -> NDArray[np.float32]:
        """See :meth:`PixelClassifier.predict`."""
        module, device = self._fitted(), self.runtime.device
        values = self._near(cube)
        number = values.shape[0] * values.shape[1]
        index = torch.arange(number) if pixels is None else torch.as_tensor(pixels)
        half = resolve_precision(self.settings.precision, device) == "bfloat16"
        dtype = next(module.parameters()).dtype
        found = []
        module.to(device)  # not in inference mode: the weights could never be trained again
        try:
            with (
                torch.inference_mode(),
                torch.autocast(device.type, torch.bfloat16, enabled=half),
            ):
                for batch in torch.split(index, BATCH):
                    patches = gather_patches(
                        values, batch, self.settings.patch_size, self.settings.padding
                    )
                    found.append(module(patches.to(device, dtype)).float().softmax(dim=1).cpu())
        finally:
            module.cpu()
        return torch.cat(found).numpy()

    def trial(self, steps: int, name: str) -> NetworkClassifier:
        """See :meth:`PixelClassifier.trial`: several networks steady a result, one compares."""
        settings = replace(self.settings, members=1, steps=steps)
        one = NetworkClassifier(
            settings, self.runtime, class_names=self.class_names, seed=self.seed
        )
        one.trial_stage = None if self.stage is None else f"{self.stage}-{name}"
        return one

    def describe(self) -> dict[str, Any]:
        """See :meth:`PixelClassifier.describe`."""
        return {"network": type(self._fitted().classifier).__name__, "parameters": self.parameters}

    @property
    def parameters(self) -> int | None:
        """Weights of all networks."""
        return sum(weight.numel() for weight in self._fitted().classifier.parameters())

    def timestep_weights(self, cube: Cube) -> NDArray[np.float32] | None:
        """How much each timestep is trusted at each pixel, (H, W, T); None without a gate."""
        _, timesteps, angles = layout_of(cube)
        if not angles:
            return None
        values = torch.from_numpy(array_of(cube)[:, :, -timesteps:])
        weights = self._fitted().timestep_weights(values)
        return None if weights is None else weights.cpu().numpy()

    def save(self, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """See :meth:`PixelClassifier.save`."""
        del folder
        module = self._fitted()
        settings = {**module.hparams, "augmentation": None}  # it learns no more
        return {"module": settings}, dict(module.classifier.state_dict())

    def load(
        self,
        folder: Path,
        plain: dict[str, Any],
        tensors: dict[str, Tensor],
        *,
        network: NetworkFactory | nn.Module | None = None,
    ) -> Self:
        """See :meth:`PixelClassifier.load`; ``network`` is the one that was saved, if its own."""
        del folder
        settings = {**plain["module"], **({} if network is None else {"classifier": network})}
        require_own(settings["classifier"], "network")
        module = FeatureClassifierModule(**settings)
        saved = plain["module"]["classifier"]
        check_same_options(module.hparams["classifier"], saved, "network", NETWORKS)
        load_weights(module.classifier, tensors, "network")
        self.module = module.eval()
        return self

    def _fitted(self) -> FeatureClassifierModule:
        if self.module is None:
            raise NotFittedError("this network has learned nothing yet: call fit(...) first")
        return self.module


def require_own(part: Any, name: str) -> None:
    """Refuse a part of a saved model that is not the library's and was not given.

    Args:
        part: Plain data of the part, or what was given in its place.
        name: The argument that takes it.

    Raises:
        CheckpointError: Its class is not the library's.
    """
    if isinstance(part, Mapping) and FOREIGN in part:
        raise CheckpointError(
            f"the {name} of this model is a {part[FOREIGN]}, which is not the library's, and "
            f"nothing that a file names is imported: give {name}=... (--{name} of map)"
        )


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Give a network the weights that were saved.

    Args:
        network: The network.
        tensors: Its state.
        name: The argument that takes it where it is not the library's.

    Raises:
        CheckpointError: The weights are those of another network.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        text = textwrap.shorten(str(error), 300)  # it names every weight
        raise CheckpointError(
            f"the saved weights are not those of this {name} ({text}); give the one that was "
            f"saved, {name}=..."
        ) from error


def cross_entropy(probabilities: NDArray[np.float32], classes: NDArray[np.integer[Any]]) -> float:
    """Mean cross-entropy of probabilities (N, K) of the classes 0..K-1, in nats."""
    logs = torch.from_numpy(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)))
    return float(F.nll_loss(logs, torch.from_numpy(classes.astype(np.int64))))
