"""Salinas-A: a small corner of Salinas, with six of its classes in their own numbering."""

from __future__ import annotations

from typing import Final

from hsi_diffusion.scenes.catalogue.salinas import SALINAS
from hsi_diffusion.scenes.catalogue.sources import EHU, MIRROR
from hsi_diffusion.scenes.info import SceneInfo, SourceFile

CLASS_IDS: Final = (1, 10, 11, 12, 13, 14)

SALINAS_A: Final = SceneInfo(
    name="salinas_a",
    title="Salinas-A",
    height=83,
    width=86,
    bands=204,
    wavelengths=SALINAS.wavelengths,
    class_names=tuple(SALINAS.class_names[class_id - 1] for class_id in CLASS_IDS),
    class_ids=CLASS_IDS,
    palette=tuple(SALINAS.palette[class_id - 1] for class_id in CLASS_IDS),
    rgb_bands=SALINAS.rgb_bands,
    sensor=SALINAS.sensor,
    ground_sampling_distance=SALINAS.ground_sampling_distance,
    cube_keys=("salinasA_corrected", "input", "ori_data"),
    label_keys=("salinasA_gt", "map"),
    folders=("SalinasA", "Salinas"),
    files=(
        SourceFile(
            name="SalinasA_corrected.mat",
            urls=(
                f"{EHU}/1/1a/SalinasA_corrected.mat",
                f"{MIRROR}/salinas/resolve/main/SalinasA_corrected.mat",
            ),
            sha256="d75684ed3ab71a1024cee0f9db9061f50a3523a92ff5edfbbb1eed976b9f1721",
            size=1_539_086,
            role="cube",
        ),
        SourceFile(
            name="SalinasA_gt.mat",
            urls=(
                f"{EHU}/a/aa/SalinasA_gt.mat",
                f"{MIRROR}/salinas/resolve/main/SalinasA_gt.mat",
            ),
            sha256="17814c1d3296c0e29b27f320f2c4174d2a68adb87e376abe78f02923e2c2e454",
            size=587,
            role="labels",
        ),
    ),
    licence=SALINAS.licence,
    citation=SALINAS.citation,
    homepage=SALINAS.homepage,
)
