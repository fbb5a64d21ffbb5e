"""Labels spread over a scene along likeness and neighbourhood."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy import sparse

from hsi_diffusion.classifiers.graph import (
    likest_graph,
    pixel_rows,
    row_distances,
    square_matrix,
)
from hsi_diffusion.errors import ConfigurationError, NotSetUpError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class LabelPropagation:
    """Spread a handful of labels over all pixels of a scene.

    Learning with local and global consistency (Zhou et al., NIPS 2003): F <- alpha S F + (1 -
    alpha) Y, with S the symmetrically normalised weights of a graph. The graph is ours: every pixel
    is joined to the ``neighbours`` pixels of the scene with the likest spectra or features, and to
    the 8 pixels around it; both with weight exp(-(d / s)^2), d the distance between their features
    and s ``width`` times its median over the most distant of the likest neighbours. So labels
    spread through a field, and to fields of the same kind elsewhere, and stop where the land
    changes.

    It uses the features of all pixels, and labels of the training pixels only. Nothing is random.

    Args:
        neighbours: Likest pixels that a pixel is joined to.
        spatial: Weight of the pixels around it, relative to the likest ones; 0 leaves them out.
        alpha: Share of a pixel's scores that comes from its neighbours, in (0, 1).
        width: Of the weights: a narrow one parts a field from its own darker pixels, a wide one
            joins what is different.
        iterations: How often the scores are passed on. With ``alpha=0.99`` 200 times do not reach
            the fixed point: stopping early keeps some of the labels' places.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    def __init__(
        self,
        neighbours: int = 5,
        spatial: float = 3.0,
        width: float = 2.0,
        alpha: float = 0.99,
        iterations: int = 200,
    ) -> None:
        for name, size in (("neighbours", neighbours), ("iterations", iterations)):
            if size < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {size}")
        if not spatial >= 0:
            raise ConfigurationError(f"spatial must be at least 0, got {spatial}")
        if not 0 < width < math.inf:
            raise ConfigurationError(f"width must be above 0 and finite, got {width}")
        check_alpha(alpha)
        self.neighbours = neighbours
        self.spatial = spatial
        self.width = width
        self.alpha = alpha
        self.iterations = iterations
        self._graph: sparse.csr_array | None = None
        self._shape = (0, 0)

    def fit(self, cube: Tensor | NDArray[Any], *, device: str | torch.device = "cpu") -> Self:
        """Build the graph of a scene; labels play no part.

        Args:
            cube: Features, components or bands, shape (H, W, D), scaled so that distances mean
                something.
            device: Where the nearest neighbours are looked for.

        Raises:
            ConfigurationError: The cube has another number of axes or holds nan or infinity, or the
                scene has no more pixels than a pixel shall have neighbours.
        """
        rows = pixel_rows(cube, self.neighbours, device)
        height, width = cube.shape[:2]
        graph, scale = likest_graph(rows, self.neighbours, self.width)
        if self.spatial > 0:
            first, second = _around(height, width)
            apart = row_distances(rows, first, second)
            touching = self.spatial * torch.exp(-((apart / scale) ** 2)).cpu().numpy()
            around = square_matrix(touching, first, second, len(rows))
            graph = graph + around + around.T
        degree = np.asarray(graph.sum(axis=1), dtype=np.float64).ravel()
        root = sparse.diags_array(1 / np.sqrt(np.maximum(degree, np.finfo(np.float64).tiny)))
        self._graph = sparse.csr_array(root @ graph @ root)
        self._shape = (height, width)
        return self

    def predict(
        self, labels: NDArray[np.integer[Any]], train: NDArray[np.integer[Any]], num_classes: int
    ) -> NDArray[np.float32]:
        """Spread the labels of the training pixels.

        Args:
            labels: Label map, shape (H, W), classes 1..K; read at the training pixels only.
            train: Flat numbers of the training pixels.
            num_classes: Number of classes K.

        Returns:
            Probabilities, shape (H, W, K), of sum 1; equal ones where no label arrives. Every class
            starts with the same amount in all, however many pixels of it were labelled.

        Raises:
            NotSetUpError: There is no graph yet.
            ConfigurationError: The label map is one of another scene, or a training pixel lies
                outside of it or has no class.
        """
        graph = self.graph
        check_training(labels, train, num_classes, self._shape)
        start = np.zeros((labels.size, num_classes))
        start[train, labels.ravel()[train] - 1] = 1
        start /= np.maximum(start.sum(axis=0), 1)
        scores = passed_on(graph, start, self.alpha, self.iterations)
        return shares_of(scores).reshape(*labels.shape, num_classes)

    def reaching(self, alpha: float) -> LabelPropagation:
        """The same graph with another ``alpha``.

        Raises:
            ConfigurationError: It does not lie between 0 and 1.
        """
        check_alpha(alpha)
        other = copy.copy(self)
        other.alpha = alpha
        return other

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the scene; (0, 0) without a graph."""
        return self._shape

    @property
    def graph(self) -> sparse.csr_array:
        """The symmetrically normalised weights S, shape (H * W, H * W), float64.

        Raises:
            NotSetUpError: There is no graph yet.
        """
        if self._graph is None:
            raise NotSetUpError("LabelPropagation has no graph yet: call fit(cube) first")
        return self._graph


def check_alpha(alpha: float) -> None:
    """Refuse a share of neighbours that is none.

    Raises:
        ConfigurationError: It does not lie between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ConfigurationError(f"alpha must lie between 0 and 1, got {alpha}")


