"""Lightning modules: thin wiring, logging and configuration over the parts above."""

from hsi_diffusion.modules.callbacks import (
    ClassificationMap,
    ReconstructionFigures,
    log_figure,
)
from hsi_diffusion.modules.catalogue import (
    CustomSceneDataModule,
    Houston2013DataModule,
    IndianPinesDataModule,
    PaviaUniversityDataModule,
    SalinasADataModule,
    SalinasDataModule,
    SimulatedSceneDataModule,
)
from hsi_diffusion.modules.classify import FeatureClassifierModule
from hsi_diffusion.modules.contrast import ContrastSettings, ViewContrast
from hsi_diffusion.modules.data import FeatureDataModule, PatchDataModule
from hsi_diffusion.modules.pretrain import DiffusionPretrainModule
from hsi_diffusion.modules.scene_data import SceneDataModule

__all__ = [
    "ClassificationMap",
    "ContrastSettings",
    "CustomSceneDataModule",
    "DiffusionPretrainModule",
    "FeatureClassifierModule",
    "FeatureDataModule",
    "Houston2013DataModule",
    "IndianPinesDataModule",
    "PatchDataModule",
    "PaviaUniversityDataModule",
    "ReconstructionFigures",
    "SalinasADataModule",
    "SalinasDataModule",
    "SceneDataModule",
    "SimulatedSceneDataModule",
    "ViewContrast",
    "log_figure",
]
