"""What a run found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hsi_diffusion.metrics import HSIMetrics
    from hsi_diffusion.models import FitRecord, FittedModel, SceneClassifier
    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.settings import RunSettings
    from hsi_diffusion.scenes import Scene


@dataclass(frozen=True)
class Outcome:
    """A fitted model, and its figures of merit.

    Attributes:
        model: The model.
        predicted: Classes 1..K of every pixel, shape (H, W).
        metrics: Counts of the test pixels.
        confidence: Probability of the class of every pixel, float32, shape (H, W).
    """

    model: SceneClassifier
    predicted: NDArray[np.int64]
    metrics: HSIMetrics
    confidence: NDArray[np.float32]

    @property
    def record(self) -> FitRecord:
        """How the model was fitted."""
        record = self.model.record
        assert record is not None  # noqa: S101  (a model that was measured was fitted)
        return record

    @property
    def fitted(self) -> FittedModel:
        """What the fit has found."""
        fitted = self.model.fitted
        assert fitted is not None  # noqa: S101  (a model that was measured was fitted)
        return fitted


@dataclass(frozen=True)
class RunResult:
    """What a run found.

    Attributes:
        settings: What decided it.
        scene: The scene.
        split: Which of its pixels are for what.
        method: What the method found, on diffusion features or, without pretraining, on raw bands.
        control: What the same classifier found on raw bands; None without a control.
        seconds: Time of each stage.
        resumed: The run was stopped on its way, and ``seconds`` count only its last session.
    """

    settings: RunSettings
    scene: Scene
    split: Split
    method: Outcome
    control: Outcome | None
    seconds: dict[str, float]
    resumed: bool = False

    @property
    def on_features(self) -> Outcome | None:
        """What was found on diffusion features; None for a baseline."""
        return self.method if self.settings.pretrains else None

    @property
    def on_raw_bands(self) -> Outcome | None:
        """What was found on raw bands, as the method or its control; None without a control."""
        return self.control if self.settings.pretrains else self.method
