"""The networks that denoise, one file each, all with the interface of ``base.Denoiser``."""

from hsi_diffusion.denoisers.base import Denoiser, FeatureLevel
from hsi_diffusion.denoisers.build import DENOISERS, DenoiserPart, build_denoiser
from hsi_diffusion.denoisers.convert import load_published_unet3d
from hsi_diffusion.denoisers.pixel import PixelDenoiser
from hsi_diffusion.denoisers.sgsad import SGSAD
from hsi_diffusion.denoisers.ssad import SSAD
from hsi_diffusion.denoisers.staged import StagedDenoiser
from hsi_diffusion.denoisers.unet2d import UNet2D
from hsi_diffusion.denoisers.unet3d import BandPadding, UNet3D

__all__ = [
    "DENOISERS",
    "SGSAD",
    "SSAD",
    "BandPadding",
    "Denoiser",
    "DenoiserPart",
    "FeatureLevel",
    "PixelDenoiser",
    "StagedDenoiser",
    "UNet2D",
    "UNet3D",
    "build_denoiser",
    "load_published_unet3d",
]
