"""Labels spread along several graphs of one scene, alone or with what a classifier answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.classifiers.propagation import passed_on, shares_of
from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.classifiers.propagation import LabelPropagation
    from hsi_diffusion.patches import Split

FLOOR = 1e-6
"""A class that one graph rules out wholly may still be the right one."""


class JointPropagation:
    """What arrives along several graphs, joined by the weighted geometric mean.

    Meant for a graph of the scene's bands and graphs of what a denoiser makes of them, its features
    or :func:`~hsi_diffusion.features.restored_scenes`: the bands keep borders between fields, the
    others (the more so, the later the timestep) what a field is as a whole. What a classifier of
    single pixels answers can be joined with it, see :meth:`with_answers`. Ours; in none of the
    papers.

    Args:
        scene: Propagation along the scene's graph, fitted.
        own: Propagations along further graphs of the same pixels, fitted; they count alike.
        share: Weight of all the further ones together, in [0, 1].

    Raises:
        ConfigurationError: The share is outside what is allowed, or there is nothing to give it to.
    """

    def __init__(
        self, scene: LabelPropagation, own: Sequence[LabelPropagation] = (), share: float = 0.0
    ) -> None:
        self.scene = scene
        self.own = tuple(own)
        self._check(share)
        self.share = share

    def predict(
        self, labels: NDArray[np.integer[Any]], train: NDArray[np.integer[Any]], num_classes: int
    ) -> NDArray[np.float32]:
        """Spread the labels of the training pixels.

        Arguments and errors are those of
        :meth:`~hsi_diffusion.classifiers.LabelPropagation.predict`.

        Returns:
            Probabilities, shape (H, W, K), of sum 1.
        """
        if not self.share:
            return self.scene.predict(labels, train, num_classes)
        return _joined(*self._logarithms(labels, train, num_classes), self.share)

    def smooth(
        self, answers: NDArray[np.floating[Any]], alpha: float = 0.95, iterations: int = 100
    ) -> NDArray[np.float32]:
        """Let pixels agree with those that they are joined to.

        F <- alpha S F + (1 - alpha) P, beginning with the answers P: what an extended random walk
        does with the answers of an SVM (Kang et al., TGRS 2015), along other graphs and stopped
        early. S is the mean of the scene's graph and the mean of the further ones, or with a share
        of 0 the scene's alone.

        Args:
            answers: Probabilities of the classes at every pixel, shape (H, W, K).
            alpha: Share of a pixel's answer that comes from its neighbours, in (0, 1).
            iterations: How often the answers are passed on, at least 1.

        Returns:
            Probabilities, shape (H, W, K), of sum 1.

        Raises:
            ConfigurationError: A setting is outside what is allowed, or the answers are those of
                another scene.
        """
        check_smoothing(alpha, iterations)
        graph = self.scene.graph
        if self.share:
            own = [one.graph for one in self.own]
            graph = 0.5 * graph + sum(own[1:], own[0]) * (0.5 / len(own))
        if answers.ndim != 3 or answers.shape[:2] != self.scene.shape:
            raise ConfigurationError(
                f"answers must have the shape {(*self.scene.shape, 'K')}, that of the scene with K "
                f"classes, got {answers.shape}"
            )
        start = answers.reshape(graph.shape[0], -1).astype(np.float64)
        return shares_of(passed_on(graph, start, alpha, iterations)).reshape(answers.shape)

    def with_answers(
        self,
        answers: NDArray[np.floating[Any]],
        labels: NDArray[np.integer[Any]],
        train: NDArray[np.integer[Any]],
        *,
        weight: float = 1.0,
        alpha: float = 0.95,
        iterations: int = 100,
    ) -> NDArray[np.float32]:
        """Labels that are spread, times answers that are smoothed.

        Args:
            answers: What a classifier that learned from the training pixels says of every pixel,
                shape (H, W, K).
            labels: Label map, shape (H, W), classes 1..K; read at the training pixels only.
            train: Flat numbers of the training pixels.
            weight: Power of the smoothed answers in the product; 0 = they don't count.
            alpha: As for :meth:`smooth`.
            iterations: As for :meth:`smooth`.

        Returns:
            Probabilities, shape (H, W, K), of sum 1.

        Raises:
            ConfigurationError: A setting is outside what is allowed, or the answers or labels are
                those of another scene.
        """
        check_smoothing(alpha, iterations, weight)
        spread = self.predict(labels, train, answers.shape[2])
        smoothed = self.smooth(answers, alpha, iterations)
        of_labels, of_answers = (
            np.log(np.maximum(part, np.float32(FLOOR))) for part in (spread, smoothed)
        )
        return _probabilities(of_labels + np.float32(weight) * of_answers)

    def choose_share(
        self,
        shares: Sequence[float],
        labels: NDArray[np.integer[Any]],
        splits: Sequence[Split],
        num_classes: int,
    ) -> float:
        """Take the share that validation pixels speak for.

        A handful of them says little. So the first share stands against the others: another one is
        considered if it is right at least once where the first is wrong, and if it isn't worse by
        more than one standard error of the difference (as in McNemar's test); of those, the one
        that is right most often is taken.

        Args:
            shares: What to choose among, first what to do without evidence.
            labels: Label map, shape (H, W), classes 1..K.
            splits: Labels of each one's training pixels are spread, and compared on its validation
                pixels.
            num_classes: Number of classes K.

        Returns:
            The share, from now on that of this object.

        Raises:
            ConfigurationError: A share is outside what is allowed.
        """
        for share in shares:
            self._check(share)
        self.share = shares[0]
        if len(shares) == 1:
            return self.share

        def answers(split: Split) -> list[NDArray[np.float32]]:
            logarithms = self._logarithms(labels, split.train, num_classes)
            return [_joined(*logarithms, share) for share in shares]

        usual, *others = _right(answers, labels, splits)
        most = -math.inf
        for share, right in zip(shares[1:], others, strict=True):
            gained, lost = int((right & ~usual).sum()), int((usual & ~right).sum())
            if gained and lost - gained <= math.sqrt(gained + lost) and gained - lost > most:
                self.share, most = share, gained - lost
        return self.share

    def choose_alpha(
        self,
        alphas: Sequence[float],
        labels: NDArray[np.integer[Any]],
        splits: Sequence[Split],
        num_classes: int,
    ) -> float:
        """Take the reach of the labels that validation pixels speak for, the same on all graphs.

        Labels that lie close together need not be spread far. The first one stands against the
        others: the best of those is taken if it is better by more than one standard error of the
        difference.

        Args:
            alphas: What to choose among, first what to do without evidence; each is the ``alpha``
                of :class:`~hsi_diffusion.classifiers.LabelPropagation`.
            labels: Label map, shape (H, W), classes 1..K.
            splits: Labels of each one's training pixels are spread, and compared on its validation
                pixels.
            num_classes: Number of classes K.

        Returns:
            The reach, from now on that of this object; the graphs that it was made of keep theirs.

        Raises:
            ConfigurationError: A reach is outside what is allowed.
        """
        reaching = [self._reaching(alpha) for alpha in alphas]
        chosen = 0
        if len(alphas) > 1:

            def answers(split: Split) -> list[NDArray[np.float32]]:
                return [one.predict(labels, split.train, num_classes) for one in reaching]

            usual, *others = _right(answers, labels, splits)
            most = 0
            for number, right in enumerate(others, start=1):
                gained, lost = int((right & ~usual).sum()), int((usual & ~right).sum())
                if gained - lost > max(most, math.sqrt(gained + lost)):
                    chosen, most = number, gained - lost
        self.scene, self.own = reaching[chosen].scene, reaching[chosen].own
        return self.scene.alpha

    def _reaching(self, alpha: float) -> JointPropagation:
        """The same graphs, along which labels reach as far as ``alpha`` says."""
        scene, *own = (graph.reaching(alpha) for graph in (self.scene, *self.own))
        return JointPropagation(scene, own, self.share)

    def _logarithms(
        self, labels: NDArray[np.integer[Any]], train: NDArray[np.integer[Any]], num_classes: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logarithms of what arrives along the scene's graph, and their mean along the others."""
        first, *others = (
            np.log(np.maximum(graph.predict(labels, train, num_classes), FLOOR))
            for graph in (self.scene, *self.own)
        )
        return first, np.mean(others, axis=0)

    def _check(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise ConfigurationError(f"share must be from 0 to 1, got {share}")
        if share and not self.own:
            raise ConfigurationError(f"share must be 0 without further graphs, got {share}")


def _right(
    answers: Callable[[Split], Sequence[NDArray[np.float32]]],
    labels: NDArray[np.integer[Any]],
    splits: Sequence[Split],
) -> NDArray[np.bool_]:
    """Which validation pixels of all splits each of several answers has right, (answers, N)."""
    classes = labels.ravel()
    parts = []
    for split in splits:
        found = [shares.argmax(axis=2).ravel() + 1 for shares in answers(split)]
        parts.append(np.stack(found)[:, split.val] == classes[split.val])
    return np.concatenate(parts, axis=1)


def _joined(
    scene: NDArray[np.float32], own: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """Probabilities from the logarithms of both."""
    return _probabilities((1 - share) * scene + share * own)


def _probabilities(logarithms: NDArray[np.float32]) -> NDArray[np.float32]:
    joined = np.exp(logarithms)
    found: NDArray[np.float32] = joined / joined.sum(axis=2, keepdims=True)
    return found


def check_smoothing(alpha: float, iterations: int, weight: float = 1.0) -> None:
    """Refuse settings by which answers can't be smoothed.

    Raises:
        ConfigurationError: One is outside what is allowed.
    """
    if not 0 < alpha < 1:
        raise ConfigurationError(f"answer_alpha must lie between 0 and 1, got {alpha}")
    if iterations < 1:
        raise ConfigurationError(f"answer_iterations must be at least 1, got {iterations}")
    if not 0 <= weight < math.inf:
        raise ConfigurationError(f"answer_weight must be at least 0 and finite, got {weight}")
