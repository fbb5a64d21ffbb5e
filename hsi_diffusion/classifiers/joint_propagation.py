"""Labels spread along several graphs of one scene."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.classifiers.propagation import LabelPropagation
    from hsi_diffusion.patches import Split

FLOOR = 1e-6
"""A class that one graph rules out wholly may still be the right one."""


class JointPropagation:
    """What arrives along several graphs, joined by the weighted geometric mean.

    Meant for a graph of the scene's bands and graphs of what a denoiser makes of them, such as
    :func:`~hsi_diffusion.features.restored_scenes`: the bands keep borders between fields, the
    restored scenes (the more so, the later the timestep) what a field is as a whole. Ours; in none
    of the papers.

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
        classes = labels.ravel()
        parts = []
        for split in splits:
            logarithms = self._logarithms(labels, split.train, num_classes)
            found = [_joined(*logarithms, share).argmax(axis=2).ravel() + 1 for share in shares]
            parts.append(np.stack(found)[:, split.val] == classes[split.val])
        usual, *others = np.concatenate(parts, axis=1)
        most = -math.inf
        for share, right in zip(shares[1:], others, strict=True):
            gained, lost = int((right & ~usual).sum()), int((usual & ~right).sum())
            if gained and lost - gained <= math.sqrt(gained + lost) and gained - lost > most:
                self.share, most = share, gained - lost
        return self.share

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


def _joined(
    scene: NDArray[np.float32], own: NDArray[np.float32], share: float
) -> NDArray[np.float32]:
    """Probabilities from the logarithms of both."""
    joined = np.exp((1 - share) * scene + share * own)
    found: NDArray[np.float32] = joined / joined.sum(axis=2, keepdims=True)
    return found
