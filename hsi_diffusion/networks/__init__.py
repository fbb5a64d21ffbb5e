"""Networks that classify the centre pixel of a patch, (B, C, P, P) to logits (B, K)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks.awam import AWAM, WeightedMean
from hsi_diffusion.networks.base import PatchClassifier
from hsi_diffusion.networks.cnn1d import CNN1D
from hsi_diffusion.networks.cnn2d import CNN2D
from hsi_diffusion.networks.cnn3d import CNN3D
from hsi_diffusion.networks.cross_layer import CrossLayerEncoder, CrossLayerFusion
from hsi_diffusion.networks.cross_layer_transformer import CrossLayerTransformer
from hsi_diffusion.networks.ctssfm import CTSSFM
from hsi_diffusion.networks.ensemble import Ensemble
from hsi_diffusion.networks.fusion import FUSIONS, FusionClassifier
from hsi_diffusion.networks.mini_gcn import MiniGCN
from hsi_diffusion.networks.patch_transformer import PatchTransformer
from hsi_diffusion.networks.spectral_former import SpectralFormer
from hsi_diffusion.networks.spectral_transformer import SpectralTransformer
from hsi_diffusion.networks.timestep_gate import TimestepGate
from hsi_diffusion.parts import build_part, by_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsi_diffusion.parts import Plain

NETWORKS: dict[str, type[nn.Module]] = by_name(
    CNN1D,
    CNN2D,
    CNN3D,
    CrossLayerTransformer,
    FusionClassifier,
    MiniGCN,
    SpectralFormer,
    SpectralTransformer,
)
"""Networks by the name that configurations use."""


def build_network(
    network: nn.Module | Callable[..., nn.Module] | Plain,
    in_channels: int,
    num_classes: int,
    patch_size: int,
    *,
    timesteps: int = 1,
    angles: bool = False,
) -> nn.Module:
    """Make a network of an object, a class or function, or plain data.

    Args:
        network: A network (B, in_channels, P, P) -> logits (B, K), used as it is; a class or
            function that makes one from ``in_channels``, ``num_classes`` and ``patch_size``; or one
            of :data:`NETWORKS`, as ``"CNN2D"`` or ``{"class_path": "CNN2D", "init_args": {...}}``.
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of a patch in pixels.
        timesteps: In how many equal groups the channels lie; for networks that take it.
        angles: Whether one spectral angle per timestep follows them; for networks that take it.

    Returns:
        The network.

    Raises:
        ConfigurationError: The name or an option is unknown, the network refuses a value, or it was
            made for other sizes.
    """
    made = build_part(
        network,
        nn.Module,
        NETWORKS,
        "classifier",
        in_channels,
        num_classes,
        patch_size,
        optional={"timesteps": timesteps, "angles": angles},
    )
    if isinstance(made, PatchClassifier):
        sizes = {"in_channels": in_channels, "num_classes": num_classes, "patch_size": patch_size}
        for name, size in sizes.items():
            if (own := getattr(made, name)) != size:
                raise ConfigurationError(
                    f"classifier must be made for {name}={size}, got one for {own}"
                )
    return made


__all__ = [
    "AWAM",
    "CNN1D",
    "CNN2D",
    "CNN3D",
    "CTSSFM",
    "FUSIONS",
    "NETWORKS",
    "CrossLayerEncoder",
    "CrossLayerFusion",
    "CrossLayerTransformer",
    "Ensemble",
    "FusionClassifier",
    "MiniGCN",
    "PatchClassifier",
    "PatchTransformer",
    "SpectralFormer",
    "SpectralTransformer",
    "TimestepGate",
    "WeightedMean",
    "build_network",
]
