"""Learning a scene without labels: train a denoiser on its patches."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import lightning as L
import torch
from torch import nn
from torchmetrics import MeanMetric

from hsi_diffusion.denoisers import build_denoiser
from hsi_diffusion.diffusion import DenoisingLoss, NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings, compute_features, restored_scenes
from hsi_diffusion.modules.contrast import build_contrast
from hsi_diffusion.modules.draws import FixedDraws
from hsi_diffusion.modules.joined import JOINED
from hsi_diffusion.modules.optimisation import (
    ExponentialAverage,
    LearningRateSchedule,
    adamw,
    check_optimisation,
)
from hsi_diffusion.patches import build_augmentation
from hsi_diffusion.seeding import generator

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import ScheduleKind
    from hsi_diffusion.features import FeatureCube, FeatureStore, Reduction
    from hsi_diffusion.types import PatchBatch, Prediction


class DiffusionPretrainModule(L.LightningModule):
    """Train a denoiser on noised patches of a scene.

    Each step draws a timestep and noise per patch, x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise,
    and compares the network's output with what it should predict. Timesteps and noise are named by
    (seed, step, rank), so a resumed run continues exactly. Validation uses fixed noise per pixel
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
        denoiser: Name of the network, see :func:`~hsi_diffusion.denoisers.build_denoiser`.
        denoiser_options: Its arguments, such as ``{"base_channels": 8}``.
        timesteps: Number of steps T.
        schedule: ``"linear"`` or ``"cosine"``.
        beta_start: First beta of the linear schedule.
        beta_end: Last beta of the linear schedule.
        rescale: Multiply both betas by 1000 / T; wanted for sampling from noise.
        prediction: What the network predicts: ``"noise"``, ``"x0"`` or ``"v"``.
        losses: Weight of each part of the loss: ``"l1"``, ``"l2"``, ``"lae"``.
        lae_scale: The scale of :func:`~hsi_diffusion.diffusion.lae`.
        contrast: Keys of :class:`~hsi_diffusion.modules.ContrastSettings`, such as
            ``{"instance": 0.1, "cluster": 0, "cell": 4}``; ``{}`` has all defaults. None, or both
            weights 0: no contrast. The head is trained along and is no part of the average.
        learning_rate: Highest learning rate.
        lr_schedule: ``"constant"`` or ``"cosine"``.
        warmup: Share of the training over which the learning rate rises.
        weight_decay: Decoupled weight decay.
        ema_decay: Keep an exponential average of the weights, and take features from it; None: off.
        augmentation: Augmentations and their strengths, see
            :func:`~hsi_diffusion.patches.build_augmentation`.
        seed: Rules the noise, the timesteps and the augmentation. The initial weights come from
            torch's global generator, as in every Lightning module (``L.seed_everything``).
    """

    def __init__(
        self,
        num_bands: int,
        *,
        denoiser: str = "unet3d",
        denoiser_options: dict[str, Any] | None = None,
        timesteps: int = 500,
        schedule: ScheduleKind = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        rescale: bool = False,
        prediction: Prediction = "noise",
        losses: dict[str, float] | None = None,
        lae_scale: float = 1.0,
        contrast: dict[str, Any] | None = None,
        learning_rate: float = 1e-4,
        lr_schedule: LearningRateSchedule = "constant",
        warmup: float = 0.0,
        weight_decay: float = 0.0,
        ema_decay: float | None = None,
        augmentation: dict[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_optimisation(lr_schedule, warmup, learning_rate, weight_decay)
        if prediction not in ("noise", "x0", "v"):
            raise ConfigurationError(f"prediction must be 'noise', 'x0' or 'v', got {prediction!r}")
        self.prediction: Prediction = prediction
        self.seed = seed
        self.denoiser: Denoiser = build_denoiser(denoiser, num_bands, denoiser_options or {})
        self.average = None if ema_decay is None else ExponentialAverage(self.denoiser, ema_decay)
        self.schedule = NoiseSchedule(
            timesteps, schedule, beta_start=beta_start, beta_end=beta_end, rescale=rescale
        )
        self.loss = DenoisingLoss(losses or {"l1": 1.0}, lae_scale=lae_scale)
        self.augment = build_augmentation(augmentation or {})
        # means that weigh every patch the same on any number of processes
        self.val_means = nn.ModuleDict({name: MeanMetric() for name in self.loss.names})
        self._validation_draws = FixedDraws(seed, timesteps)
        # last, so that the denoiser starts from the same weights with and without it
        self.contrast = build_contrast(contrast, self.denoiser)

    @property
    def trained_denoiser(self) -> Denoiser:
        """The network that features come from: the average where there is one."""
        if self.average is None:
            return self.denoiser
        return cast("Denoiser", self.average.network)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The trained network's prediction.

        Args:
            x_t: Noisy patches, shape (B, bands, H, W).
            t: Timesteps, int64, shape (B,).

        Returns:
            Shape of ``x_t``.
        """
        return self.trained_denoiser(x_t, t)

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """One step on noised patches."""
        random = generator(
            "pretrain", self.seed, self.global_step, batch_idx, self.global_rank, device=self.device
        )
        x0 = self.augment(batch["image"], random)
        if self.contrast is not None:
            x0 = torch.cat(self.contrast.views(x0, random))
        t = torch.randint(self.schedule.timesteps, (len(x0),), generator=random, device=self.device)
        noise = torch.randn(x0.shape, generator=random, device=self.device, dtype=x0.dtype)
        parts = self._training_parts(x0, t, noise)
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in parts.items()}, prog_bar=True
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
        for mean in self.val_means.values():
            cast("MeanMetric", mean).reset()

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Loss on held-out patches, whose noise and timesteps never change."""
        del batch_idx
        real = batch["index"] >= 0
        x0, index = batch["image"][real], batch["index"][real]
        if not len(index):  # nothing but the filling of the last batch
            return
        t, noise = self._validation_draws(index, x0)
        for name, value in self._parts(self.trained_denoiser, x0, t, noise).items():
            cast("MeanMetric", self.val_means[name]).update(value, len(index))

    def on_validation_epoch_end(self) -> None:
        """Log the loss and its parts over all held-out patches of all processes."""
        for name, module in self.val_means.items():
            self.log(f"val/{name}", cast("MeanMetric", module).compute(), prog_bar=True, **JOINED)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW (Adam without weight decay) with a schedule per step."""
        settings = self.hparams
        head = () if self.contrast is None else self.contrast.parameters()
        return adamw(
            chain(self.denoiser.parameters(), head),
            learning_rate=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            schedule=settings["lr_schedule"],
            warmup=settings["warmup"],
            total_steps=self.trainer.estimated_stepping_batches,
        )

    def extract_features(
        self,
        cube: Tensor,
        settings: FeatureSettings | None = None,
        *,
        reduction: Reduction | None = None,
        angles: bool = False,
        store: FeatureStore | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> FeatureCube:
        """Features of a whole scene, see :func:`~hsi_diffusion.features.compute_features`.

        Args:
            cube: float32, shape (H, W, bands), transformed as for training (``data.cube``).
            settings: Timesteps, levels, noise and tiles; None: made from ``options``.
            reduction: How to reduce the channels; None keeps them all.
            angles: Append the spectral angles between the scene and what the denoiser restores.
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
            settings or FeatureSettings(**options),
            reduction=reduction,
            angles=self.prediction if angles else None,
            store=store,
            device=device or self.device,
        )

    def restore(
        self,
        cube: Tensor,
        settings: FeatureSettings | None = None,
        *,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> Tensor:
        """A whole scene as the denoiser restores it from each timestep.

        See :func:`~hsi_diffusion.features.restored_scenes`.

        Args:
            cube: float32, shape (H, W, bands), transformed as for training (``data.cube``).
            settings: Timesteps, noise and tiles; None: made from ``options``.
            device: Where to compute; None: where the module is.
            **options: Fields of :class:`~hsi_diffusion.features.FeatureSettings`.

        Returns:
            float32, shape (T, H, W, bands).

        Raises:
            ConfigurationError: The cube's bands or a timestep don't fit.
        """
        return restored_scenes(
            self.trained_denoiser,
            self.schedule,
            cube,
            settings or FeatureSettings(**options),
            prediction=self.prediction,
            device=device or self.device,
        )

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
