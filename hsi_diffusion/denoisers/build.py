"""Denoisers by the names that a configuration holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from hsi_diffusion.denoisers.base import Denoiser
from hsi_diffusion.denoisers.pixel import PixelDenoiser
from hsi_diffusion.denoisers.staged import StagedDenoiser
from hsi_diffusion.denoisers.unet2d import UNet2D
from hsi_diffusion.denoisers.unet3d import UNet3D
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.parts import build_part, by_name

DENOISERS: dict[str, type[Denoiser]] = by_name(UNet3D, StagedDenoiser, UNet2D, PixelDenoiser)
"""The library's networks by their names."""

if TYPE_CHECKING:
    DenoiserPart = Callable[[int], Denoiser] | Denoiser | str | Mapping[str, Any]
else:  # what a command line offers: its parser knows names and class paths by itself
    DenoiserPart = Callable[[int], Denoiser] | Denoiser


def build_denoiser(denoiser: DenoiserPart, num_bands: int) -> Denoiser:
    """Make a denoiser of what a user gave.

    Args:
        denoiser: A network, used as it is; a class or function of ``num_bands`` that makes one; the
            name of one of :data:`DENOISERS`; or ``{"class_path": name, "init_args": {...}}``.
        num_bands: Bands (or components) of the images.

    Returns:
        The network, with fresh weights unless it was given as an object.

    Raises:
        ConfigurationError: An unknown name or option, a value that the network refuses, a network
            of another number of bands, or a module that is no Denoiser.
    """
    if isinstance(denoiser, nn.Module) and not isinstance(denoiser, Denoiser):
        # it can be called, so that it would be taken for a function that makes one
        raise ConfigurationError(
            "denoiser must be a Denoiser, or a class or function of num_bands that makes one, got "
            f"a {type(denoiser).__name__}, which is another nn.Module: derive its class from "
            "hsi_diffusion.denoisers.Denoiser, or compile it in place (denoiser.compile()) if it "
            "came from torch.compile"
        )
    network: Denoiser = build_part(
        denoiser,
        Denoiser,  # type: ignore[type-abstract]  # what it must be, not what is made
        DENOISERS,
        "denoiser",
        num_bands,
    )
    if network.num_bands != num_bands:
        raise ConfigurationError(
            f"denoiser must be made for num_bands={num_bands}, got one for {network.num_bands}"
        )
    return network
