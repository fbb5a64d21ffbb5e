"""Salinas-A: a small corner of Salinas, with six of its classes in their own numbering."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hsi_diffusion.scenes.catalogue._ehu import ehu_file
from hsi_diffusion.scenes.catalogue.salinas import SCENE as SALINAS

CLASS_IDS: Final = (1, 10, 11, 12, 13, 14)

SCENE: Final = replace(
    SALINAS,
    name="salinas_a",
    title="Salinas-A",
    height=83,
    width=86,
    class_names=tuple(SALINAS.class_names[class_id - 1] for class_id in CLASS_IDS),
    class_ids=CLASS_IDS,
    palette=tuple(SALINAS.palette[class_id - 1] for class_id in CLASS_IDS),
    cube_keys=("salinasA_corrected", "input", "ori_data"),
    label_keys=("salinasA_gt", "map"),
    folders=("SalinasA", "Salinas"),
    files=(
        ehu_file(
            "cube",
            "1/1a/SalinasA_corrected.mat",
            mirror="salinas",
            sha256="d75684ed3ab71a1024cee0f9db9061f50a3523a92ff5edfbbb1eed976b9f1721",
            size=1_539_086,
        ),
        ehu_file(
            "labels",
            "a/aa/SalinasA_gt.mat",
            mirror="salinas",
            sha256="17814c1d3296c0e29b27f320f2c4174d2a68adb87e376abe78f02923e2c2e454",
            size=587,
        ),
    ),
)
