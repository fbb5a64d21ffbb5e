"""Labels spread along graphs of a scene, joined with the probabilities of a classifier."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from scipy.special import softmax

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.graphs.graph import Graph, check_probabilities, spread
from hsi_diffusion.options import check_choice, check_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import torch
    from numpy.typing import NDArray

    from hsi_diffusion.patches import Split

    Probabilities = NDArray[np.floating[Any]]

FLOOR = np.float32(1e-6)
"""Least probability after spreading: a class that a graph rules out may still be the right one."""

OWN_WIDTH = 1.0
"""Kernel width of the weights of the further graphs."""


@dataclass(frozen=True, kw_only=True)
class SpreadingSettings:
    """How labels and probabilities are spread over a scene, see :class:`Spreading`.

    Attributes:
        neighbours: Number of nearest neighbours of a pixel.
        spatial: Weight of the 8 pixels around it, relative to the nearest neighbours.
        width: Kernel width of the weights of the scene's graph.
        alpha: Part of a pixel's scores that comes from its neighbours, in (0, 1).
        other_alphas: Values that :meth:`Spreading.choose` tries instead of ``alpha``.
        own: Cubes of the further graphs: ``"restored"``, the scene as the denoiser restores it, a
            graph for each timestep of the features; ``"classified"``, the features that are
            classified.
        own_shares: Weights of the further graphs beside the scene's, in [0, 1], among which
            :meth:`Spreading.choose` chooses; ``(0,)`` does without further graphs.
        label_weight: Power of the spread labels in the product with the probabilities.
        probability_weight: Power of the probabilities in this product.
        smooth: Smooth the probabilities of a classifier before they are multiplied.
        smooth_alpha: Part of a pixel's probabilities that comes from its neighbours, in (0, 1).

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """

    neighbours: int = 5
    spatial: float = 3.0
    width: float = 2.0
    alpha: float = 0.99
    other_alphas: tuple[float, ...] = ()
    own: Literal["restored", "classified"] = "restored"
    own_shares: tuple[float, ...] = (0.0, 0.25, 0.5)
    label_weight: float = 1.0
    probability_weight: float = 1.0
    smooth: bool = True
    smooth_alpha: float = 0.95

    def __post_init__(self) -> None:
        object.__setattr__(self, "other_alphas", tuple(self.other_alphas))
        object.__setattr__(self, "own_shares", tuple(self.own_shares))
        self.graph()
        check_range("above 0 and below 1", alpha=self.alpha, smooth_alpha=self.smooth_alpha)
        for alpha in self.other_alphas:
            check_range("above 0 and below 1", other_alphas=alpha)
        for share in self.own_shares:
            check_range("from 0 to 1", own_shares=share)
        for name in ("label_weight", "probability_weight"):
            check_range("at least 0 and finite", **{name: getattr(self, name)})
        check_choice(("restored", "classified"), own=self.own)
        if not self.own_shares:
            raise ConfigurationError("own_shares must hold at least one number, got none")

    def graph(self) -> Graph:
        """The scene's graph, not fitted."""
        return Graph(self.neighbours, spatial=self.spatial, width=self.width)

    def own_graph(self) -> Graph:
        """A further graph, not fitted."""
        return Graph(self.neighbours, spatial=self.spatial, width=OWN_WIDTH)


