"""Houston 2013: a campus and its city, CASI, June 2012; the 2013 IEEE GRSS Data Fusion Contest.

The contest published its training and its test pixels apart, so this split belongs to the scene.
"""

from __future__ import annotations

from typing import Final

from hsi_diffusion.scenes.defaults import default_palette
from hsi_diffusion.scenes.info import SceneInfo, SourceFile

PREFIX: Final = "2013_IEEE_GRSS_DF_Contest_"

# Nominal: 144 bands spread evenly over the published 364-1046 nm, which gives the published step
# of 4.77 nm.
WAVELENGTHS: Final = tuple(round(364 + 682 * band / 143, 2) for band in range(144))

CLASSES: Final = (
    "Healthy grass",
    "Stressed grass",
    "Synthetic grass",
    "Trees",
    "Soil",
    "Water",
    "Residential",
    "Commercial",
    "Road",
    "Highway",
    "Railway",
    "Parking lot 1",
    "Parking lot 2",
    "Tennis court",
    "Running track",
)

SCENE: Final = SceneInfo(
    name="houston2013",
    title="Houston 2013",
    height=349,
    width=1905,
    bands=144,
    wavelengths=WAVELENGTHS,
    class_names=CLASSES,
    class_ids=tuple(range(1, 16)),
    palette=default_palette(len(CLASSES)),
    rgb_bands=(60, 39, 22),  # red, green, blue
    sensor="CASI",
    ground_sampling_distance=2.5,
    cube_keys=("houston", "Houston", "input", "ori_data"),
    label_keys=("houston_gt", "Houston_gt", "map"),
    split_keys=(("houston_gt_tr", "houston_gt_te"), ("TR", "TE")),
    folders=("Houston", "Houston13", "HU2013", "HU", "2013_DFTC"),
    files=(
        SourceFile(
            name="2013_DFTC.zip",
            urls=("https://machinelearning.ee.uh.edu/2egf4tg8hial13gt/2013_DFTC.zip",),
            sha256="f4d619d5cbcb09d0301038f1b8fe83def6c2d484334b7b8127740a00ecf7e245",
            size=None,
            role="archive",
        ),
        SourceFile(
            name=f"{PREFIX}CASI.tif",
            urls=(),
            sha256="1440f38594e8e82cc1944c084fc138ef55a70af54122828e999c4fb438574c14",
            size=None,
            role="cube",
            archive="2013_DFTC.zip",
            member=f"2013_DFTC/{PREFIX}CASI.tif",
        ),
        SourceFile(
            name=f"{PREFIX}Samples_TR.txt",
            urls=(),
            sha256="16c69cf216535d7b4df2045b05d49c50a078609aa6d011a5e23e54f4cd08abda",
            size=None,
            role="train_labels",
            archive="2013_DFTC.zip",
            member=f"2013_DFTC/{PREFIX}Samples_TR.txt",
        ),
        SourceFile(
            name=f"{PREFIX}Samples_TR.tif",
            urls=(),
            sha256="c943016242f98a4c1e70fb35842562e654425de5364c58ceb5e1186029c193f7",
            size=13_660,
            role="train_labels",
        ),
        SourceFile(
            # the organisers' archive of the test pixels needs a password and nobody else may pass
            # them on, so they are fetched by hand
            name=f"{PREFIX}Samples_VA.txt",
            urls=(),
            sha256="768bb02193d04c8020b45f1f31a49926a5b914040f77f71a81df756d6e8b8dcb",
            size=242_354,
            role="test_labels",
        ),
        SourceFile(
            name=f"{PREFIX}Samples_VA.tif",
            urls=(),
            sha256="9fd0093af69a8f91cc0f3ef7c67dd7f961445223c0a2497bdbed03e7f329a010",
            size=19_098,
            role="test_labels",
        ),
    ),
    licence=(
        "terms of the 2013 IEEE GRSS Data Fusion Contest: no redistribution; acknowledge the "
        "Hyperspectral Image Analysis group and the NSF-funded Center for Airborne Laser Mapping "
        "(NCALM) at the University of Houston, and the IEEE GRSS Data Fusion Technical Committee"
    ),
    citation=(
        "C. Debes et al., Hyperspectral and LiDAR Data Fusion: Outcome of the 2013 GRSS Data "
        "Fusion Contest, IEEE Journal of Selected Topics in Applied Earth Observations and Remote "
        "Sensing 7(6), 2405-2418, 2014, doi:10.1109/JSTARS.2014.2305441"
    ),
    homepage="https://machinelearning.ee.uh.edu/?page_id=459",
    default_split="fixed",
)
