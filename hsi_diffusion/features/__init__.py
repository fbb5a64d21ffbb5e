"""Features of whole scenes: extraction by tiles, reduction, a store on disk, and their choice."""

from hsi_diffusion.features.angles import spectral_angle, spectral_angle_maps
from hsi_diffusion.features.compute import compute_features
from hsi_diffusion.features.extract import extract_features, iter_feature_tiles
from hsi_diffusion.features.reduce import ChannelScale, Reduction, StreamingPCA
from hsi_diffusion.features.request import (
    FeatureBlock,
    FeatureSettings,
    NoiseMode,
    Precision,
    feature_blocks,
)
from hsi_diffusion.features.restore import restored_scenes
from hsi_diffusion.features.selection import (
    Choice,
    Score,
    Trial,
    choose_by_validation,
    probe_scores,
)
from hsi_diffusion.features.store import FeatureCube, FeatureStore, feature_key, weights_digest

__all__ = [
    "ChannelScale",
    "Choice",
    "FeatureBlock",
    "FeatureCube",
    "FeatureSettings",
    "FeatureStore",
    "NoiseMode",
    "Precision",
    "Reduction",
    "Score",
    "StreamingPCA",
    "Trial",
    "choose_by_validation",
    "compute_features",
    "extract_features",
    "feature_blocks",
    "feature_key",
    "iter_feature_tiles",
    "probe_scores",
    "restored_scenes",
    "spectral_angle",
    "spectral_angle_maps",
    "weights_digest",
]
