"""Base of all networks that classify the centre pixel of a patch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least
from hsi_diffusion.parts import Recorded

if TYPE_CHECKING:
    from torch import Tensor


class PatchClassifier(Recorded, nn.Module, ABC):
    """Base of the networks from patches (B, in_channels, P, P) to logits (B, K).

    Subclasses bring :meth:`_logits`.

    Args:
        in_channels: Channels of a patch: bands, components or diffusion features.
        num_classes: Number of classes K.
        patch_size: Side P of the patch in pixels.
        sizes: Further sizes of the network, which can't be below 1 either.

    Raises:
        ConfigurationError: A size is below 1.
    """

    def __init__(self, in_channels: int, num_classes: int, patch_size: int, **sizes: int) -> None:
        super().__init__()
        check_at_least(
            1, in_channels=in_channels, num_classes=num_classes, patch_size=patch_size, **sizes
        )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.patch_size = patch_size

    def forward(self, image: Tensor) -> Tensor:
        """Classify the centre pixels of patches.

        Args:
            image: Shape (B, in_channels, P, P).

        Returns:
            Logits, shape (B, num_classes).

        Raises:
            ConfigurationError: The patches have another number of channels or another size.
        """
        self.check_image(image)
        return self._logits(image)

    @abstractmethod
    def _logits(self, image: Tensor) -> Tensor:
        """Logits of patches that fit the network."""

    def check_image(self, image: Tensor) -> None:
        """Raise a ConfigurationError unless ``image`` holds patches as the network expects them."""
        expected = (self.in_channels, self.patch_size, self.patch_size)
        if tuple(image.shape[1:]) != expected:
            raise ConfigurationError(
                f"image must have shape (B, {', '.join(map(str, expected))}), got "
                f"{tuple(image.shape)}; build the classifier with the channels and the patch size "
                "of the data module"
            )

    def centre_spectrum(self, image: Tensor) -> Tensor:
        """The channels of the centre pixel, shape (B, in_channels)."""
        return image[:, :, self.patch_size // 2, self.patch_size // 2]


def centre_pixel(patch_size: int) -> int:
    """Flat number of a patch's centre, row and column P // 2."""
    return patch_size // 2 * (patch_size + 1)
