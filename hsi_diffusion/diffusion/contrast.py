"""Contrast between two views: which features belong to one place, and which to one kind of it.

DiffCRN (Zhu & Xu, arXiv 2502.19699) says in its abstract that contrastive learning raises
"instance-level and inter-class discriminability", and no more. That these are the two contrasts of
Contrastive Clustering (Li et al., AAAI 2021), and where their features come from, is our reading.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsi_diffusion.diffusion.losses import at_least_float32
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least, check_range


def instance_contrast(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent (Chen et al. 2020, SimCLR, eq. 1): each instance finds its other view among all.

    With s(a, b) the cosine of the angle between two rows divided by the temperature, the loss of
    row a with the other view b of its instance is -log(exp s(a, b) / sum of exp s(a, c) over all
    2N - 1 rows c but a). The result is the mean over the rows of both views.

    It computes in float32 at least, also under autocast, through log-sum-exp. It knows nothing of
    processes: on several, give it the joined rows of all, see
    :func:`~hsi_diffusion.distributed.gather_rows`.

    Args:
        z1: Projections of the first views, shape (N, D); normalised here.
        z2: Projections of the second views in the same order, shape (N, D).
        temperature: Above 0; the lower, the more the most similar negatives count.

    Returns:
        Scalar, about log(2N - 1) where nothing has been learned.

    Raises:
        ConfigurationError: The shapes differ or are not (N, D), or the temperature is not above 0.
    """
    _check_pair("z1", z1, "z2", z2)
    check_range("above 0 and finite", temperature=temperature)
    with torch.autocast(z1.device.type, enabled=False):
        rows = F.normalize(at_least_float32(torch.cat((z1, z2))), dim=1)
        similarity = rows @ rows.T / temperature
        similarity.fill_diagonal_(-math.inf)  # no row is its own negative
        partners = torch.arange(len(rows), device=rows.device).roll(len(z1))
        return F.cross_entropy(similarity, partners)


def cluster_contrast(
    p1: Tensor, p2: Tensor, temperature: float = 1.0, entropy_weight: float = 1.0
) -> Tensor:
    """Contrast between clusters (Li et al. 2021, Contrastive Clustering, eq. 4 to 7).

    Column k of an assignment says which instances are in cluster k. The columns of both views are
    2K vectors of N entries: each has to find the same cluster's column of the other view among all
    others (:func:`instance_contrast` of the columns). That alone would be content with all
    instances in one cluster, so the entropies of both views' mean assignments are subtracted,
    which are greatest, log K each, where the clusters are equally large.

    It computes in float32 at least, also under autocast. On several processes, give it the joined
    rows of all: shares and columns are those of the whole batch then.

    Args:
        p1: Assignments of the first views, shape (N, K); rows are at least 0 and add up to 1.
        p2: Assignments of the second views in the same order, shape (N, K).
        temperature: Temperature of the contrast between columns, above 0.
        entropy_weight: By how much the two entropies count, at least 0; 1 is published.

    Returns:
        Scalar; negative where the entropies outweigh the contrast.

    Raises:
        ConfigurationError: The shapes differ or are not (N, K), or a setting is out of range.
    """
    _check_pair("p1", p1, "p2", p2)
    check_range("at least 0 and finite", entropy_weight=entropy_weight)
    p1, p2 = at_least_float32(p1), at_least_float32(p2)
    contrast = instance_contrast(p1.T, p2.T, temperature)
    # a cluster that lost everything has an infinite gradient at exactly 0
    shares = torch.stack((p1.mean(dim=0), p2.mean(dim=0)))
    entropies: Tensor = torch.special.entr(shares.clamp(min=torch.finfo(shares.dtype).tiny)).sum()
    return contrast - entropy_weight * entropies


