"""The patch transformer that SpectralDiff classifies its diffusion features with."""

from __future__ import annotations

from functools import partial

from hsi_diffusion.classifiers.patch_transformer import PatchTransformer, pixel_embedding


class SpectralTransformer(PatchTransformer):
    """Classify the centre pixel of a patch with a transformer over the patch's pixels.

    A 3x3 convolution turns every pixel into a token; a class token and learned positions, times a
    learned scale that starts small, are added; pre-norm transformer blocks; a two-layer head on the
    class token. The defaults are those of SpectralDiff's public configuration (Chen et al., TGRS
    2023); its paper names 5 blocks and 4 heads instead.

    Our own addition is ``readout="centre"``, which adds the centre pixel's token to the class token
    before the head: the pixel that is asked for is then never lost among its neighbours.

    The arguments are those of :class:`~hsi_diffusion.classifiers.PatchTransformer`.

    Raises:
        ConfigurationError: A size is below 1 or ``readout`` is unknown.
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
            partial(pixel_embedding, in_channels, dim),
            in_channels,
            num_classes,
            patch_size,
            dim=dim,
            depth=depth,
            heads=heads,
            head_dim=head_dim,
            mlp_dim=mlp_dim,
            dropout=dropout,
            head_dropout=head_dropout,
            readout=readout,
        )
