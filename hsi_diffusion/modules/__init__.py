"""Lightning modules: thin wiring, logging and configuration over the parts above."""

from typing import Any

from hsi_diffusion.modules.callbacks import (
    ClassificationMap,
    ReconstructionFigures,
    log_figure,
)
from hsi_diffusion.modules.catalogue import (
    CatalogueDataModule,
    CustomSceneDataModule,
    Houston2013DataModule,
    IndianPinesDataModule,
    PaviaUniversityDataModule,
    SalinasADataModule,
    SalinasDataModule,
    SimulatedSceneDataModule,
    class_name,
    scene_data_module,
)
from hsi_diffusion.modules.classify import FeatureClassifierModule
from hsi_diffusion.modules.contrast import ContrastSettings
from hsi_diffusion.modules.data import FeatureDataModule, PatchDataModule
from hsi_diffusion.modules.lightning_cli import SceneCLI
from hsi_diffusion.modules.optimisation import LearningRateSchedule
from hsi_diffusion.modules.pretrain import DiffusionPretrainModule
from hsi_diffusion.modules.pretrained_data import PretrainedFeaturesDataModule
from hsi_diffusion.modules.runtime import Runtime
from hsi_diffusion.modules.scene_data import LoadedSceneDataModule, SceneDataModule
from hsi_diffusion.scenes import CATALOGUE

__all__ = [
    "CatalogueDataModule",
    "ClassificationMap",
    "ContrastSettings",
    "CustomSceneDataModule",
    "DiffusionPretrainModule",
    "FeatureClassifierModule",
    "FeatureDataModule",
    "Houston2013DataModule",
    "IndianPinesDataModule",
    "LearningRateSchedule",
    "LoadedSceneDataModule",
    "PatchDataModule",
    "PaviaUniversityDataModule",
    "PretrainedFeaturesDataModule",
    "ReconstructionFigures",
    "Runtime",
    "SalinasADataModule",
    "SalinasDataModule",
    "SceneCLI",
    "SceneDataModule",
    "SimulatedSceneDataModule",
    "log_figure",
    "scene_data_module",
]


def __getattr__(name: str) -> Any:
    """The data module of a scene that was registered: ``register_scene(info)`` is enough."""
    for scene in CATALOGUE:
        if class_name(scene) == name:
            return scene_data_module(scene)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
