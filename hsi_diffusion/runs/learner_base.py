"""What every way to learn the classes of a scene's pixels has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from lightning.pytorch.loggers import Logger

from hsi_diffusion.features import FeatureCube
from hsi_diffusion.metrics import SCALARS
from hsi_diffusion.modules.callbacks import give_figure
from hsi_diffusion.reports import classification_map
from hsi_diffusion.runs.stages import measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.classifiers import JointPropagation
    from hsi_diffusion.metrics import HSIMetrics
    from hsi_diffusion.modules import SceneDataModule
    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import RunSettings
    from hsi_diffusion.runs.workplace import Workplace

Cube = FeatureCube | np.ndarray[Any, np.dtype[np.float32]]
"""Features, or raw bands in some space, over the pixels of a scene."""

SHARE = "own_share"
"""What a learner found: the weight of its own graphs, where labels were spread."""

ALPHA = "alpha"
"""What a learner found: how far labels reach, where they were spread."""


class Costs(NamedTuple):
    """What a classifier costs.

    Attributes:
        parameters: Trained numbers of all its networks; None where that means nothing.
        training_seconds: Time of the last training, without what came before it.
        test_seconds: Time to classify every pixel of the scene, with its features at hand.
    """

    parameters: int | None
    training_seconds: float
    test_seconds: float


class Classified(NamedTuple):
    """What a final classifier found.

    Attributes:
        predicted: Classes 1..K of every pixel, shape (H, W).
        metrics: Counts of the test pixels.
        costs: What it took.
        seen: Side of the square of pixels of the cube that it sees around a pixel; None: the whole
            scene.
        timestep_weights: How much it trusts each timestep at each pixel, shape (H, W, T); None for
            a classifier without a gate.
        found: What the training itself chose, such as an SVM's settings; plain data.
    """

    predicted: NDArray[np.int64]
    metrics: HSIMetrics
    costs: Costs
    seen: int | None
    timestep_weights: NDArray[np.float32] | None = None
    found: dict[str, Any] | None = None


class Learner(ABC):
    """A way to learn the classes of a scene's pixels from a cube over them.

    Args:
        cube: What to learn from.
        data: The scene, set up.
        settings: Everything that decides the run.
        place: Where to compute and write.
        spread: What labels are spread along beside the learner's own answers; None: nothing.
    """

    def __init__(
        self,
        cube: Cube,
        data: SceneDataModule,
        settings: RunSettings,
        place: Workplace,
        spread: JointPropagation | None = None,
    ) -> None:
        self.spread = spread
        self.cube = cube
        self.data = data
        self.settings = settings
        self.place = place

    @abstractmethod
    def score(self, split: Split) -> tuple[float, float]:
        """Learn from a split's training pixels, in a short training.

        Returns:
            Overall accuracy and mean cross-entropy on its validation pixels; the second is nan
            where there are no probabilities.
        """

    @abstractmethod
    def learn(self, stage: str) -> Classified:
        """Learn from training and validation pixels, map the scene, measure at the test pixels.

        Args:
            stage: Name of the checkpoint and for loggers.
        """

    def _measured(
        self, predicted: NDArray[np.int64], logger: Logger | bool, steps: int = 0
    ) -> HSIMetrics:
        """The map's figures at the test pixels; logged, as the map is, after so many steps."""
        metrics = measure(predicted, self.data, self.data.require_split().test)
        if isinstance(logger, Logger):
            figures = metrics.compute()
            logger.log_metrics({f"test/{name}": figures[name].item() for name in SCALARS}, steps)
            logger.save()
            drawn = classification_map(predicted, self.data.info, truth=self.data.labels)
            give_figure(logger, "classification_map", drawn, steps)
        return metrics


def cube_parts(cube: Cube, *, each: bool) -> tuple[NDArray[np.float32], ...]:
    """What one estimator each, and one graph each, is made of.

    Args:
        cube: Features or raw bands, (H, W, D).
        each: Features of every timestep and level by themselves.
    """
    if isinstance(cube, FeatureCube):
        return cube.parts() if each else (cube.array,)
    return (cube,)


def spread_facts(spread: JointPropagation) -> dict[str, Any]:
    """What was chosen for the graphs, as plain data."""
    return {SHARE: spread.share, ALPHA: spread.scene.alpha}
