"""Salinas: vegetable fields and vineyards in California, AVIRIS, October 1998."""

from __future__ import annotations

from typing import Final

from hsi_diffusion.scenes.catalogue._ehu import NO_LICENCE_STATED, PAGE, ehu_file
from hsi_diffusion.scenes.defaults import default_palette
from hsi_diffusion.scenes.info import SceneInfo

# Nominal: the calibration of this flight is not published with the files, so the 224 channels are
# spread evenly over the instrument's 400-2500 nm (true centres differ by up to some 40 nm). The
# water absorption bands 108-112, 154-167 and 224 (counted from 1) are left out.
WAVELENGTHS: Final = tuple(
    round(400 + 2100 * (band - 1) / 223, 2)
    for band in range(1, 225)
    if not (108 <= band <= 112 or 154 <= band <= 167 or band == 224)
)

CLASSES: Final = (
    "Broccoli green weeds 1",
    "Broccoli green weeds 2",
    "Fallow",
    "Fallow rough plow",
    "Fallow smooth",
    "Stubble",
    "Celery",
    "Grapes untrained",
    "Soil vineyard develop",
    "Corn senesced green weeds",
    "Lettuce romaine 4wk",
    "Lettuce romaine 5wk",
    "Lettuce romaine 6wk",
    "Lettuce romaine 7wk",
    "Vineyard untrained",
    "Vineyard vertical trellis",
)

SCENE: Final = SceneInfo(
    name="salinas",
    title="Salinas",
    height=512,
    width=217,
    bands=204,
    wavelengths=WAVELENGTHS,
    class_names=CLASSES,
    class_ids=tuple(range(1, 17)),
    palette=default_palette(len(CLASSES)),
    rgb_bands=(48, 27, 16),  # near infrared, red, green: fields differ most there
    sensor="AVIRIS",
    ground_sampling_distance=3.7,
    cube_keys=("salinas_corrected", "input", "ori_data"),
    label_keys=("salinas_gt", "map"),
    split_keys=(("TR", "TE"),),
    folders=("Salinas", "SalinasValley", "SA"),
    files=(
        ehu_file(
            "cube",
            "a/a3/Salinas_corrected.mat",
            mirror="salinas",
            sha256="5ec1c0d22f56d18ecd336f8e35735863c0f160682e04e0c18ef3f89a3334d87d",
            size=26_552_770,
        ),
        ehu_file(
            "labels",
            "f/fa/Salinas_gt.mat",
            mirror="salinas",
            sha256="ecfab4d31ef5553f097943235d8ea502038eb4a2067b2ad10b33e37c949955e2",
            size=4_277,
        ),
    ),
    licence=NO_LICENCE_STATED,
    citation=(
        "Salinas scene, AVIRIS, NASA Jet Propulsion Laboratory, 1998; distributed by M. Graña, "
        "M. A. Veganzones and B. Ayerdi, Hyperspectral Remote Sensing Scenes, Grupo de "
        "Inteligencia Computacional, University of the Basque Country"
    ),
    homepage=PAGE,
)
