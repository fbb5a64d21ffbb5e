"""What classifies the pixels of a cube, whether it holds bands or diffusion features.

Networks see patches, and are built by :func:`build_classifier`; estimators of scikit-learn see
single pixels, and are built by :func:`build_estimator`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from hsi_diffusion.classifiers.awam import AWAM, WeightedMean
from hsi_diffusion.classifiers.base import PatchClassifier
from hsi_diffusion.classifiers.cnn1d import CNN1D
from hsi_diffusion.classifiers.cnn2d import CNN2D
from hsi_diffusion.classifiers.cnn3d import CNN3D
from hsi_diffusion.classifiers.cross_layer import CrossLayerEncoder, CrossLayerFusion
from hsi_diffusion.classifiers.cross_layer_transformer import CrossLayerTransformer
from hsi_diffusion.classifiers.ctssfm import CTSSFM
from hsi_diffusion.classifiers.ensemble import Ensemble, mean_log_probability
from hsi_diffusion.classifiers.estimator_base import Estimator
from hsi_diffusion.classifiers.estimators import (
    ESTIMATORS,
    NearestNeighbours,
    RandomForest,
    build_estimator,
)
from hsi_diffusion.classifiers.fusion import FUSIONS, FusionClassifier
from hsi_diffusion.classifiers.graph import SpectralGraph
from hsi_diffusion.classifiers.graph_classifier import GraphClassifier
from hsi_diffusion.classifiers.joint_propagation import JointPropagation
from hsi_diffusion.classifiers.mini_gcn import MiniGCN
from hsi_diffusion.classifiers.patch_transformer import PatchTransformer
from hsi_diffusion.classifiers.propagation import LabelPropagation
from hsi_diffusion.classifiers.spectral_former import SpectralFormer
from hsi_diffusion.classifiers.spectral_transformer import SpectralTransformer
from hsi_diffusion.classifiers.svm import SupportVectorMachine
from hsi_diffusion.classifiers.timestep_gate import TimestepGate
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "cnn1d": CNN1D,
    "cnn2d": CNN2D,
    "cnn3d": CNN3D,
    "cross_layer_transformer": CrossLayerTransformer,
    "fusion": FusionClassifier,
    "mini_gcn": MiniGCN,
    "spectral_former": SpectralFormer,
    "spectral_transformer": SpectralTransformer,
}
"""Networks by the name that configurations use."""


def build_classifier(
    name: str,
    *,
    in_channels: int,
    num_classes: int,
    patch_size: int,
    options: dict[str, Any],
    timesteps: int = 1,
    angles: bool = False,
) -> nn.Module:
    """Build a patch classifier, (B, in_channels, P, P) -> logits (B, K), from plain data.

    Args:
        name: One of :data:`CLASSIFIERS`.
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of a patch in pixels.
        options: Further arguments of the network.
        timesteps: In how many equal groups the channels lie; for networks that treat them apart.
        angles: Whether one spectral angle per timestep stands behind them; likewise.

    Returns:
        The network with new weights.

    Raises:
        ConfigurationError: The name is unknown, or the network refuses an option or its value.
    """
    if name not in CLASSIFIERS:
        raise ConfigurationError(
            f"classifier must be one of {', '.join(sorted(CLASSIFIERS))}, got {name!r}"
        )
    network = CLASSIFIERS[name]
    layout = {"timesteps": timesteps, "angles": angles}
    known = inspect.signature(network).parameters
    given = {name: value for name, value in layout.items() if name in known}
    check_options(
        network,
        options,
        "classifier_options",
        given=("in_channels", "num_classes", "patch_size", *given),
    )
    return network(in_channels, num_classes, patch_size, **given, **options)


__all__ = [
    "AWAM",
    "CLASSIFIERS",
    "CNN1D",
    "CNN2D",
    "CNN3D",
    "CTSSFM",
    "ESTIMATORS",
    "FUSIONS",
    "CrossLayerEncoder",
    "CrossLayerFusion",
    "CrossLayerTransformer",
    "Ensemble",
    "Estimator",
    "FusionClassifier",
    "GraphClassifier",
    "JointPropagation",
    "LabelPropagation",
    "MiniGCN",
    "NearestNeighbours",
    "PatchClassifier",
    "PatchTransformer",
    "RandomForest",
    "SpectralFormer",
    "SpectralGraph",
    "SpectralTransformer",
    "SupportVectorMachine",
    "TimestepGate",
    "WeightedMean",
    "build_classifier",
    "build_estimator",
    "mean_log_probability",
]
