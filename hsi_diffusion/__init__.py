"""Diffusion models that learn hyperspectral scenes without labels and classify with few labels.

The names below are what most people import; everything else has its place in a folder, in the order
in which the data flow: ``scenes``, ``patches``, ``diffusion``, ``denoisers``, ``features``,
``networks``, ``graphs``, ``metrics``, ``reports``, ``modules``, ``classifiers``, ``recipes``,
``models``, ``runs``, ``benchmarks``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names once more, for type checkers and editors
    from hsi_diffusion.denoisers import Denoiser as Denoiser
    from hsi_diffusion.denoisers import FeatureLevel as FeatureLevel
    from hsi_diffusion.denoisers import StagedDenoiser as StagedDenoiser
    from hsi_diffusion.denoisers import UNet2D as UNet2D
    from hsi_diffusion.denoisers import UNet3D as UNet3D
    from hsi_diffusion.diffusion import NoiseSchedule as NoiseSchedule
    from hsi_diffusion.features import FeatureSettings as FeatureSettings
    from hsi_diffusion.features import FeatureStore as FeatureStore
    from hsi_diffusion.features import Reduction as Reduction
    from hsi_diffusion.graphs import Graph as Graph
    from hsi_diffusion.graphs import Spreading as Spreading
    from hsi_diffusion.metrics import HSIMetrics as HSIMetrics
    from hsi_diffusion.models import Prediction as Prediction
    from hsi_diffusion.models import SceneClassifier as SceneClassifier
    from hsi_diffusion.modules import ClassificationMap as ClassificationMap
    from hsi_diffusion.modules import ContrastSettings as ContrastSettings
    from hsi_diffusion.modules import CustomSceneDataModule as CustomSceneDataModule
    from hsi_diffusion.modules import DiffusionPretrainModule as DiffusionPretrainModule
    from hsi_diffusion.modules import FeatureClassifierModule as FeatureClassifierModule
    from hsi_diffusion.modules import FeatureDataModule as FeatureDataModule
    from hsi_diffusion.modules import Houston2013DataModule as Houston2013DataModule
    from hsi_diffusion.modules import IndianPinesDataModule as IndianPinesDataModule
    from hsi_diffusion.modules import LoadedSceneDataModule as LoadedSceneDataModule
    from hsi_diffusion.modules import PaviaUniversityDataModule as PaviaUniversityDataModule
    from hsi_diffusion.modules import PretrainedFeaturesDataModule as PretrainedFeaturesDataModule
    from hsi_diffusion.modules import ReconstructionFigures as ReconstructionFigures
    from hsi_diffusion.modules import SalinasADataModule as SalinasADataModule
    from hsi_diffusion.modules import SalinasDataModule as SalinasDataModule
    from hsi_diffusion.modules import SimulatedSceneDataModule as SimulatedSceneDataModule
    from hsi_diffusion.networks import PatchClassifier as PatchClassifier
    from hsi_diffusion.patches import Split as Split
    from hsi_diffusion.patches import make_split as make_split
    from hsi_diffusion.patches import scene_split as scene_split
    from hsi_diffusion.recipes import Recipe as Recipe
    from hsi_diffusion.scenes import Scene as Scene
    from hsi_diffusion.scenes import load_custom_scene as load_custom_scene
    from hsi_diffusion.scenes import load_scene as load_scene
    from hsi_diffusion.scenes import register_scene as register_scene
    from hsi_diffusion.scenes import simulate_scene as simulate_scene

_PUBLIC = {
    "denoisers": ("Denoiser", "FeatureLevel", "StagedDenoiser", "UNet2D", "UNet3D"),
    "diffusion": ("NoiseSchedule",),
    "features": ("FeatureSettings", "FeatureStore", "Reduction"),
    "graphs": ("Graph", "Spreading"),
    "metrics": ("HSIMetrics",),
    "models": ("Prediction", "SceneClassifier"),
    "modules": (
        "ClassificationMap",
        "ContrastSettings",
        "CustomSceneDataModule",
        "DiffusionPretrainModule",
        "FeatureClassifierModule",
        "FeatureDataModule",
        "Houston2013DataModule",
        "IndianPinesDataModule",
        "LoadedSceneDataModule",
        "PaviaUniversityDataModule",
        "PretrainedFeaturesDataModule",
        "ReconstructionFigures",
        "SalinasADataModule",
        "SalinasDataModule",
        "SimulatedSceneDataModule",
    ),
    "networks": ("PatchClassifier",),
    "patches": ("Split", "make_split", "scene_split"),
    "recipes": ("Recipe",),
    "scenes": ("Scene", "load_custom_scene", "load_scene", "register_scene", "simulate_scene"),
}
"""The public names by the folder that holds them."""

_FOLDERS = {name: folder for folder, names in _PUBLIC.items() for name in names}

__version__ = "0.1.0"

__all__ = list(_FOLDERS)


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: scenes don't wait for Lightning to load."""
    if name not in _FOLDERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FOLDERS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
