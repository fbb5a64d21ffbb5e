"""Denoisers by the names that a configuration holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsi_diffusion.denoisers.staged import StagedDenoiser
from hsi_diffusion.denoisers.unet2d import UNet2D
from hsi_diffusion.denoisers.unet3d import UNet3D
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsi_diffusion.denoisers.base import Denoiser

DENOISERS: dict[str, type[Denoiser]] = {
    "unet3d": UNet3D,
    "staged": StagedDenoiser,
    "unet2d": UNet2D,
}
"""Every network by its name."""


def build_denoiser(name: str, num_bands: int, options: Mapping[str, Any] | None = None) -> Denoiser:
    """Make a denoiser.

    Args:
        name: A name in ``DENOISERS``.
        num_bands: Bands (or components) of the images.
        options: The network's other arguments; what is left out has its default.

    Returns:
        The network, with fresh weights.

    Raises:
        ConfigurationError: An unknown name or option, or a value that the network refuses.
    """
    if name not in DENOISERS:
        raise ConfigurationError(
            f"denoiser must be one of {', '.join(DENOISERS)}, but {name!r} was given"
        )
    network = DENOISERS[name]
    options = dict(options or {})
    check_options(network, options, "denoiser_options", given=("num_bands",))
    return network(num_bands, **options)
