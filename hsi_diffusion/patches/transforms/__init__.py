"""Band transforms: fitted once without labels, saved, and undone."""

from hsi_diffusion.patches.transforms.base import BandTransform, LinearTransform
from hsi_diffusion.patches.transforms.build import (
    TRANSFORMS,
    TransformPart,
    build_transform,
    transform_from_state,
)
from hsi_diffusion.patches.transforms.mnf import MNF, noise_covariance
from hsi_diffusion.patches.transforms.pca import PCA
from hsi_diffusion.patches.transforms.scaling import Identity, MinMax, Standardise
from hsi_diffusion.patches.transforms.streaming_pca import (
    ChannelScale,
    StreamingPCA,
    check_pca_settings,
)
from hsi_diffusion.patches.transforms.superpixels import RelevantComponents, superpixels

__all__ = [
    "MNF",
    "PCA",
    "TRANSFORMS",
    "BandTransform",
    "ChannelScale",
    "Identity",
    "LinearTransform",
    "MinMax",
    "RelevantComponents",
    "Standardise",
    "StreamingPCA",
    "TransformPart",
    "build_transform",
    "check_pca_settings",
    "noise_covariance",
    "superpixels",
    "transform_from_state",
]
