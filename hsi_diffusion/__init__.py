"""Diffusion models that learn hyperspectral scenes without labels and classify with few labels.

The names below are what most people import; everything else has its place in a folder, in the order
in which the data flow: ``scenes``, ``patches``, ``diffusion``, ``denoisers``, ``features``,
``classifiers``, ``metrics``, ``reports``, ``modules``, ``runs``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hsi_diffusion.denoisers import UNet3D
    from hsi_diffusion.features import FeatureSettings, FeatureStore, Reduction
    from hsi_diffusion.metrics import HSIMetrics
    from hsi_diffusion.modules import (
        CustomSceneDataModule,
        DiffusionPretrainModule,
        FeatureClassifierModule,
        FeatureDataModule,
        Houston2013DataModule,
        IndianPinesDataModule,
        PaviaUniversityDataModule,
        SalinasADataModule,
        SalinasDataModule,
        SimulatedSceneDataModule,
    )
    from hsi_diffusion.patches import Split
    from hsi_diffusion.scenes import Scene, load_custom_scene, load_scene, simulate_scene

_FOLDERS = {
    "CustomSceneDataModule": "modules",
    "DiffusionPretrainModule": "modules",
    "FeatureClassifierModule": "modules",
    "FeatureDataModule": "modules",
    "FeatureSettings": "features",
    "FeatureStore": "features",
    "HSIMetrics": "metrics",
    "Houston2013DataModule": "modules",
    "IndianPinesDataModule": "modules",
    "PaviaUniversityDataModule": "modules",
    "Reduction": "features",
    "SalinasADataModule": "modules",
    "SalinasDataModule": "modules",
    "Scene": "scenes",
    "SimulatedSceneDataModule": "modules",
    "Split": "patches",
    "UNet3D": "denoisers",
    "load_custom_scene": "scenes",
    "load_scene": "scenes",
    "simulate_scene": "scenes",
}

__version__ = "0.1.0"

__all__ = [
    "CustomSceneDataModule",
    "DiffusionPretrainModule",
    "FeatureClassifierModule",
    "FeatureDataModule",
    "FeatureSettings",
    "FeatureStore",
    "HSIMetrics",
    "Houston2013DataModule",
    "IndianPinesDataModule",
    "PaviaUniversityDataModule",
    "Reduction",
    "SalinasADataModule",
    "SalinasDataModule",
    "Scene",
    "SimulatedSceneDataModule",
    "Split",
    "UNet3D",
    "load_custom_scene",
    "load_scene",
    "simulate_scene",
]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: scenes don't wait for Lightning to load."""
    if name not in _FOLDERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FOLDERS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
