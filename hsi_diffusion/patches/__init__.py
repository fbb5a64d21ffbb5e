"""Patches: splits, band transforms, patch gathering, samplers and augmentation."""

from hsi_diffusion.patches.augment import (
    Augmentation,
    BandDropout,
    BandNoise,
    Compose,
    Dihedral,
    Gain,
    build_augmentation,
)
from hsi_diffusion.patches.blocks import block_split
from hsi_diffusion.patches.fields import field_split, in_labelled_fields
from hsi_diffusion.patches.filters import blur_radius, gaussian_blur
from hsi_diffusion.patches.folds import cross_validation_folds
from hsi_diffusion.patches.gather import PatchDataset, collate_batch, gather_patches
from hsi_diffusion.patches.holdout import pretraining_pixels
from hsi_diffusion.patches.samplers import EvaluationSampler, SeededSampler
from hsi_diffusion.patches.scene_split import (
    SplitSetting,
    check_split_settings,
    kind_of,
    scene_split,
)
from hsi_diffusion.patches.split import Split
from hsi_diffusion.patches.splits import (
    fixed_split,
    fraction_split,
    make_split,
    per_class_split,
)
from hsi_diffusion.patches.transforms import (
    MNF,
    PCA,
    TRANSFORMS,
    BandTransform,
    ChannelScale,
    Identity,
    MinMax,
    RelevantComponents,
    Standardise,
    StreamingPCA,
    TransformPart,
    build_transform,
    check_pca_settings,
    superpixels,
    transform_from_state,
)
from hsi_diffusion.patches.views import TwoViews, build_two_views
from hsi_diffusion.scenes.labels import field_map

__all__ = [
    "MNF",
    "PCA",
    "TRANSFORMS",
    "Augmentation",
    "BandDropout",
    "BandNoise",
    "BandTransform",
    "ChannelScale",
    "Compose",
    "Dihedral",
    "EvaluationSampler",
    "Gain",
    "Identity",
    "MinMax",
    "PatchDataset",
    "RelevantComponents",
    "SeededSampler",
    "Split",
    "SplitSetting",
    "Standardise",
    "StreamingPCA",
    "TransformPart",
    "TwoViews",
    "block_split",
    "blur_radius",
    "build_augmentation",
    "build_transform",
    "build_two_views",
    "check_pca_settings",
    "check_split_settings",
    "collate_batch",
    "cross_validation_folds",
    "field_map",
    "field_split",
    "fixed_split",
    "fraction_split",
    "gather_patches",
    "gaussian_blur",
    "in_labelled_fields",
    "kind_of",
    "make_split",
    "per_class_split",
    "pretraining_pixels",
    "scene_split",
    "superpixels",
    "transform_from_state",
]
