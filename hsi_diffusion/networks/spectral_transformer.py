"""The patch transformer that SpectralDiff classifies its diffusion features with."""

from __future__ import annotations

from hsi_diffusion.networks.attention import TransformerSizes
from hsi_diffusion.networks.patch_transformer import PatchTransformer


class SpectralTransformer(PatchTransformer):
    """Classify the centre pixel of a patch with a transformer over the patch's pixels.

    A 3x3 convolution turns every pixel into a token; a class token and learned positions, times a
    learned scale that starts small, are added; pre-norm transformer blocks; a two-layer head on the
    class token. The defaults are those of SpectralDiff's public configuration (Chen et al., TGRS
    2023); its paper names 5 blocks and 4 heads instead.

    Our own addition is ``readout="centre"``, which adds the centre pixel's token to the class token
    before the head: the pixel to classify is then never lost among its neighbours.

    Args:
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        dim: Channels of a token.
        depth: Number of transformer blocks.
        heads: Attention heads per block.
        head_dim: Channels of a head.
        mlp_dim: Hidden channels of the feed-forward layers.
        dropout: Dropout inside the transformer.
        head_dropout: Dropout in the class head.
        readout: What the head sees: ``"class"``, the class token, or ``"centre"``, the sum of the
            class token and the centre pixel's token.

    Raises:
        ConfigurationError: A size is below 1, ``readout`` is unknown, or a dropout is not from 0 to
            below 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int = 13,
        *,
        dim: int = 64,
        depth: int = 2,
        heads: int = 20,
        head_dim: int = 64,
        mlp_dim: int = 8,
        dropout: float = 0.0,
        head_dropout: float = 0.1,
        readout: str = "class",
    ) -> None:
        super().__init__(
            in_channels,
            num_classes,
            patch_size,
            TransformerSizes(dim, depth, heads, head_dim, mlp_dim, dropout),
            head_dropout=head_dropout,
            readout=readout,
        )
