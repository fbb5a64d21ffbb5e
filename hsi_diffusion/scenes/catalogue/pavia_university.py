"""Pavia University: a campus in northern Italy, ROSIS."""

from __future__ import annotations

from typing import Final

from hsi_diffusion.scenes.catalogue.sources import EHU, EHU_PAGE, MIRROR, NO_LICENCE_STATED
from hsi_diffusion.scenes.info import SceneInfo, SourceFile

# Nominal: the centres are not published with the files, so the 103 bands are spread evenly over
# the instrument's 430-860 nm.
WAVELENGTHS: Final = tuple(round(430 + 430 * band / 102, 2) for band in range(103))

PAVIA_UNIVERSITY: Final = SceneInfo(
    name="pavia_university",
    title="Pavia University",
    height=610,
    width=340,
    bands=103,
    wavelengths=WAVELENGTHS,
    class_names=(
        "Asphalt",
        "Meadows",
        "Gravel",
        "Trees",
        "Painted metal sheets",
        "Bare soil",
        "Bitumen",
        "Self-blocking bricks",
        "Shadows",
    ),
    class_ids=tuple(range(1, 10)),
    palette=(
        (150, 150, 150),
        (120, 210, 60),
        (80, 200, 225),
        (0, 110, 40),
        (240, 120, 200),
        (165, 95, 40),
        (110, 60, 170),
        (220, 40, 40),
        (250, 210, 30),
    ),
    rgb_bands=(52, 28, 9),  # red, green, blue
    sensor="ROSIS",
    ground_sampling_distance=1.3,
    cube_keys=("paviaU", "input", "ori_data"),
    label_keys=("paviaU_gt", "map"),
    split_keys=(("TR", "TE"),),
    folders=("PaviaU", "PaviaUni", "PU", "Pavia"),
    files=(
        SourceFile(
            name="PaviaU.mat",
            urls=(
                f"{EHU}/e/ee/PaviaU.mat",
                f"{MIRROR}/pavia/resolve/main/PaviaU.mat",
            ),
            sha256="28447fa87f7a5797845e9a189c0da85e23b1d06a4ba7361e5ff44efbf834d2fb",
            size=34_806_917,
            role="cube",
        ),
        SourceFile(
            name="PaviaU_gt.mat",
            urls=(
                f"{EHU}/5/50/PaviaU_gt.mat",
                f"{MIRROR}/pavia/resolve/main/PaviaU_gt.mat",
            ),
            sha256="23f6a426928f9b32984adffe659e29f554f9fb6c93b5a107528d308d5087a829",
            size=11_005,
            role="labels",
        ),
    ),
    licence=NO_LICENCE_STATED,
    citation=(
        "Pavia University scene, ROSIS; provided by P. Gamba, Telecommunications and Remote "
        "Sensing Laboratory, University of Pavia"
    ),
    homepage=EHU_PAGE,
)
