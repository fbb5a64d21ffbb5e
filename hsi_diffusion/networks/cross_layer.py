"""Cross-layer adaptive fusion: transformer blocks that look back past their neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks.attention import TransformerEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hsi_diffusion.networks.attention import TransformerSizes

REACH = 2
"""How many blocks back the fusion looks: it skips one block, as published."""


class CrossLayerFusion(nn.Module):
    """A learned mix of two stages of the same tokens, one pair of weights per token position.

    The cross-layer adaptive fusion (CAF) of SpectralFormer (Hong et al., TGRS 2022) mixes by a 1x1
    convolution over the two stages. Our reading is one convolution per position, without bias; it
    starts with the current tokens alone, so that a new network computes what one without the fusion
    computes.

    Args:
        tokens: Number of positions N.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(tokens, 1))

    def forward(self, current: Tensor, earlier: Tensor) -> Tensor:
        """Mix tokens.

        Args:
            current: Shape (B, N, dim).
            earlier: The same tokens some blocks before, same shape.

        Returns:
            Same shape.
        """
        current_weight, earlier_weight = self.weight[:, :, None].unbind(dim=1)
        return current_weight * current + earlier_weight * earlier


class CrossLayerEncoder(TransformerEncoder):
    """Transformer blocks with cross-layer adaptive fusion before all but the first two.

    With z_i for the tokens that come to block i = 0, 1, ..., block i >= 2 gets the mix of z_i and
    z_{i-2}, the latter before any mixing of its own. From SpectralFormer (Hong et al., TGRS 2022).

    Args:
        tokens: Number of tokens N.
        sizes: Sizes of the blocks, and their number, at least 3.

    Raises:
        ConfigurationError: ``depth`` is below 3.
    """

    def __init__(self, tokens: int, sizes: TransformerSizes) -> None:
        if sizes.depth <= REACH:
            raise ConfigurationError(
                f"depth must be at least {REACH + 1} with cross-layer fusion, which starts at "
                f"block {REACH + 1}, got {sizes.depth}"
            )
        super().__init__(sizes)
        for number, block in enumerate(self):
            if number >= REACH:
                block.add_module("2", CrossLayerFusion(tokens))

    def forward(self, tokens: Tensor, wanted: Sequence[int] | None = None) -> Tensor:
        """Run the blocks; arguments and result are those of :class:`TransformerEncoder`."""
        entered: list[Tensor] = []
        last = len(self) - 1
        for number, block in enumerate(self):
            entered.append(tokens)
            if number >= REACH:
                tokens = block.get_submodule("2")(tokens, entered[number - REACH])
            tokens = block(tokens, wanted if number == last else None)
        return tokens