def pool_cells(features: Tensor, cell: int) -> Tensor:
    """Mean features of square cells: each cell is one instance of the contrast.

    A patch of a scene often holds several covers, so the mean over all of it is a poor instance;
    cells are ours. They start at the upper left corner; what is left at the right and at the bottom
    belongs to none. A map that is smaller than a cell is one cell.

    Args:
        features: Shape (B, C, h, w).
        cell: Side of a cell in pixels of ``features``, at least 1; 0 = the whole map.

    Returns:
        Shape (B * cells, C), float32 at least; the cells of an image stand together, row by row.

    Raises:
        ConfigurationError: ``cell`` is negative, or ``features`` has other dimensions.
    """
    check_at_least(0, cell=cell)
    if features.ndim != 4:
        raise ConfigurationError(
            f"features must have shape (B, C, h, w), got {tuple(features.shape)}"
        )
    height, width = (min(cell, side) if cell else side for side in features.shape[2:])
    rows, columns = features.shape[2] // height, features.shape[3] // width
    whole = features[:, :, : rows * height, : columns * width]
    cells = whole.reshape(*features.shape[:2], rows, height, columns, width)
    means = cells.mean(dim=(3, 5), dtype=torch.promote_types(features.dtype, torch.float32))
    return means.permute(0, 2, 3, 1).flatten(0, 2)


class Contrasted(NamedTuple):
    """What a :class:`ContrastiveHead` makes of N instances.

    Attributes:
        projections: Shape (N, dim), float32 at least, for :func:`instance_contrast`; None if the
            head has none.
        assignments: Shape (N, clusters), float32 at least, for :func:`cluster_contrast`; rows add
            up to 1; None if the head has none.
    """

    projections: Tensor | None
    assignments: Tensor | None


class ContrastiveHead(nn.Module):
    """From a map of features to what the two contrasts compare (sizes are ours).

    Cells are pooled (:func:`pool_cells`), normalised, and go through two small networks of one
    hidden layer. The norm is one over channels and not over the batch, so that an instance does not
    depend on its neighbours, nor on the number of processes. The head only serves the training:
    features are taken from the denoiser, below it.

    Args:
        channels: Channels C of the features.
        dim: Size of the projections; None: no projections.
        clusters: Number K of clusters, at least 2; None: no assignments. Classes are not known
            here, so take more clusters than there may be classes.
        hidden: Size of the hidden layers.
        cell: Side of a cell in pixels of the features; 0 = the whole map.

    Raises:
        ConfigurationError: A size is impossible, or both parts are left out.
    """

    if TYPE_CHECKING:

        def __call__(self, features: Tensor) -> Contrasted:  # noqa: D102
            ...

    def __init__(
        self,
        channels: int,
        *,
        dim: int | None = 64,
        clusters: int | None = 32,
        hidden: int = 128,
        cell: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(0, cell=cell)
        check_at_least(1, channels=channels, hidden=hidden, dim=1 if dim is None else dim)
        # with one cluster every assignment is the same
        check_at_least(2, clusters=2 if clusters is None else clusters)
        if dim is None and clusters is None:
            raise ConfigurationError("dim and clusters must not both be None")
        self.cell = cell
        self.norm = nn.LayerNorm(channels)
        self.project = None if dim is None else _mlp(channels, hidden, dim)
        self.assign = None if clusters is None else _mlp(channels, hidden, clusters)

    def forward(self, features: Tensor) -> Contrasted:
        """Project and assign.

        Args:
            features: Shape (B, channels, h, w).

        Returns:
            Both for B * cells instances, in the order of :func:`pool_cells`.
        """
        pooled = pool_cells(features, self.cell)
        # layers in half precision would leave steps of a percent between the shares, and there are
        # few cells to compute; a head that was itself cast to half precision takes nothing wider
        with torch.autocast(features.device.type, enabled=False):
            normed = self.norm(pooled.to(self.norm.weight.dtype))
            logits = None if self.assign is None else at_least_float32(self.assign(normed))
            return Contrasted(
                None if self.project is None else at_least_float32(self.project(normed)),
                None if logits is None else logits.softmax(dim=1),
            )


def _mlp(channels: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, out))


def _check_pair(name1: str, x1: Tensor, name2: str, x2: Tensor) -> None:
    if x1.ndim != 2 or x1.shape != x2.shape:
        raise ConfigurationError(
            f"{name1} and {name2} must have one shape of two dimensions, got {tuple(x1.shape)} and "
            f"{tuple(x2.shape)}"
        )
