"""Features of whole scenes: extraction by tiles, reduction, and a store on disk."""

from hsi_diffusion.features.angles import spectral_angle
from hsi_diffusion.features.compute import (
    FeatureLayout,
    compute_features,
    compute_together,
    feature_layout,
)
from hsi_diffusion.features.extract import iter_feature_tiles
from hsi_diffusion.features.reduce import FittedReduction, Reduction
from hsi_diffusion.features.request import (
    FeatureSettings,
    NoiseMode,
    feature_channels,
    feature_settings,
)
from hsi_diffusion.features.restore import restored_scenes
from hsi_diffusion.features.store import FeatureCube, FeatureStore, feature_key, weights_digest

__all__ = [
    "FeatureCube",
    "FeatureLayout",
    "FeatureSettings",
    "FeatureStore",
    "FittedReduction",
    "NoiseMode",
    "Reduction",
    "compute_features",
    "compute_together",
    "feature_channels",
    "feature_key",
    "feature_layout",
    "feature_settings",
    "iter_feature_tiles",
    "restored_scenes",
    "spectral_angle",
    "weights_digest",
]
