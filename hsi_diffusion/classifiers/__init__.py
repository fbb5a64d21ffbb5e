"""Networks that classify patches of a cube, whether it holds bands or diffusion features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsi_diffusion.classifiers.spectral_transformer import SpectralTransformer
from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import nn

CLASSIFIERS = {"spectral_transformer": SpectralTransformer}
"""Networks by the name that configurations use."""


def build_classifier(
    name: str, *, in_channels: int, num_classes: int, patch_size: int, options: dict[str, Any]
) -> nn.Module:
    """Build a patch classifier, (B, in_channels, P, P) -> logits (B, K), from plain data.

    Args:
        name: One of :data:`CLASSIFIERS`.
        in_channels: Channels of a patch.
        num_classes: Number of classes K.
        patch_size: Side P of a patch in pixels.
        options: Further arguments of the network.

    Returns:
        The network with new weights.

    Raises:
        ConfigurationError: The name is unknown, or the network has no such option.
    """
    if name not in CLASSIFIERS:
        raise ConfigurationError(
            f"classifier must be one of {', '.join(sorted(CLASSIFIERS))}, got {name!r}"
        )
    try:
        return CLASSIFIERS[name](in_channels, num_classes, patch_size, **options)
    except TypeError as error:
        raise ConfigurationError(f"classifier_options don't fit {name!r}: {error}") from error


__all__ = ["CLASSIFIERS", "SpectralTransformer", "build_classifier"]
