"""Pavia University: a campus in northern Italy, ROSIS."""

from __future__ import annotations

from typing import Final

from hsi_diffusion.scenes.catalogue._ehu import NO_LICENCE_STATED, PAGE, ehu_file
from hsi_diffusion.scenes.defaults import default_palette
from hsi_diffusion.scenes.info import SceneInfo

# Nominal: the centres are not published with the files, so the 103 bands are spread evenly over
# the instrument's 430-860 nm.
WAVELENGTHS: Final = tuple(round(430 + 430 * band / 102, 2) for band in range(103))

CLASSES: Final = (
    "Asphalt",
    "Meadows",
    "Gravel",
    "Trees",
    "Painted metal sheets",
    "Bare soil",
    "Bitumen",
    "Self-blocking bricks",
    "Shadows",
)

SCENE: Final = SceneInfo(
    name="pavia_university",
    title="Pavia University",
    height=610,
    width=340,
    bands=103,
    wavelengths=WAVELENGTHS,
    class_names=CLASSES,
    class_ids=tuple(range(1, 10)),
    palette=default_palette(len(CLASSES)),
    rgb_bands=(52, 28, 9),  # red, green, blue
    sensor="ROSIS",
    ground_sampling_distance=1.3,
    cube_keys=("paviaU", "input", "ori_data"),
    label_keys=("paviaU_gt", "map"),
    split_keys=(("TR", "TE"),),
    folders=("PaviaU", "PaviaUni", "PU", "Pavia"),
    files=(
        ehu_file(
            "cube",
            "e/ee/PaviaU.mat",
            mirror="pavia",
            sha256="28447fa87f7a5797845e9a189c0da85e23b1d06a4ba7361e5ff44efbf834d2fb",
            size=34_806_917,
        ),
        ehu_file(
            "labels",
            "5/50/PaviaU_gt.mat",
            mirror="pavia",
            sha256="23f6a426928f9b32984adffe659e29f554f9fb6c93b5a107528d308d5087a829",
            size=11_005,
        ),
    ),
    licence=NO_LICENCE_STATED,
    citation=(
        "Pavia University scene, ROSIS; provided by P. Gamba, Telecommunications and Remote "
        "Sensing Laboratory, University of Pavia"
    ),
    homepage=PAGE,
)
