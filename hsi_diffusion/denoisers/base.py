"""What every denoising network offers, whatever it does inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least
from hsi_diffusion.parts import Recorded

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class FeatureLevel:
    """One place in a network where features can be taken.

    Attributes:
        name: Short name, unique in the network.
        channels: Numbers per pixel, D.
        reduction: By how much the spatial grid is coarser than the image; 1 = same grid.
        radius: Pixels of the image to each side on which a feature depends, from any of the pixels
            that a coarser one covers; so the halo with which a tile gives exactly what the whole
            image gives.
    """

    name: str
    channels: int
    reduction: int = 1
    radius: int = field(kw_only=True)


class Denoiser(Recorded, nn.Module, ABC):
    """A network that looks at a noisy image and its timestep.

    A subclass brings its layers and :meth:`forward_levels`; reshaping and band padding are its own
    matter. What the output means (noise, x0, v) is decided by whoever trains it.

    Args:
        num_bands: Bands (or components) of the images.
        feature_info: The places where features can be taken, in the order of ``indices``.
        radius: Pixels to each side on which an output pixel depends.

    Raises:
        ConfigurationError: ``num_bands`` is below 1.

    Attributes:
        num_bands: As given.
        feature_info: As given.
        radius: As given.
        alignment: A crop of a scene gives what the scene gives, up to the radius from its edges,
            if it starts at multiples of this; 1 = anywhere. A subclass that lays a grid of windows
            over the pixels sets it.
    """

    num_bands: int
    feature_info: tuple[FeatureLevel, ...]
    radius: int
    alignment: int = 1

    def __init__(
        self, num_bands: int, *, feature_info: Sequence[FeatureLevel], radius: int
    ) -> None:
        super().__init__()
        check_at_least(1, num_bands=num_bands)
        self.num_bands = num_bands
        self.feature_info = tuple(feature_info)
        self.radius = radius

    if TYPE_CHECKING:

        def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:  # noqa: D102
            ...

    @abstractmethod
    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Denoise, and give features at the asked levels; the one method of a subclass.

        The methods below call it with images, timesteps and levels that fit.

        Args:
            x_t: Noisy images, shape (B, bands, H, W).
            t: Their timesteps, int64, shape (B,).
            indices: Numbers of levels in ``feature_info``, in any order, or none.
            output: Whether the denoised images are wanted. Where they are not, nothing beyond the
                deepest level needs to be computed.

        Returns:
            The denoised images, (B, bands, H, W), or None where they are not wanted; and one tensor
            per index, in the order asked, of shape (B, channels, H / reduction, W / reduction) of
            that level.
        """

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Denoise.

        Args:
            x_t: Noisy images, shape (B, bands, H, W).
            t: Their timesteps, int64, shape (B,).

        Returns:
            Shape (B, bands, H, W).

        Raises:
            ConfigurationError: ``x_t`` or ``t`` does not fit.
        """
        self.check_input(x_t, t)
        return self._given(self.forward_levels(x_t, t, [], output=True)[0])

    def forward_intermediates(self, x_t: Tensor, t: Tensor, indices: Sequence[int]) -> list[Tensor]:
        """Features at the asked levels; nothing beyond the deepest of them is computed.

        Args:
            x_t: Noisy images, shape (B, bands, H, W).
            t: Their timesteps, int64, shape (B,).
            indices: Numbers of levels in ``feature_info``, in any order.

        Returns:
            One tensor per index, in the order asked, shape (B, channels, H / reduction,
            W / reduction) of that level, with the sides rounded up.

        Raises:
            ConfigurationError: ``x_t`` or ``t`` does not fit, there is no such level, or a subclass
                gives other shapes than its ``feature_info`` says.
        """
        self.check_input(x_t, t)
        self.check_indices(indices)
        features = self.forward_levels(x_t, t, indices, output=False)[1]
        self._check_features(features, x_t, indices)
        return features

    def forward_with_features(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Denoise, and keep the features at the asked levels, in one pass.

        Gradients flow through both, so that a loss on features can train along.

        Args:
            x_t: Noisy images, shape (B, bands, H, W).
            t: Their timesteps, int64, shape (B,).
            indices: Numbers of levels in ``feature_info``, in any order.

        Returns:
            What :meth:`forward` gives, and what :meth:`forward_intermediates` gives.

        Raises:
            ConfigurationError: As for both.
        """
        self.check_input(x_t, t)
        self.check_indices(indices)
        output, features = self.forward_levels(x_t, t, indices, output=True)
        self._check_features(features, x_t, indices)
        return self._given(output), features

    def _given(self, output: Tensor | None) -> Tensor:
        if output is None:
            raise ConfigurationError(
                f"{type(self).__name__}.forward_levels gave None although the output was asked "
                "for; with output=True it must give the denoised images first"
            )
        return output

    def _check_features(
        self, features: Sequence[Tensor], x_t: Tensor, indices: Sequence[int]
    ) -> None:
        """Refuse what would be broadcast over a scene, or would not fit it."""
        batch, _, height, width = x_t.shape
        wanted = [
            (batch, level.channels, -(-height // level.reduction), -(-width // level.reduction))
            for level in (self.feature_info[index] for index in indices)
        ]
        found = [tuple(one.shape) for one in features]
        if found != wanted:
            raise ConfigurationError(
                f"{type(self).__name__}.forward_levels must give the levels {list(indices)} in the "
                f"shapes {wanted} for x_t of shape {tuple(x_t.shape)}, as its feature_info says "
                f"(channels, and sides divided by reduction, rounded up), got {found}"
            )

    def check_input(self, x_t: Tensor, t: Tensor) -> None:
        """Raise a ConfigurationError unless ``x_t`` and ``t`` fit each other and the network."""
        if x_t.ndim != 4 or x_t.shape[1] != self.num_bands:
            raise ConfigurationError(
                f"x_t must have shape (B, {self.num_bands}, H, W), as num_bands={self.num_bands}, "
                f"got {tuple(x_t.shape)}"
            )
        if t.shape != x_t.shape[:1]:
            raise ConfigurationError(
                f"t must have shape ({x_t.shape[0]},), one timestep per image, got {tuple(t.shape)}"
            )

    def check_indices(self, indices: Sequence[int]) -> None:
        """Raise a ConfigurationError unless ``indices`` name levels of ``feature_info``."""
        count = len(self.feature_info)
        wrong = [index for index in indices if not 0 <= index < count]
        if wrong or not indices:
            levels = ", ".join(f"{i} ({level.name})" for i, level in enumerate(self.feature_info))
            raise ConfigurationError(
                f"indices must name at least one level of {type(self).__name__}: {levels}; got "
                f"{list(indices)} (--features.levels)"
            )