class Spreading:
    """Spreads labels along one or several graphs, and joins them with class probabilities.

    Labels that are spread along the scene's graph and along further graphs are joined by a weighted
    geometric mean. It is meant for a graph of the scene's bands and graphs of what a denoiser makes
    of them, its features or :func:`~hsi_diffusion.features.restored_scenes`: the bands keep borders
    between fields, the others (the more so, the later the timestep) the field as a whole. Ours; in
    none of the papers.

    Args:
        settings: How to spread.
        scene: The scene's graph, fitted.
        own: Further graphs of the same pixels, fitted; all have the same weight.

    Attributes:
        share: Weight of the further graphs, in [0, 1]; first ``own_shares[0]``, or 0 if there are
            none.
        alpha: Part of a pixel's scores that comes from its neighbours; first ``alpha``.

    Example:
        >>> import numpy as np
        >>> labels = np.repeat([[1, 2]], 6, axis=0).repeat(5, axis=1)  # two fields, 6 x 5 pixels
        >>> bands = labels[..., None] + 0.3 * np.random.default_rng(0).normal(size=(6, 10, 4))
        >>> spreading = Spreading.fit(SpreadingSettings(), bands, [bands**2])
        >>> probabilities = np.eye(2)[labels - 1] * 0.2 + 0.4  # by a classifier
        >>> found = spreading.join(probabilities, labels, train=np.array([0, 39]))
        >>> found.shape, float((found.argmax(axis=2) + 1 == labels).mean())
        ((6, 10, 2), 1.0)

    Raises:
        ConfigurationError: The graphs are of scenes of different shapes.
    """

    def __init__(
        self, settings: SpreadingSettings, scene: Graph, own: Sequence[Graph] = ()
    ) -> None:
        if shapes := {graph.shape for graph in own} - {scene.shape}:
            raise ConfigurationError(
                f"own must hold graphs of a scene of shape {scene.shape}, got {min(shapes)}"
            )
        self.settings = settings
        self.scene = scene
        self.own = tuple(own)
        self.share = settings.own_shares[0] if own else 0.0
        self.alpha = settings.alpha

    @classmethod
    def fit(
        cls,
        settings: SpreadingSettings,
        cube: NDArray[Any] | Graph,
        own: Iterable[NDArray[Any]] = (),
        *,
        valid: NDArray[np.bool_] | None = None,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Build the graphs.

        Args:
            settings: How to spread.
            cube: The scene's bands or components, shape (H, W, D), or its graph, fitted.
            own: Cubes of the further graphs, shape (H, W, D) each; not read if
                ``settings.own_shares`` are all 0.
            valid: Which pixels hold data, shape (H, W); None: all.
            device: Where the nearest neighbours are searched.

        Returns:
            The spreading along them.

        Raises:
            ConfigurationError: No graph can be made of a cube, or the cubes differ in shape.
        """
        where: dict[str, Any] = {"valid": valid, "device": device}
        scene = cube if isinstance(cube, Graph) else settings.graph().fit(cube, **where)
        cubes = own if any(settings.own_shares) else ()
        graphs = [settings.own_graph().fit(one, **where) for one in cubes]
        return cls(settings, scene, graphs)

    def choose(
        self, labels: NDArray[np.integer[Any]], splits: Sequence[Split], num_classes: int
    ) -> Self:
        """Choose the weight of the further graphs, then alpha, on validation pixels.

        A handful of them decides little, so the first value has the advantage. Another share
        is considered if it is right at least once where the first is wrong, and if it isn't worse
        by more than one standard error of the difference (as in McNemar's test); of those, the one
        that is right most often is taken. Another alpha must be better by more than one standard
        error: labels that lie close together need not be spread far.

        Args:
            labels: Label map, shape (H, W), classes 1..K.
            splits: Labels of each one's training pixels are spread, and compared on its validation
                pixels. Not used where there is nothing to choose.
            num_classes: Number of classes K.

        Returns:
            Itself, with the chosen :attr:`share` and :attr:`alpha`.

        Raises:
            ConfigurationError: There is something to choose, and no split.
        """
        shares = self.settings.own_shares if self.own else (0.0,)
        alphas = (self.settings.alpha, *self.settings.other_alphas)
        self.share, self.alpha = shares[0], alphas[0]

        def with_shares(split: Split) -> list[NDArray[np.float32]]:
            parts = self._parts(labels, split.train, num_classes, self.own)
            return [_joined(parts, share) for share in shares]

        def with_alphas(split: Split) -> list[NDArray[np.float32]]:
            others = [copy.copy(self) for _ in alphas]
            for other, alpha in zip(others, alphas, strict=True):
                other.alpha = alpha
            return [other.labels_only(labels, split.train, num_classes) for other in others]

        most = -math.inf
        for share, gained, lost in _compared(shares, with_shares, labels, splits):
            if gained and lost - gained <= math.sqrt(gained + lost) and gained - lost > most:
                self.share, most = share, gained - lost
        most = 0
        for alpha, gained, lost in _compared(alphas, with_alphas, labels, splits):
            if gained - lost > max(most, math.sqrt(gained + lost)):
                self.alpha, most = alpha, gained - lost
        return self

    def labels_only(
        self, labels: NDArray[np.integer[Any]], train: NDArray[np.integer[Any]], num_classes: int
    ) -> NDArray[np.float32]:
        """Spread the labels of the training pixels.

        Args:
            labels: Label map, shape (H, W), classes 1..K; read at the training pixels only.
            train: Flat numbers of the training pixels.
            num_classes: Number of classes K.

        Returns:
            Probabilities, shape (H, W, K), of sum 1.

        Raises:
            ConfigurationError: The label map is one of another scene, or a training pixel lies
                outside of it or has no class.
        """
        own = self.own if self.share else ()
        return _joined(self._parts(labels, train, num_classes, own), self.share)

    def smooth(self, probabilities: Probabilities) -> NDArray[np.float32]:
        """Smooth class probabilities along the graphs.

        F = alpha S F + (1 - alpha) P with the probabilities P: what an extended random walk does
        with the probabilities of an SVM (Kang et al., TGRS 2015), along another graph. The weights
        S are those of the scene's graph and, weighted by :attr:`share`, the mean of those of the
        further ones.

        Args:
            probabilities: Class probabilities of every pixel, shape (H, W, K).

        Returns:
            Probabilities, shape (H, W, K), of sum 1.

        Raises:
            ConfigurationError: The probabilities are those of another scene.
        """
        check_probabilities(probabilities, self.scene.shape)
        weights = self.scene.weights
        if self.share and self.own:
            own = [graph.weights for graph in self.own]
            weights = (1 - self.share) * weights + sum(own[1:], own[0]) * (self.share / len(own))
        return spread(weights, probabilities, self.settings.smooth_alpha, self.scene.device)

    def join(
        self,
        probabilities: Probabilities,
        labels: NDArray[np.integer[Any]] | None = None,
        train: NDArray[np.integer[Any]] | None = None,
    ) -> NDArray[np.float32]:
        """Join the probabilities of a classifier with spread labels.

        log p = label_weight * log(spread labels) + probability_weight * log(probabilities), both
        normalised, with the probabilities smoothed before if the settings say so. Without labels,
        as on an image that the classifier was not fitted on, the result is the smoothed
        probabilities.

        Args:
            probabilities: Class probabilities of every pixel by a classifier that learned from the
                training pixels, shape (H, W, K).
            labels: Label map, shape (H, W), classes 1..K; read at the training pixels only.
            train: Flat numbers of the training pixels; given if and only if ``labels`` are.

        Returns:
            Probabilities, shape (H, W, K), of sum 1.

        Raises:
            ConfigurationError: The probabilities or labels are those of another scene, or only one
                of ``labels`` and ``train`` is given.
        """
        if labels is None or train is None:
            if labels is not train:
                raise ConfigurationError("labels and train must be given together, or neither")
            return self.smooth(probabilities)
        check_probabilities(probabilities, self.scene.shape)
        spread_labels = self.labels_only(labels, train, probabilities.shape[2])
        if self.settings.smooth:
            given, least = self.smooth(probabilities), FLOOR
        else:  # a classifier's own small probabilities count as they are
            given, least = probabilities.astype(np.float32), np.finfo(np.float32).tiny
        logarithms = np.float32(self.settings.label_weight) * _log(spread_labels)
        logarithms += np.float32(self.settings.probability_weight) * _log(given, least)
        found: NDArray[np.float32] = softmax(logarithms, axis=2)
        return found

    def _parts(
        self,
        labels: NDArray[np.integer[Any]],
        train: NDArray[np.integer[Any]],
        num_classes: int,
        own: Sequence[Graph],
    ) -> list[NDArray[np.float32]]:
        """Labels spread along the scene's graph, and along others."""
        return [
            graph.spread_labels(labels, train, num_classes, alpha=self.alpha)
            for graph in (self.scene, *own)
        ]


def _log(probabilities: NDArray[np.float32], least: np.float32 = FLOOR) -> NDArray[np.float32]:
    return np.log(np.maximum(probabilities, least))


def _joined(parts: Sequence[NDArray[np.float32]], share: float) -> NDArray[np.float32]:
    """Weighted geometric mean of the first part and the geometric mean of the others."""
    scene, *own = parts
    if not share or not own:
        return scene
    mean = np.mean([_log(part) for part in own], axis=0)
    found: NDArray[np.float32] = softmax((1 - share) * _log(scene) + share * mean, axis=2)
    return found


def _compared(
    values: Sequence[float],
    spread_with: Callable[[Split], Sequence[NDArray[np.float32]]],
    labels: NDArray[np.integer[Any]],
    splits: Sequence[Split],
) -> list[tuple[float, int, int]]:
    """Compare each value but the first with the first.

    Returns:
        The value; the number of validation pixels that it alone has right; those that the first
        alone has right.
    """
    if len(values) == 1:
        return []
    if not splits:
        raise ConfigurationError(
            "splits must hold at least one split to choose among own_shares or other_alphas"
        )
    classes = labels.ravel()
    right = []
    for split in splits:
        found = [part.argmax(axis=2).ravel()[split.val] + 1 for part in spread_with(split)]
        right.append(np.stack(found) == classes[split.val])
    first, *others = np.concatenate(right, axis=1)
    return [
        (value, int((other & ~first).sum()), int((first & ~other).sum()))
        for value, other in zip(values[1:], others, strict=True)
    ]
