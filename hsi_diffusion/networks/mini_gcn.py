"""The network of miniGCN, for a cube that has been averaged over neighbours in a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from hsi_diffusion.networks.base import PatchClassifier
from hsi_diffusion.options import check_range

if TYPE_CHECKING:
    from torch import Tensor


class MiniGCN(PatchClassifier):
    """Classify pixels by one graph convolution.

    miniGCN (Hong et al., TGRS 2021): BatchNorm, a graph convolution with 128 filters on a graph of
    nearest neighbours, BatchNorm, ReLU, a linear layer; trained in mini-batches of sampled
    subgraphs.

    Our reading: a graph convolution is a product A X W of the normalised graph A, the spectra X and
    the weights W, and A X does not depend on W. So A X is computed once, for all pixels of the
    scene, before patches are cut (:func:`~hsi_diffusion.graphs.neighbour_mean`), and is what
    this network expects: every pixel is then classified by itself, with all its neighbours in the
    scene, however batches are drawn. The rows of that A add up to 1, so the scales and shifts of a
    BatchNorm before the graph pass through it, and can follow it. Dropout is ours. Without the
    graph, this is a perceptron on the pixel's spectrum.

    Only the centre pixel of a patch plays a part.

    Args:
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        channels: Filters of the graph convolution.
        dropout: Dropout before the last layer.

    Raises:
        ConfigurationError: A size is below 1, or ``dropout`` is not from 0 to below 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        patch_size: int = 1,
        *,
        channels: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_channels, num_classes, patch_size, channels=channels)
        check_range("at least 0 and below 1", dropout=dropout)
        self.layers = nn.Sequential(
            nn.BatchNorm1d(in_channels),
            nn.Linear(in_channels, channels, bias=False),
            nn.BatchNorm1d(channels),  # takes away what a bias would add
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(channels, num_classes),
        )

    def _logits(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.centre_spectrum(image))
        return logits
