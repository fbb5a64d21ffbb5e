"""Labels spread along several graphs of one scene."""

from __future__ import annotations

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

    A graph of raw bands and graphs of diffusion features err in different places: bands keep the
    borders between fields, features (the more so, the later the timestep) what a field is as a
    whole. Ours; in none of the papers.

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

        Args:
            labels: Label map, shape (H, W), classes 1..K; read at the training pixels only.
            train: Flat numbers of the training pixels.
            num_classes: Number of classes K.

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
        """Take the share that is right at most validation pixels.

        Args:
            shares: What to choose among; of equally good ones the first.
            labels: Label map, shape (H, W), classes 1..K.
            splits: Labels of each one's training pixels are spread, and compared on its validation
                pixels.
            num_classes: Number of classes K.

        Returns:
            The share, from now on that of this object.
        """
        for share in shares:
            self._check(share)
        right = np.zeros(len(shares), dtype=np.int64)
        if len(shares) > 1:
            classes = labels.ravel()
            for split in splits:
                logarithms = self._logarithms(labels, split.train, num_classes)
                for number, share in enumerate(shares):
                    found = _joined(*logarithms, share).argmax(axis=2).ravel()[split.val] + 1
                    right[number] += int((found == classes[split.val]).sum())
        self.share = shares[int(right.argmax())]
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
