"""Band transforms: fitted once without labels, saved, and undone."""

from hsi_diffusion.patches.transforms.base import BandTransform, LinearTransform
from hsi_diffusion.patches.transforms.build import build_transform, transform_from_state
from hsi_diffusion.patches.transforms.mnf import MNF, noise_covariance
from hsi_diffusion.patches.transforms.pca import PCA
from hsi_diffusion.patches.transforms.scaling import Identity, MinMax, Standardise

__all__ = [
    "MNF",
    "PCA",
    "BandTransform",
    "Identity",
    "LinearTransform",
    "MinMax",
    "Standardise",
    "build_transform",
    "noise_covariance",
    "transform_from_state",
]
