"""One object is the model: fitted on a scene, saved, and applied to other images of the sensor."""

from __future__ import annotations

from hsi_diffusion.models.fitted import FitRecord, FittedModel, FittedOn
from hsi_diffusion.models.mapping import map_image
from hsi_diffusion.models.predictor import Prediction
from hsi_diffusion.models.representation import BandRepresentation, DiffusionRepresentation
from hsi_diffusion.models.scene_classifier import SceneClassifier
from hsi_diffusion.models.stopwatch import Stopwatch

__all__ = [
    "BandRepresentation",
    "DiffusionRepresentation",
    "FitRecord",
    "FittedModel",
    "FittedOn",
    "Prediction",
    "SceneClassifier",
    "Stopwatch",
    "map_image",
]
