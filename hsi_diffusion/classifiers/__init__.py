"""What classifies the pixels of a cube, whether it holds bands or diffusion features."""

from __future__ import annotations

from hsi_diffusion.classifiers.base import (
    Cube,
    Layout,
    PixelClassifier,
    array_of,
    layout_of,
    parts_of,
)
from hsi_diffusion.classifiers.estimator import EstimatorClassifier
from hsi_diffusion.classifiers.network import (
    NetworkClassifier,
    cross_entropy,
    load_weights,
    require_own,
)
from hsi_diffusion.classifiers.settings import ClassifierSettings, EstimatorFactory, NetworkFactory
from hsi_diffusion.classifiers.svm import SupportVectorMachine

__all__ = [
    "ClassifierSettings",
    "Cube",
    "EstimatorClassifier",
    "EstimatorFactory",
    "Layout",
    "NetworkClassifier",
    "NetworkFactory",
    "PixelClassifier",
    "SupportVectorMachine",
    "array_of",
    "cross_entropy",
    "layout_of",
    "load_weights",
    "parts_of",
    "require_own",
]
