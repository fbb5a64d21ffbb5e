"""Learning a scene without labels: train a denoiser on its patches."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable  # noqa: TC002
from torch import nn
from torchmetrics import MeanMetric

from hsi_diffusion.denoisers import DENOISERS, DenoiserPart, UNet3D, build_denoiser
from hsi_diffusion.diffusion import (
    SCHEDULES,
    DenoisingLoss,
    Loss,
    NoiseSchedulePart,
    build_schedule,
    check_prediction,
)
from hsi_diffusion.distributed import rank_and_processes
from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.features import compute_features, feature_settings, restored_scenes
from hsi_diffusion.modules.contrast import ContrastSettings, build_contrast, plain_contrast
from hsi_diffusion.modules.counts import UnbrokenCounts
from hsi_diffusion.modules.divergence import StopOnDivergence
from hsi_diffusion.modules.draws import fixed_draws
from hsi_diffusion.modules.optimisation import (
    ExponentialAverage,
    LearningRateSchedule,
    Optimisation,
)
from hsi_diffusion.modules.plain import JOINED, KEEP_NAN, PlainModule
from hsi_diffusion.parts import check_same_options, plain_part, plain_values
from hsi_diffusion.patches import build_augmentation
from hsi_diffusion.patches.augment import AugmentationPart  # noqa: TC001 - read by parsers
from hsi_diffusion.seeding import generator, joint_batch, own_rows, seeded_layers
from hsi_diffusion.types import PredictionKind, TrainingTask  # noqa: TC001  (read by the command line's parser)

if TYPE_CHECKING:
    import numpy as np
    from lightning.pytorch import Callback
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.features import (
        FeatureCube,
        FeatureSettings,
        FeatureStore,
        FittedReduction,
        Reduction,
    )
    from hsi_diffusion.types import PatchBatch


class DiffusionPretrainModule(PlainModule):
    """Train a denoiser on noised patches of a scene.

    Each step draws a timestep and noise per patch, x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise,
    and compares the network's output with what it should predict. Timesteps and noise are named by
    (seed, step, batch), so a resumed run continues exactly. Validation uses fixed noise per pixel
    number and timesteps drawn evenly, so its loss compares across epochs and numbers of processes.

    With ``contrast``, a step is as DiffCRN's (Zhu & Xu, arXiv 2502.19699; its views, levels and
    weights are ours): each patch becomes two views with timesteps and noise of their own, the
    network denoises both, and their features at one level are contrasted. Such a step costs twice.
    Validation stays the denoising loss: a contrast depends on what else is in the batch, so it
    would compare neither across batch sizes nor across numbers of processes.

    The defaults are SpectralDiff's published recipe (Chen et al., TGRS 2023): T = 500, linear betas
    1e-4 .. 0.02, noise prediction, L1, Adam at 1e-4.

    Args:
        num_bands: Bands (or components) of the patches.
        denoiser: The network: a class or function of the number of bands that makes it, an object,
            the name of one of :data:`~hsi_diffusion.denoisers.DENOISERS`, or
            ``{"class_path": "UNet3D", "init_args": {"base_channels": 8}}``.
        schedule: The noise schedule, also as plain data; None: ``NoiseSchedule()``.
        prediction: What the network predicts: ``"noise"``, ``"x0"`` or ``"v"``.
        losses: Weight of each part of the loss: ``"l1"``, ``"l2"``, ``"lae"``; or, under a name of
            its own, a loss of yours, a callable ``(output, target) -> scalar``. See
            :class:`~hsi_diffusion.diffusion.DenoisingLoss`; None: L1.
        lae_scale: The scale of :func:`~hsi_diffusion.diffusion.lae`.
        contrast: What is contrasted, or some of the settings' keys, such as ``{"instance": 0.1,
            "cluster": 0, "cell": 4}``; ``{}`` has all defaults. None, or both weights 0: no
            contrast. The head is trained along and is no part of the average.
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
        ema_decay: Keep an exponential average of the weights, and take features from it; None: off.
            It follows a Trainer's automatic optimisation, and no loop of your own.
        augmentation: Augmentations and their strengths, see
            :func:`~hsi_diffusion.patches.build_augmentation`; among them, or in their place, your
            own, callables ``(images, generator) -> images`` over patches (B, C, P, P).
        seed: Rules the noise, the timesteps and the augmentation. The initial weights come from
            torch's global generator, as in every Lightning module (``L.seed_everything``).

    Raises:
        ConfigurationError: A setting is outside what is allowed, or parts don't fit each other.

    Attributes:
        transform: The fitted band transform of the scene that the module learns or learned on; None
            before. It is saved in the module's checkpoints, and a data module that the Trainer
            gives to this module uses it and fits none of its own.
        wavelengths: Band centres in nm of that scene; None where unknown. Saved likewise.
    """

    task: ClassVar[TrainingTask] = "pretrain"
    """What a data module's training batches are for, unless its ``task`` is given."""

    learner: ClassVar[str] = "this denoiser"

    def __init__(
        self,
        num_bands: int,
        *,
        denoiser: DenoiserPart = UNet3D,
        schedule: NoiseSchedulePart = None,
        prediction: PredictionKind = "noise",
        losses: Mapping[str, float | Loss] | None = None,
        lae_scale: float = 1.0,
        contrast: ContrastSettings | dict[str, Any] | None = None,
        learning_rate: float = 1e-4,
        lr_schedule: LearningRateSchedule = "constant",
        warmup: float = 0.0,
        weight_decay: float = 0.0,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        ema_decay: float | None = None,
        augmentation: AugmentationPart | None = None,
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
        check_prediction(prediction)
        self.prediction: PredictionKind = prediction
        self.seed = seed
        self.denoiser = build_denoiser(denoiser, num_bands)
        self.average = None if ema_decay is None else ExponentialAverage(self.denoiser, ema_decay)
        self.schedule = build_schedule(schedule)
        self.loss = DenoisingLoss({"l1": 1.0} if losses is None else losses, lae_scale=lae_scale)
        self.augment = build_augmentation(augmentation)
        # means that weigh every patch the same on any number of processes
        self.means = nn.ModuleDict({name: MeanMetric(KEEP_NAN) for name in self.loss.names})
        # last, so that the denoiser starts from the same weights with and without it
        self.contrast = build_contrast(contrast, self.denoiser)
        # what weights mean nothing without, in full
        self._made_with: dict[str, Any] = {
            "denoiser": plain_part(self.denoiser, DENOISERS),
            "schedule": plain_part(self.schedule, SCHEDULES),
            "prediction": prediction,
        }
        self.save_hyperparameters(
            {
                "num_bands": num_bands,
                "denoiser": plain_part(self.denoiser, DENOISERS, num_bands=num_bands),
                "schedule": plain_part(self.schedule, SCHEDULES),
                "prediction": prediction,
                "losses": plain_values(losses),
                "lae_scale": lae_scale,
                "contrast": plain_contrast(contrast),
                **self.optimisation.plain(),
                "ema_decay": ema_decay,
                "augmentation": plain_values(augmentation),
                "seed": int(seed),
            }
        )

    @property
    def trained_denoiser(self) -> Denoiser:
        """The network that features come from: the average, in evaluation mode, if there is one."""
        if self.average is None:
            return self.denoiser
        return cast("Denoiser", self.average.network.eval())

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The trained network's prediction.

        Args:
            x_t: Noisy patches, shape (B, bands, H, W).
            t: Timesteps, int64, shape (B,).

        Returns:
            Shape of ``x_t``.
        """
        return self.trained_denoiser(x_t, t)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the band transform with the module, the wavelengths of its bands, and its parts."""
        super().on_save_checkpoint(checkpoint)
        checkpoint.update(self._made_with)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the band transform of the checkpoint, and give it to the Trainer's data module.

        Raises:
            CheckpointError: The denoiser or the schedule was made with other arguments, or the
                network predicts something else, though its weights may fit.
        """
        # hyperparameters don't tell: those that are given stand there by now
        for name, known in (("denoiser", DENOISERS), ("schedule", SCHEDULES)):
            check_same_options(self._made_with[name], checkpoint[name], name, known)
        if checkpoint["prediction"] != self.prediction:
            raise CheckpointError(
                f"prediction must be {checkpoint['prediction']!r}, which the network was trained "
                f"for, got {self.prediction!r}"
            )
        super().on_load_checkpoint(checkpoint)

    def on_fit_start(self) -> None:
        """Keep the band transform of the scene that is learned."""
        super().on_fit_start()
        if self.average is not None and not self.automatic_optimization:
            raise ConfigurationError(
                "ema_decay must be None where automatic_optimization is False: average the weights "
                "of such a training by a callback of yours, or features would come from weights "
                f"that were never averaged; got {self.average.decay}"
            )
        if self.average is not None:  # features were taken: Lightning would warn of its mode
            self.average.train(self.training)

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """One step on noised patches."""
        batch = self.usable(batch)
        place = (self.seed, self.global_step, batch_idx, 0)
        random = generator("pretrain", *place, device=self.device)
        share = rank_and_processes()
        x0 = self.augment(joint_batch(batch["image"], *share), random)
        if self.contrast is not None:
            x0 = torch.cat(self.contrast.views(x0, random))
        t = torch.randint(self.schedule.timesteps, (len(x0),), generator=random, device=self.device)
        noise = torch.randn(x0.shape, generator=random, device=self.device, dtype=x0.dtype)
        # the dropout of a denoiser of the user's, for the rows that this process sees
        with seeded_layers("denoiser-dropout", *place, self.global_rank, device=self.device):
            parts = self._training_parts(*(own_rows(values, *share) for values in (x0, t, noise)))
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in parts.items()},
            prog_bar=self.device.type == "cpu",  # it is read at every step: a card would wait
            sync_dist=True,  # that of the whole batch, on any number of processes
        )
        return parts["loss"]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and take the new weights into the average.

        Here and not at the end of the batch: once per step, however many batches it took, and
        before a checkpoint of this step is written.
        """
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.denoiser)

    def on_validation_epoch_start(self) -> None:
        """Start new means; at the end it would be too early, in another inference mode."""
        super().on_validation_epoch_start()
        for mean in self.means.values():
            cast("MeanMetric", mean).reset()

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Loss on held-out patches, whose noise and timesteps never change."""
        del batch_idx
        batch = self.usable(batch, "index")
        real = batch["index"] >= 0
        x0, index = batch["image"][real], batch["index"][real]
        if not len(index):  # nothing but the filling of the last batch
            return
        t, noise = fixed_draws(self.seed, self.schedule.timesteps, index, x0)
        for name, value in self._parts(self.trained_denoiser, x0, t, noise).items():
            cast("MeanMetric", self.means[name]).update(value, len(index))

    def on_validation_epoch_end(self) -> None:
        """Log the loss and its parts over all held-out patches of all processes."""
        self._log_means("val")

    def on_test_epoch_start(self) -> None:
        """Start new means."""
        self.on_validation_epoch_start()

    def test_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """The validation's loss, on the patches that the data module gives for the test."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the loss and its parts over all test patches of all processes."""
        self._log_means("test")

    def predict_step(self, batch: PatchBatch, batch_idx: int) -> dict[str, Tensor]:
        """Restore each patch's centre from a tenth of the way to noise, without noise of its own.

        For other timesteps, and with all that the network can see, use :meth:`restore` on the whole
        scene; for features :meth:`extract_features`.

        Returns:
            ``index`` int64 (B,), flat pixel numbers (-1 fills the last batch); ``restored`` float32
            (B, bands), the spectra as the data module's transform made them.
        """
        del batch_idx
        batch = self.usable(batch, "index")
        image = batch["image"]
        t = torch.full((len(image),), self.schedule.timesteps // 10, device=image.device)
        x_t = self.schedule.q_sample(image, t, torch.zeros_like(image))
        output = self(x_t, t).to(image.dtype)
        restored = self.schedule.predict_x0(x_t, t, output, self.prediction)
        row, column = image.shape[2] // 2, image.shape[3] // 2
        return {"index": batch["index"], "restored": restored[:, :, row, column].float()}

    def configure_callbacks(self) -> list[Callback]:
        """Stop where the loss is no number any more, and resume exactly, in any Trainer."""
        return [StopOnDivergence(), UnbrokenCounts()]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW (Adam without weight decay) with a schedule per step, or the user's own."""
        head = () if self.contrast is None else self.contrast.parameters()
        return self.optimisation.configure(chain(self.denoiser.parameters(), head), self.trainer)

    def extract_features(
        self,
        cube: Tensor,
        settings: FeatureSettings | None = None,
        *,
        reduction: Reduction | FittedReduction | None = None,
        angles: bool = False,
        valid: NDArray[np.bool_] | None = None,
        store: FeatureStore | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> FeatureCube:
        """Features of a whole scene, see :func:`~hsi_diffusion.features.compute_features`.

        Args:
            cube: float32, shape (H, W, bands), transformed as for training (``data.cube``).
            settings: Timesteps, levels, noise and tiles; None: made from ``options``.
            reduction: How to reduce the channels, or a reduction that is fitted already; None keeps
                them all.
            angles: Append the spectral angles between the scene and what the denoiser restores.
            valid: Which pixels hold data (``data.valid``); the reduction is fitted on them.
            store: Keeps the result in a file and finds it there the next time.
            device: Where to compute; None: where the module is.
            **options: Fields of :class:`~hsi_diffusion.features.FeatureSettings`.

        Returns:
            The feature cube, (H, W, D).
        """
        return compute_features(
            self.trained_denoiser,
            self.schedule,
            cube,
            feature_settings(settings or options),
            reduction=reduction,
            angles=self.prediction if angles else None,
            valid=valid,
            store=store,
            device=device or self.device,
        )

    def restore(
        self,
        cube: Tensor,
        settings: FeatureSettings | None = None,
        *,
        valid: NDArray[np.bool_] | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Tensor:
        """A whole scene as the denoiser restores it from each timestep.

        See :func:`~hsi_diffusion.features.restored_scenes`.

        Args:
            cube: float32, shape (H, W, bands), transformed as for training (``data.cube``).
            settings: Timesteps, noise and tiles; None: made from ``options``.
            valid: Which pixels hold data, shape (H, W); None: all.
            device: Where to compute; None: where the module is.
            **options: Fields of :class:`~hsi_diffusion.features.FeatureSettings`.

        Returns:
            float32, shape (T, H, W, bands).

        Raises:
            ConfigurationError: The cube's bands or a timestep don't fit, or a pixel with data holds
                nan or infinity.
        """
        return restored_scenes(
            self.trained_denoiser,
            self.schedule,
            cube,
            feature_settings(settings or options),
            prediction=self.prediction,
            valid=valid,
            device=device or self.device,
        )

    def _log_means(self, stage: str) -> None:
        for name, mean in self.means.items():
            self.log(f"{stage}/{name}", cast("MeanMetric", mean).compute(), prog_bar=True, **JOINED)

    def _training_parts(self, x0: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """The total ``loss`` and its parts by name; with contrast, ``x0`` are two views."""
        if self.contrast is None:
            return self._parts(self.denoiser, x0, t, noise)
        output, (features,) = self.denoiser.forward_with_features(
            self.schedule.q_sample(x0, t, noise), t, [self.contrast.level]
        )
        parts = self._compare(output, x0, t, noise)
        contrasts = self.contrast(features)
        return parts | contrasts | {"loss": parts["loss"] + contrasts["loss"]}

    def _parts(self, denoiser: Denoiser, x0: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """The denoising ``loss`` and its parts by name."""
        return self._compare(denoiser(self.schedule.q_sample(x0, t, noise), t), x0, t, noise)

    def _compare(self, output: Tensor, x0: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        target = self.schedule.target(x0, noise, t, self.prediction)
        parts: dict[str, Tensor] = self.loss(output.to(target.dtype), target)
        return parts
