"""Scenes: facts of the known ones, readers for their files, and the checked arrays."""

from hsi_diffusion.scenes.catalogue import CATALOGUE, register_scene, scene_info
from hsi_diffusion.scenes.custom import load_custom_scene
from hsi_diffusion.scenes.defaults import default_palette
from hsi_diffusion.scenes.download import download_scene
from hsi_diffusion.scenes.georeference import Georeference
from hsi_diffusion.scenes.grids import read_labels
from hsi_diffusion.scenes.info import SceneInfo, SourceFile
from hsi_diffusion.scenes.joining import join_scenes
from hsi_diffusion.scenes.load import fetch_scene, load_scene, read_mask
from hsi_diffusion.scenes.nodata import fill_nodata
from hsi_diffusion.scenes.opening import open_raster
from hsi_diffusion.scenes.raster import Raster
from hsi_diffusion.scenes.readers import list_arrays, parse_location, read_array
from hsi_diffusion.scenes.resampling import resample_bands
from hsi_diffusion.scenes.roi import read_roi
from hsi_diffusion.scenes.scene import Scene
from hsi_diffusion.scenes.simulated import simulate_campaign, simulate_scene

__all__ = [
    "CATALOGUE",
    "Georeference",
    "Raster",
    "Scene",
    "SceneInfo",
    "SourceFile",
    "default_palette",
    "download_scene",
    "fetch_scene",
    "fill_nodata",
    "join_scenes",
    "list_arrays",
    "load_custom_scene",
    "load_scene",
    "open_raster",
    "parse_location",
    "read_array",
    "read_labels",
    "read_mask",
    "read_roi",
    "register_scene",
    "resample_bands",
    "scene_info",
    "simulate_campaign",
    "simulate_scene",
]
