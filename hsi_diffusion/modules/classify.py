"""Learning the classes of pixels from labelled patches of any cube: bands, components, features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable  # noqa: TC002
from torch import nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from hsi_diffusion.distributed import rank_and_processes
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FittedReduction, Reduction
from hsi_diffusion.features.tiles import evaluating
from hsi_diffusion.metrics import SCALARS, HSIMetrics
from hsi_diffusion.modules.class_checks import check_classes, class_labels
from hsi_diffusion.modules.counts import UnbrokenCounts
from hsi_diffusion.modules.data import PatchDataModule
from hsi_diffusion.modules.divergence import StopOnDivergence
from hsi_diffusion.modules.optimisation import LearningRateSchedule, Optimisation
from hsi_diffusion.modules.plain import JOINED, KEEP_NAN, PlainModule
from hsi_diffusion.modules.pretrained_data import PretrainedFeaturesDataModule
from hsi_diffusion.networks import NETWORKS, Ensemble, SpectralTransformer, build_network
from hsi_diffusion.options import check_at_least
from hsi_diffusion.parts import check_same_options, plain_part, plain_values
from hsi_diffusion.patches import build_augmentation
from hsi_diffusion.patches.augment import AugmentationPart, check_turned_patches
from hsi_diffusion.seeding import generator, joint_batch, own_rows, seeded_layers

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch import Tensor

    from hsi_diffusion.types import PatchBatch

    NetworkPart = Callable[[int, int, int], nn.Module] | nn.Module | str | Mapping[str, Any]
else:  # what a command line offers: its parser knows names and class paths by itself
    NetworkPart = Callable[[int, int, int], nn.Module] | nn.Module


class FeatureClassifierModule(PlainModule):
    """Train a patch classifier, measure it, and predict the class of every pixel.

    The defaults are those of SpectralDiff's published classifier (Chen et al., TGRS 2023): Adam at
    1e-3, constant, no augmentation; use a batch of 64 and ``gradient_clip_val=15`` in the Trainer
    with it. Augmentation, learning-rate schedule, weight decay and label smoothing are options.

    Args:
        in_channels: Channels of a patch (``data.num_bands``).
        num_classes: Number of classes K.
        patch_size: Side P of the patches in pixels.
        timesteps: In how many equal groups the channels lie (``data.timesteps``), for networks that
            treat timesteps apart.
        angles: Whether one spectral angle per timestep stands behind them (``data.angles``).
        classifier: The network: a class or function of channels, classes and patch size that makes
            it, an object, the name of one of :data:`~hsi_diffusion.networks.NETWORKS`, or
            ``{"class_path": "SpectralTransformer", "init_args": {"depth": 5}}``.
        learning_rate: Highest learning rate.
        lr_schedule: ``"constant"`` or ``"cosine"``.
        warmup: Fraction of the training over which the learning rate rises.
        weight_decay: Decoupled weight decay.
        optimizer: Called with the parameters instead of AdamW, such as
            ``functools.partial(torch.optim.SGD, lr=0.01)``; ``learning_rate`` and ``weight_decay``
            then play no part.
        lr_scheduler: Called with the optimiser instead of ``lr_schedule`` and ``warmup``; it
            steps after every optimiser step where the Trainer has ``max_steps`` alone, else after
            every epoch.
        label_smoothing: Fraction of the target that is spread over all classes, in [0, 1).
        members: Train so many networks side by side, each with other initial weights, and average
            their probabilities: so many times the work, steadier with few labels. See
            :class:`~hsi_diffusion.networks.Ensemble`. Ours.
        augmentation: Augmentations and their strengths, see
            :func:`~hsi_diffusion.patches.build_augmentation`; or one of your own, a callable
            ``(images, generator) -> images`` over patches (B, C, P, P).
        class_names: Names of the classes (``data.info.class_names``), under which each one's test
            accuracy is logged, and which a scene must have to be tested; None: not logged, and a
            scene must have as many classes.
        seed: Rules augmentation and dropout. The initial weights come from torch's global
            generator, as in every Lightning module (``L.seed_everything``).

    Raises:
        ConfigurationError: A setting is outside what is allowed.

    Attributes:
        val_metrics: Counts of the validation pixels, see
            :class:`~hsi_diffusion.metrics.HSIMetrics`.
        test_metrics: Counts of the test pixels.
        transform: The fitted band transform of the scene whose patches the module learned; None
            before, and where it learned features. Saved in checkpoints, and used by a data module
            that the Trainer gives to this module, in place of one of its own.
        wavelengths: Band centres in nm of that scene; None where unknown.
        reduction: Likewise the fitted reduction of a :class:`PretrainedFeaturesDataModule`.
    """

    learner: ClassVar[str] = "this classifier"

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int,
        *,
        timesteps: int = 1,
        angles: bool = False,
        classifier: NetworkPart = SpectralTransformer,
        learning_rate: float = 1e-3,
        lr_schedule: LearningRateSchedule = "constant",
        warmup: float = 0.0,
        weight_decay: float = 0.0,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        label_smoothing: float = 0.0,
        members: int = 1,
        augmentation: AugmentationPart | None = None,
        class_names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.optimisation = Optimisation(
            learning_rate=learning_rate,
            lr_schedule=lr_schedule,
            warmup=warmup,
            weight_decay=weight_decay,
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
        )
        if not 0 <= label_smoothing < 1:
            raise ConfigurationError(
                f"label_smoothing must be from 0 to below 1, got {label_smoothing}"
            )
        check_at_least(1, members=members)
        if members > 1 and isinstance(classifier, nn.Module):
            raise ConfigurationError(
                f"members={members} networks start from weights of their own, so classifier must "
                "be a class or function that makes one; got an object"
            )
        class_names = None if class_names is None else list(class_names)
        if class_names is not None and len(class_names) != num_classes:
            raise ConfigurationError(
                f"class_names must name {num_classes} classes, got {len(class_names)}"
            )
        check_turned_patches(patch_size, augmentation)
        self.reduction: FittedReduction | None = None
        self.seed = seed
        self.num_classes = num_classes
        self.class_names = class_names
        self.label_smoothing = label_smoothing
        sizes: dict[str, Any] = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "patch_size": patch_size,
            "timesteps": timesteps,
            "angles": angles,
        }
        networks = [build_network(classifier, **sizes) for _ in range(members)]
        self.classifier = networks[0] if members == 1 else Ensemble(networks)
        self._made_with = plain_part(networks[0], NETWORKS)
        self.augment = build_augmentation(augmentation)
        self.val_metrics = HSIMetrics(num_classes)
        self.val_loss = MeanMetric(KEEP_NAN)
        self.test_metrics = HSIMetrics(num_classes)
        self.save_hyperparameters(
            {
                **sizes,
                "classifier": plain_part(networks[0], NETWORKS, **sizes),
                **self.optimisation.plain(),
                "label_smoothing": label_smoothing,
                "members": members,
                "augmentation": plain_values(augmentation),
                "class_names": class_names,
                "seed": int(seed),
            }
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits of shape (B, K) for patches of shape (B, in_channels, P, P).

        Raises:
            ConfigurationError: The network gives something else, or the patches don't fit it.
        """
        return self._checked(self.classifier(image), image)

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """Cross-entropy of the labelled centre pixels; 0 where there are none."""
        batch = self.usable(batch, "label")
        place = (self.seed, self.global_step, batch_idx)
        random = generator("classifier-augmentation", *place, 0, device=self.device)
        share = rank_and_processes()
        image = own_rows(self.augment(joint_batch(batch["image"], *share), random), *share)
        # dropout alone depends on the number of processes: layers draw for the rows that they see
        with seeded_layers("classifier-dropout", *place, self.global_rank, device=self.device):
            try:
                logits = self._member_logits(image)
            except ValueError as error:
                if "value per channel" not in str(error):  # BatchNorm's words
                    raise
                raise ConfigurationError(
                    f"a training batch of {len(image)} patch is too small for BatchNorm: take a "
                    "larger batch_size, and drop_last=True in a loader of your own"
                ) from error
        labels = batch["label"].repeat(len(logits))
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(),
            labels,
            ignore_index=-1,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        # a batch without a label has a loss too: of several processes all go through the network
        loss = losses / (labels >= 0).sum().clamp(min=1)
        # a progress bar reads what it shows at every step: a card would wait
        shown = self.device.type == "cpu"
        self.log("train/loss", loss.detach(), prog_bar=shown, sync_dist=True)
        return loss

    def usable(self, batch: Any, *needed: str) -> PatchBatch:
        """A batch of any loader, see :meth:`PlainModule.usable`, with labels as int64.

        Raises:
            ConfigurationError: It is no such batch, or, on a CPU, a label is no class.
        """
        found = super().usable(batch, *needed)
        if "label" in needed:
            found["label"] = class_labels(
                found["label"], patches=len(found["image"]), num_classes=self.num_classes
            )
        return found

    def on_validation_start(self) -> None:
        """Refuse a scene of other classes."""
        self._check_classes()

    def on_test_start(self) -> None:
        """Refuse a scene of other classes."""
        self._check_classes()

    def on_validation_epoch_start(self) -> None:
        """Start new counts; at the end it would be too early, in another inference mode."""
        super().on_validation_epoch_start()
        self.val_metrics.reset()
        self.val_loss.reset()

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Count the validation pixels; ``val/loss`` is their mean cross-entropy."""
        del batch_idx
        batch = self.usable(batch, "label")
        logits = self._count(self.val_metrics, batch)
        labelled = batch["label"] >= 0
        losses = F.cross_entropy(logits.float(), batch["label"], ignore_index=-1, reduction="none")
        if labelled.any():
            self.val_loss.update(losses[labelled])

    def on_validation_epoch_end(self) -> None:
        """Log the figures over all validation pixels of all processes."""
        self._log_figures("val", self.val_metrics)
        self.log("val/loss", self.val_loss.compute(), prog_bar=True, **JOINED)

    def on_test_epoch_start(self) -> None:
        """Forget the counts of an earlier test."""
        self.test_metrics.reset()

    def test_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Count the test pixels."""
        del batch_idx
        self._count(self.test_metrics, self.usable(batch, "label"))

    def on_test_epoch_end(self) -> None:
        """Log the figures over all test pixels; ``test_metrics`` keeps them until the next test."""
        figures = self._log_figures("test", self.test_metrics)
        if self.class_names is not None:
            accuracies = figures["per_class_accuracy"].tolist()
            for name, accuracy in zip(self.class_names, accuracies, strict=True):
                self.log(f"test/accuracy/{name}", accuracy, **JOINED)

    def predict_step(self, batch: PatchBatch, batch_idx: int) -> dict[str, Tensor]:
        """Classes and their probabilities.

        Returns:
            ``index`` int64 (B,), flat pixel numbers (-1 fills the last batch); ``prediction`` int64
            (B,), classes 0..K-1; ``probability`` float32 (B,), of the predicted class;
            ``probabilities`` float32 (B, K), of all classes.
        """
        del batch_idx
        batch = self.usable(batch, "index")
        probabilities = self(batch["image"]).float().softmax(dim=1)
        probability, prediction = probabilities.max(dim=1)
        return {
            "index": batch["index"],
            "prediction": prediction,
            "probability": probability,
            "probabilities": probabilities,
        }

    @torch.no_grad()
    def timestep_weights(self, angles: Tensor) -> Tensor | None:
        """How much the classifier trusts each timestep at each pixel of a scene.

        Args:
            angles: The spectral angles of the whole scene, shape (H, W, T).

        Returns:
            float32, shape (H, W, T), of sum 1 over T; None for a classifier that has no gate.
        """
        classifier = self.classifier
        networks = classifier.members if isinstance(classifier, Ensemble) else [classifier]
        gates = [gate for network in networks if (gate := getattr(network, "gate", None))]
        if not gates:
            return None
        image = angles.permute(2, 0, 1)[None].to(self.device)
        with evaluating(self):
            weights = torch.stack([gate(image)[0] for gate in gates]).mean(dim=0)
        return weights.permute(1, 2, 0)

    def configure_callbacks(self) -> list[Callback]:
        """Stop where the loss is no number any more, and resume exactly, in any Trainer."""
        return [StopOnDivergence(), UnbrokenCounts()]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save what the network was made with, and what was fitted on the scene."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["classifier"] = self._made_with

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compare the one, and take the other.

        Raises:
            CheckpointError: The network was made with other arguments, though its weights may fit.
        """
        check_same_options(self._made_with, checkpoint["classifier"], "classifier", NETWORKS)
        super().on_load_checkpoint(checkpoint)

    def on_fit_start(self) -> None:
        """Keep the band transform of the scene that is learned, or the reduction of its features.

        The transform of features is that of their denoiser.
        """
        super().on_fit_start()
        data = self.trainer_data()
        if self.reduction is None and isinstance(data, PretrainedFeaturesDataModule):
            # fitted in its setup
            self.reduction = data.reduction if isinstance(data.reduction, FittedReduction) else None

    def fitted_state(self) -> dict[str, Any]:
        """What was fitted on the scene that was learned, as plain data and tensors."""
        state = super().fitted_state()
        if self.reduction is not None:
            settings, tensors = asdict(self.reduction.settings), self.reduction.tensors()
            state["reduction"] = {"settings": settings, "tensors": tensors}
        return state

    def take_fitted(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`fitted_state` gave, where it stands in a mapping."""
        super().take_fitted(state)
        if "reduction" in state:
            found = state["reduction"]
            settings = Reduction(**found["settings"])
            self.reduction = FittedReduction.from_tensors(settings, found["tensors"])

    def give_fitted(self) -> None:
        """Have the Trainer's data module use what the module learned with."""
        super().give_fitted()
        data = self.trainer_data()
        if self.reduction is not None and isinstance(data, PretrainedFeaturesDataModule):
            data.use_reduction(self.reduction)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW (Adam without weight decay) with a schedule per step, or the user's own."""
        return self.optimisation.configure(self.classifier.parameters(), self.trainer)

    def _member_logits(self, image: Tensor) -> Tensor:
        """Logits of every network by itself, shape (members, B, K)."""
        if isinstance(self.classifier, Ensemble):
            found = self.classifier.member_logits(image)
            self._checked(found[0], image)
            return found
        logits: Tensor = self(image)
        return logits[None]

    def _checked(self, logits: Tensor, image: Tensor) -> Tensor:
        """Logits, if a network of the user's gives them as it should."""
        wanted = (image.shape[0], self.num_classes)  # torch.export would fix len(image)
        if (shape := getattr(logits, "shape", None)) != wanted:
            found = type(logits).__name__ if shape is None else f"shape {tuple(shape)}"
            raise ConfigurationError(
                f"classifier must give logits of shape {wanted} for {wanted[0]} patches and "
                f"num_classes={self.num_classes}, but {type(self.classifier).__name__} gave {found}"
            )
        return logits

    def _check_classes(self) -> None:
        data = self.trainer_data()
        if isinstance(data, PatchDataModule):
            check_classes(data.info, self.num_classes, self.class_names)

    def _count(self, metrics: HSIMetrics, batch: PatchBatch) -> Tensor:
        logits: Tensor = self(batch["image"])
        metrics.update(logits, batch["label"])
        return logits

    def _log_figures(self, stage: str, metrics: HSIMetrics) -> dict[str, Tensor]:
        figures = metrics.compute()
        self.log_dict(
            {f"{stage}/{name}": figures[name].float() for name in SCALARS},
            prog_bar=stage == "val",
            **JOINED,
        )
        return figures
