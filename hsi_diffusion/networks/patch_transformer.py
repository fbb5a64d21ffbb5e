"""A transformer over the pixels of a patch: the base of several classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import nn

from hsi_diffusion.networks.attention import TransformerEncoder, TransformerSizes
from hsi_diffusion.networks.base import PatchClassifier, centre_pixel
from hsi_diffusion.options import check_choice, check_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def pixel_embedding(channels: int, dim: int, groups: int = 1) -> nn.Module:
    """A 3x3 convolution, BatchNorm and ReLU: from patches to one token per pixel.

    Args:
        channels: Channels of a patch, of each group.
        dim: Channels of a token, of each group.
        groups: Number of groups of channels that have a convolution each.

    Returns:
        A module from (B, groups * channels, P, P) to (B, groups * dim, P, P).
    """
    return nn.Sequential(
        nn.Conv2d(groups * channels, groups * dim, 3, padding=1, groups=groups),
        nn.BatchNorm2d(groups * dim),
        nn.ReLU(),
    )


class PatchTransformer(PatchClassifier):
    """Classify the centre pixel of a patch with a transformer over the patch's pixels.

    A class token and learned positions, times a learned scale that starts small, are added to the
    pixels' tokens; transformer blocks; a two-layer head. Subclasses say how pixels become tokens,
    and may bring other blocks.

    Args:
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        sizes: Sizes of the transformer.
        head_dropout: Dropout in the class head.
        readout: What the head sees: ``"class"``, the class token, or ``"centre"``, the sum of the
            class token and the centre pixel's token.
        embed: Makes the module from patches (B, in_channels, P, P) to tokens (B, dim, P, P). A
            function, so that all sizes are checked first. None: :func:`pixel_embedding`.
        encoder: Makes the blocks of ``sizes``, a module from tokens (B, 1 + P * P, dim) and the
            numbers of the M tokens that are read to (B, M, dim).

    Raises:
        ConfigurationError: A size is below 1, ``readout`` is unknown, or a dropout is not from 0 to
            below 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int,
        sizes: TransformerSizes,
        *,
        head_dropout: float,
        readout: str,
        embed: Callable[[], nn.Module] | None = None,
        encoder: Callable[[TransformerSizes], nn.Module] = TransformerEncoder,
    ) -> None:
        super().__init__(in_channels, num_classes, patch_size)
        check_range("at least 0 and below 1", head_dropout=head_dropout)
        check_choice(("class", "centre"), readout=readout)
        self.readout = readout
        dim = sizes.dim
        self.embed = pixel_embedding(in_channels, dim) if embed is None else embed()
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.randn(1, patch_size**2 + 1, dim))
        self.position_scale = nn.Parameter(torch.tensor(0.01))
        self.blocks = encoder(sizes)
        self.head = nn.Sequential(
            nn.Linear(dim, 128),
            nn.BatchNorm1d(128),
            nn.Dropout(head_dropout),
            nn.ReLU(),
            nn.Linear(128, num_classes),
        )

    def _logits(self, image: Tensor) -> Tensor:
        pixels = rearrange(self.embed(image), "b d h w -> b (h w) d")
        tokens = torch.cat([self.class_token.expand(pixels.shape[0], -1, -1), pixels], dim=1)
        wanted = [0]
        if self.readout == "centre":
            wanted.append(1 + centre_pixel(self.patch_size))
        read = self.blocks(tokens + self.position * self.position_scale, wanted)
        logits: Tensor = self.head(read.sum(dim=1))
        return logits
