"""A graph over the pixels of a scene, along which labels and probabilities spread."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy import sparse

from hsi_diffusion.errors import ConfigurationError, NotFittedError
from hsi_diffusion.graphs.neighbours import (
    nearest_graph,
    pixel_rows,
    row_distances,
    square_matrix,
)
from hsi_diffusion.options import check_at_least, check_range

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


TOLERANCE = 1e-7
"""What is left of an error when scores are spread."""

MISSED = 0.01
"""Part of the pixels that labels may miss without a word."""


class Graph:
    """Joins every pixel of a scene to similar pixels and to those around it.

    Every pixel is joined to its ``neighbours`` nearest neighbours in feature space, wherever they
    lie, and to the 8 pixels around it; both with weight exp(-(d / s)^2), d the distance between
    their features and s ``width`` times the median of d over each pixel's most distant nearest
    neighbour. So labels spread through a field, and to fields of the same kind elsewhere, and stop
    where the land cover changes. It uses the features of all pixels, and nothing is random. Ours.

    Args:
        neighbours: Number of nearest neighbours of a pixel.
        spatial: Weight of the pixels around it, relative to the nearest neighbours; 0 leaves them
            out.
        width: Kernel width of the weights: a narrow kernel separates a field from its own darker
            pixels, a wide one joins different fields.

    Attributes:
        device: Where labels are spread: where the graph was fitted.

    Example:
        >>> import numpy as np
        >>> labels = np.repeat([[1, 2]], 6, axis=0).repeat(5, axis=1)  # two fields, 6 x 5 pixels
        >>> bands = labels[..., None] + 0.3 * np.random.default_rng(0).normal(size=(6, 10, 4))
        >>> graph = Graph().fit(bands)
        >>> found = graph.spread_labels(labels, train=np.array([0, 39]), num_classes=2)
        >>> found.shape, float((found.argmax(axis=2) + 1 == labels).mean())
        ((6, 10, 2), 1.0)

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    def __init__(self, neighbours: int = 5, *, spatial: float = 3.0, width: float = 2.0) -> None:
        check_at_least(1, neighbours=neighbours)
        check_range("at least 0 and finite", spatial=spatial)
        check_range("above 0 and finite", width=width)
        self.neighbours = neighbours
        self.spatial = spatial
        self.width = width
        self.device: str | torch.device = "cpu"
        self._weights: sparse.csr_array | None = None
        self._shape = (0, 0)

    def fit(
        self,
        cube: Tensor | NDArray[Any],
        *,
        valid: NDArray[np.bool_] | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Build the graph of a scene.

        Args:
            cube: Features, components or bands, shape (H, W, D), scaled so that distances mean
                something.
            valid: Which pixels hold data, shape (H, W); None: all. The others are joined to none.
            device: Where the nearest neighbours are searched, and labels will be spread.

        Returns:
            Itself.

        Raises:
            ConfigurationError: The cube has another number of axes or holds nan or infinity, or the
                number of pixels is not above ``neighbours``.
        """
        rows = pixel_rows(cube, self.neighbours, device, valid)
        height, width = cube.shape[:2]
        graph, scale = nearest_graph(rows, self.neighbours, self.width)
        if self.spatial > 0:
            first, second = _touching(height, width, valid)
            distance = row_distances(rows, first, second)
            weights = self.spatial * torch.exp(-((distance / scale) ** 2)).cpu().numpy()
            around = square_matrix(weights, first, second, len(rows))
            graph = graph + around + around.T
        if valid is not None:  # empty rows and columns for the other pixels
            place, ends = np.flatnonzero(valid), sparse.coo_array(graph)
            graph = square_matrix(ends.data, place[ends.row], place[ends.col], valid.size)
        degree = np.asarray(graph.sum(axis=1), dtype=np.float64).ravel()
        root = sparse.diags_array(1 / np.sqrt(np.maximum(degree, np.finfo(np.float64).tiny)))
        self._weights = sparse.csr_array(root @ graph @ root).astype(np.float32)
        self._shape, self.device = (height, width), device
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the scene; (0, 0) before :meth:`fit`."""
        return self._shape

    @property
    def weights(self) -> sparse.csr_array:
        """The symmetrically normalised weights S, shape (H * W, H * W), float32.

        Raises:
            NotFittedError: :meth:`fit` was not called.
        """
        if self._weights is None:
            raise NotFittedError("this Graph has no weights yet: call fit(cube) first")
        return self._weights

    def spread_labels(
        self,
        labels: NDArray[np.integer[Any]],
        train: NDArray[np.integer[Any]],
        num_classes: int,
        *,
        alpha: float = 0.99,
    ) -> NDArray[np.float32]:
        """Spread the labels of the training pixels over the scene.

        Label propagation by local and global consistency (Zhou et al., NIPS 2003), the solution of
        F = alpha S F + (1 - alpha) Y with the labels Y. Every class starts with the same total,
        however many pixels of it are labelled.

        Args:
            labels: Label map, shape (H, W), classes 1..K; read at the training pixels only.
            train: Flat numbers of the training pixels.
            num_classes: Number of classes K.
            alpha: Part of a pixel's scores that comes from its neighbours, in (0, 1).

        Returns:
            Probabilities, shape (H, W, K), of sum 1; equal ones where no label arrives. The scores
            are right to a ten-millionth of the largest, so that the shares of a pixel which hardly
            anything joins to the labels may be off.

        Raises:
            NotFittedError: :meth:`fit` was not called.
            ConfigurationError: The label map is one of another scene, a training pixel lies outside
                of it or has no class, or a setting is outside what is allowed.
        """
        weights = self.weights
        check_training(labels, train, num_classes, self._shape)
        start = np.zeros((labels.size, num_classes))
        start[train, labels.ravel()[train] - 1] = 1
        start /= np.maximum(start.sum(axis=0), 1)
        found = spread(weights, start.reshape(*labels.shape, num_classes), alpha, self.device)
        joined = np.diff(weights.indptr).reshape(labels.shape) > 0  # not those without data
        missed = float((found[joined] == found[joined][:, :1]).all(axis=1).mean())
        if num_classes > 1 and missed > MISSED:
            warnings.warn(
                f"labels did not reach {missed:.0%} of the pixels, whose classes stay equally "
                f"likely: with alpha={alpha:g} they go {_products(alpha)} neighbours far. Label "
                "pixels in more places, or take a higher alpha",
                stacklevel=2,
            )
        return found


def spread(
    weights: sparse.csr_array,
    start: NDArray[np.floating[Any]],
    alpha: float,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Solve F = alpha S F + (1 - alpha) Y, to which F <- alpha S F + (1 - alpha) Y leads.

    The eigenvalues of S lie between -1 and 1, so the Chebyshev semi-iterative method (Golub &
    Varga, 1961) takes 35 products with S at ``alpha=0.9`` and 114 at 0.99, where plain
    iteration takes 153 and 1,604. No label goes farther than so many steps.

    Args:
        weights: Symmetrically normalised weights S, shape (H * W, H * W).
        start: Scores Y, shape (H, W, K).
        alpha: Part of a pixel's scores that comes from its neighbours, in (0, 1).
        device: Where to compute.

    Returns:
        F divided by its sum over the classes, shape (H, W, K); equal values where that sum is 0.

    Raises:
        ConfigurationError: ``alpha`` is outside what is allowed.
    """
    check_range("above 0 and below 1", alpha=alpha)
    with warnings.catch_warnings():  # PyTorch calls sparse matrices a beta
        warnings.simplefilter("ignore", UserWarning)
        matrix = torch.sparse_csr_tensor(
            torch.from_numpy(weights.indptr),
            torch.from_numpy(weights.indices),
            torch.from_numpy(weights.data.astype(np.float32, copy=False)),
            list(weights.shape),
            check_invariants=False,
        ).to(device)
    first = torch.from_numpy(start.reshape(-1, start.shape[2]).astype(np.float32)).to(device)
    before, found, plain, factor = first.clone(), first.clone(), torch.empty_like(first), 1.0
    for step in range(_products(alpha)):
        torch.addmm(first, matrix, found, beta=1 - alpha, alpha=alpha, out=plain)
        before, found = found, before.lerp_(plain, factor)
        factor = 1 / (1 - factor * alpha**2 / (4 if step else 2))
    scores = found.clamp_(min=0).cpu().numpy()
    total = scores.sum(axis=1, keepdims=True)
    equal = np.full_like(scores, 1 / scores.shape[1])
    shares: NDArray[np.float32] = np.divide(scores, total, out=equal, where=total > 0)
    return shares.reshape(start.shape)


def _products(alpha: float) -> int:
    """Products with S until the error is small, which is as far as labels go."""
    shrinks = alpha / (1 + math.sqrt(1 - alpha**2))  # what an error is multiplied by each time
    return math.ceil(math.log(TOLERANCE) / math.log(shrinks))


def check_probabilities(probabilities: NDArray[np.floating[Any]], shape: tuple[int, int]) -> None:
    """Raise a ConfigurationError unless there is a row of probabilities for each pixel."""
    if probabilities.ndim != 3 or probabilities.shape[:2] != shape:
        raise ConfigurationError(
            f"probabilities must have the shape {(*shape, 'K')}, that of the scene with K classes, "
            f"got {probabilities.shape}"
        )


def check_training(
    labels: NDArray[np.integer[Any]],
    train: NDArray[np.integer[Any]],
    num_classes: int,
    shape: tuple[int, int],
) -> None:
    """Raise a ConfigurationError unless training pixels lie in the scene and have a class 1..K.

    NumPy would count an unlabelled pixel (0) from the end, as one of the last class.
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
    wrong = (given < 1) | (given > num_classes)
    if wrong.any():
        raise ConfigurationError(
            f"labels of training pixels must be from 1 to num_classes={num_classes}, but pixel "
            f"{train[wrong][0]} has {given[wrong][0]}; leave unlabelled pixels out of train, and "
            "number the classes without gaps"
        )


def _touching(
    height: int, width: int, valid: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both ends of every pair of valid pixels that touch, corners included, each pair once."""
    there = np.ones((height, width), dtype=np.bool_) if valid is None else valid
    grid = np.where(there, np.cumsum(there).reshape(height, width) - 1, -1)
    pairs = (
        (grid[:-1], grid[1:]),
        (grid[:, :-1], grid[:, 1:]),
        (grid[:-1, :-1], grid[1:, 1:]),
        (grid[1:, :-1], grid[:-1, 1:]),
    )
    first, second = (np.concatenate([pair[end].ravel() for pair in pairs]) for end in (0, 1))
    both = (first >= 0) & (second >= 0)
    return first[both], second[both]