def check_training(
    labels: NDArray[np.integer[Any]],
    train: NDArray[np.integer[Any]],
    num_classes: int,
    shape: tuple[int, int],
) -> None:
    """Refuse training pixels that a scene doesn't have, or that have no class.

    NumPy would count an unlabelled pixel (0) from the end, as one of the last class.

    Args:
        labels: Label map, shape (H, W), classes 1..K.
        train: Flat numbers of the training pixels.
        num_classes: Number of classes K.
        shape: Height and width of the scene.

    Raises:
        ConfigurationError: The label map has another shape, a number lies outside of the scene, or
            a label outside of 1..K.
    """
    if labels.shape != shape:
        raise ConfigurationError(
            f"labels must have the shape of the scene, {shape}, got {labels.shape}"
        )
    outside = train[(train < 0) | (train >= labels.size)]
    if outside.size:
        raise ConfigurationError(
            f"train must hold flat numbers of pixels from 0 to {labels.size - 1}, got {outside[0]}"
        )
    given = labels.ravel()[train]
    strange = (given < 1) | (given > num_classes)
    if strange.any():
        raise ConfigurationError(
            f"labels of training pixels must be from 1 to num_classes={num_classes}, but pixel "
            f"{train[strange][0]} has {given[strange][0]}; leave out of train what is unlabelled, "
            "and number the classes without gaps"
        )


def passed_on(
    graph: sparse.csr_array, start: NDArray[np.float64], alpha: float, iterations: int
) -> NDArray[np.float64]:
    """Scores that every pixel has passed on to its neighbours, again and again.

    Args:
        graph: Normalised weights S, shape (N, N).
        start: Scores Y, shape (N, K).
        alpha: Share of a pixel's scores that comes from its neighbours, in (0, 1).
        iterations: How often F <- alpha S F + (1 - alpha) Y is applied, beginning with F = Y.

    Returns:
        F, shape (N, K).
    """
    scores = start
    for _ in range(iterations):
        scores = alpha * (graph @ scores) + (1 - alpha) * start
    return scores


def shares_of(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scores (N, K) divided by their sum over the classes; equal ones where it is 0."""
    total = scores.sum(axis=1, keepdims=True)
    equal = np.full_like(scores, 1 / scores.shape[1])
    shares: NDArray[np.float32] = np.divide(scores, total, out=equal, where=total > 0).astype(
        np.float32
    )
    return shares


def _around(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both ends of every pair of pixels that touch, corners included, each pair once."""
    grid = np.arange(height * width).reshape(height, width)
    pairs = (
        (grid[:-1], grid[1:]),
        (grid[:, :-1], grid[:, 1:]),
        (grid[:-1, :-1], grid[1:, 1:]),
        (grid[1:, :-1], grid[:-1, 1:]),
    )
    first, second = (np.concatenate([pair[end].ravel() for pair in pairs]) for end in (0, 1))
    return first, second
