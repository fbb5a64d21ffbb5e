"""A classifier of DiffCRN's kind: features of several timesteps, weighed, fused, classified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks.attention import TransformerSizes
from hsi_diffusion.networks.awam import AWAM, WeightedMean
from hsi_diffusion.networks.ctssfm import CTSSFM
from hsi_diffusion.networks.patch_transformer import PatchTransformer, pixel_embedding
from hsi_diffusion.networks.timestep_gate import TimestepGate
from hsi_diffusion.options import check_at_least, check_choice

if TYPE_CHECKING:
    from torch import Tensor

FUSIONS = ("awam+ctssfm", "awam", "ctssfm", "mean")
"""How timesteps become one: CTSSFM that merges by AWAM or by the mean, or only one of the two."""


class TimestepFusion(nn.Module):
    """From the features of T timesteps to one token per pixel.

    A 3x3 convolution, BatchNorm and ReLU on each timestep's features, plus a learned vector per
    timestep; then the fusion, in which the gate's weights, if there is a gate, are the prior.

    Args:
        channels: Channels D of one timestep's features.
        timesteps: Number of timesteps T.
        dim: Channels of a token.
        gate: Weighs the timesteps by the angles that follow the features; None = no angles.
        fusion: Module ``(tokens (B, N, T, dim), log_weights) -> (B, N, dim)``; None for a single
            timestep.
        shared: One convolution for all timesteps, or one for each.
    """

    def __init__(
        self,
        channels: int,
        timesteps: int,
        dim: int,
        *,
        gate: TimestepGate | None,
        fusion: nn.Module | None,
        shared: bool,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.timesteps = timesteps
        self.shared = shared
        self.embed = pixel_embedding(channels, dim, groups=1 if shared else timesteps)
        # a single timestep needs no name
        self.timestep = None if timesteps == 1 else nn.Parameter(0.02 * torch.randn(timesteps, dim))
        self.gate = gate
        self.fusion = fusion

    def forward(self, image: Tensor) -> Tensor:
        """Patches (B, T * D [+ T], P, P) to tokens (B, dim, P, P)."""
        width = image.shape[-1]
        features, angles = self.split(image)
        if self.shared:
            features = rearrange(features, "b (t d) h w -> (b t) d h w", t=self.timesteps)
        embedded: Tensor = self.embed(features)
        if self.fusion is None or self.timestep is None:
            return embedded
        pattern = "(b t) c h w" if self.shared else "b (t c) h w"
        tokens = rearrange(embedded, f"{pattern} -> b (h w) t c", t=self.timesteps)
        tokens = tokens + self.timestep
        log_weights = None
        if self.gate is not None:
            log_weights = rearrange(self.gate.log_weights(angles), "b t h w -> b (h w) t")
        fused: Tensor = self.fusion(tokens, log_weights)
        return rearrange(fused, "b (h w) c -> b c h w", w=width)

    def split(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, T * D, P, P), and the angles behind them: (B, T, P, P), or no channel."""
        cut = self.timesteps * self.channels
        return image[:, :cut], image[:, cut:]


class FusionClassifier(PatchTransformer):
    """Classify the centre pixel of a patch from diffusion features of several timesteps.

    The parts are DiffCRN's by name (Zhu and Xu, arXiv 2502.19699, abstract): a choice of timesteps
    from spectral angles, AWAM, CTSSFM. How they are built and joined is our own, see
    :class:`~hsi_diffusion.networks.TimestepGate`, :class:`~hsi_diffusion.networks.AWAM` and
    :class:`~hsi_diffusion.networks.CTSSFM`; each can be switched off. The fusion is followed by the
    blocks and the head of :class:`~hsi_diffusion.networks.SpectralTransformer`; with one
    timestep and no angles nothing else is left, which makes it the control on raw bands.

    A patch holds the features timestep by timestep, D channels each, as
    :func:`~hsi_diffusion.features.compute_features` gives them, and with ``angles`` T more
    channels, the spectral angles that it appends, for the same timesteps in the same order.

    Args:
        in_channels: Channels of a patch, T * D, or T * D + T with ``angles``.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        timesteps: Number of timesteps T.
        angles: The last T channels are spectral angles in radians, which a gate turns into weights.
        fusion: One of ``"awam+ctssfm"``, ``"awam"``, ``"ctssfm"`` and ``"mean"``. Not used with one
            timestep.
        keep: How many timesteps each pixel keeps (in training in half of the patches, see
            :class:`~hsi_diffusion.networks.TimestepGate`); None keeps all. Needs ``angles``;
            not used with one timestep.
        shared_embedding: One 3x3 convolution for all timesteps. False gives each its own, for
            channels that don't mean the same at every timestep, such as components of
            ``Reduction(..., per_timestep=True)``.

    The other arguments are those of :class:`~hsi_diffusion.networks.SpectralTransformer`;
    CTSSFM has the same ``heads``, ``head_dim`` and ``dropout``.

    Raises:
        ConfigurationError: A size is below 1, the channels can't be cut into timesteps, ``fusion``
            or ``readout`` is unknown, or ``angles`` and ``keep`` don't fit the timesteps.
    """

    embed: TimestepFusion

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int = 11,
        *,
        timesteps: int = 1,
        angles: bool = False,
        fusion: str = "awam+ctssfm",
        keep: int | None = None,
        shared_embedding: bool = True,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        head_dim: int = 16,
        mlp_dim: int = 128,
        dropout: float = 0.1,
        head_dropout: float = 0.1,
        readout: str = "centre",
    ) -> None:
        check_at_least(1, timesteps=timesteps)
        check_choice(FUSIONS, fusion=fusion)
        if angles and timesteps == 1:
            raise ConfigurationError(
                "angles=True weighs timesteps against each other, so timesteps must be at least 2, "
                "got 1"
            )
        if keep is not None and not angles and timesteps > 1:
            raise ConfigurationError(
                f"keep={keep} needs angles=True: without angles no timestep is chosen"
            )
        channels, left = divmod(in_channels - timesteps * angles, timesteps)
        if left or channels < 1:
            raise ConfigurationError(
                f"in_channels must be T * D{' + T' * angles} with T = timesteps = {timesteps} and "
                f"any D from 1, got {in_channels}"
            )

        def embed() -> TimestepFusion:
            merged: nn.Module | None = None
            if timesteps > 1:
                merged = AWAM(dim) if "awam" in fusion else WeightedMean()
                if "ctssfm" in fusion:
                    merged = CTSSFM(
                        dim, patch_size, merged, heads=heads, head_dim=head_dim, dropout=dropout
                    )
            gate = TimestepGate(timesteps, keep=keep) if angles else None
            return TimestepFusion(
                channels, timesteps, dim, gate=gate, fusion=merged, shared=shared_embedding
            )

        super().__init__(
            in_channels,
            num_classes,
            patch_size,
            TransformerSizes(dim, depth, heads, head_dim, mlp_dim, dropout),
            head_dropout=head_dropout,
            readout=readout,
            embed=embed,
        )

    @property
    def gate(self) -> TimestepGate | None:
        """What weighs the timesteps; None without angles.

        In evaluation mode ``gate(angles)`` with the angles of a whole scene, (1, T, H, W), gives
        the weights of all its pixels at once.
        """
        return self.embed.gate
