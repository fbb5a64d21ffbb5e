"""The classifier of DiffSpectralNet: a patch transformer with skips between its layers."""

from __future__ import annotations

from functools import partial

from hsi_diffusion.networks.attention import TransformerSizes
from hsi_diffusion.networks.cross_layer import CrossLayerEncoder
from hsi_diffusion.networks.patch_transformer import PatchTransformer


class CrossLayerTransformer(PatchTransformer):
    """Classify the centre pixel of a patch with a transformer that fuses across its layers.

    DiffSpectralNet (Sigger et al., Scientific Reports 14:8438, 2024) projects diffusion features of
    several layers and timesteps to tokens and classifies them by a transformer with skip
    connections between its layers. No more is published, and this is our reading: the tokens, the
    class token, the positions and the head of
    :class:`~hsi_diffusion.networks.SpectralTransformer`, around the blocks and the cross-layer
    adaptive fusion of :class:`~hsi_diffusion.networks.SpectralFormer`, with its sizes.

    The arguments are those of :class:`~hsi_diffusion.networks.SpectralTransformer`; ``depth`` is at
    least 3, where the fusion starts.

    Raises:
        ConfigurationError: A size is below 1, ``depth`` is below 3, ``readout`` is unknown, or a
            dropout is not from 0 to below 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int = 11,
        *,
        dim: int = 64,
        depth: int = 5,
        heads: int = 4,
        head_dim: int = 16,
        mlp_dim: int = 8,
        dropout: float = 0.1,
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
            encoder=partial(CrossLayerEncoder, patch_size**2 + 1),
        )
