"""Indian Pines: fields and woods in Indiana, AVIRIS, June 1992."""

from __future__ import annotations

from typing import Final

from hsi_diffusion.scenes.catalogue._ehu import NO_LICENCE_STATED, PAGE, ehu_file
from hsi_diffusion.scenes.defaults import default_palette
from hsi_diffusion.scenes.info import SceneInfo

# Centres of the 220 bands from the calibration file 92AV3C.spc that comes with the scene, without
# the water absorption bands 104-108, 150-163 and 220 (counted from 1), rounded to 0.01 nm. They
# step back twice, where one of the instrument's four spectrometers ends and the next begins.
# fmt: off
WAVELENGTHS: Final = (
    400.02, 409.82, 419.62, 429.43, 439.25, 449.07, 458.90, 468.73, 478.57, 488.41,
    498.26, 508.12, 517.98, 527.85, 537.72, 547.60, 557.49, 567.38, 577.28, 587.18,
    597.09, 607.01, 616.93, 626.85, 636.78, 646.72, 656.67, 666.61, 676.57, 686.53,
    696.50, 686.91, 696.55, 706.19, 715.83, 725.47, 735.11, 744.74, 754.38, 764.01,
    773.64, 783.27, 792.91, 802.53, 812.16, 821.79, 831.41, 841.04, 850.66, 860.28,
    869.91, 879.53, 889.14, 898.76, 908.38, 917.99, 927.61, 937.22, 946.83, 956.45,
    966.06, 975.66, 985.27, 994.88, 1004.48, 1014.09, 1023.69, 1033.29, 1042.89, 1052.49,
    1062.09, 1071.69, 1081.29, 1090.88, 1100.48, 1110.07, 1119.66, 1129.25, 1138.84, 1148.43,
    1158.02, 1167.61, 1177.19, 1186.77, 1196.36, 1205.94, 1215.52, 1225.10, 1234.68, 1244.26,
    1253.83, 1263.41, 1272.98, 1282.55, 1273.00, 1282.96, 1292.93, 1302.89, 1312.85, 1322.81,
    1332.77, 1342.73, 1352.68, 1412.39, 1422.34, 1432.28, 1442.23, 1452.17, 1462.11, 1472.05,
    1481.99, 1491.92, 1501.86, 1511.79, 1521.73, 1531.66, 1541.59, 1551.52, 1561.44, 1571.37,
    1581.30, 1591.22, 1601.14, 1611.06, 1620.98, 1630.90, 1640.81, 1650.73, 1660.64, 1670.56,
    1680.47, 1690.38, 1700.28, 1710.19, 1720.10, 1730.00, 1739.90, 1749.81, 1759.71, 1769.60,
    1779.50, 1789.40, 1799.29, 1809.19, 1943.27, 1953.26, 1963.25, 1973.24, 1983.23, 1993.22,
    2003.20, 2013.18, 2023.16, 2033.13, 2043.10, 2053.07, 2063.04, 2073.00, 2082.97, 2092.92,
    2102.88, 2112.83, 2122.78, 2132.73, 2142.68, 2152.62, 2162.56, 2172.50, 2182.43, 2192.37,
    2202.30, 2212.22, 2222.15, 2232.07, 2241.99, 2251.90, 2261.82, 2271.73, 2281.64, 2291.54,
    2301.45, 2311.35, 2321.25, 2331.14, 2341.03, 2350.92, 2360.81, 2370.70, 2380.58, 2390.46,
    2400.33, 2410.21, 2420.08, 2429.95, 2439.81, 2449.68, 2459.54, 2469.40, 2479.25, 2489.11,
)
# fmt: on

CLASSES: Final = (
    "Alfalfa",
    "Corn-notill",
    "Corn-mintill",
    "Corn",
    "Grass-pasture",
    "Grass-trees",
    "Grass-pasture-mowed",
    "Hay-windrowed",
    "Oats",
    "Soybean-notill",
    "Soybean-mintill",
    "Soybean-clean",
    "Wheat",
    "Woods",
    "Buildings-Grass-Trees-Drives",
    "Stone-Steel-Towers",
)

SCENE: Final = SceneInfo(
    name="indian_pines",
    title="Indian Pines",
    height=145,
    width=145,
    bands=200,
    wavelengths=WAVELENGTHS,
    class_names=CLASSES,
    class_ids=tuple(range(1, 17)),
    palette=default_palette(len(CLASSES)),
    rgb_bands=(49, 27, 17),  # near infrared, red, green: fields differ most there
    sensor="AVIRIS",
    ground_sampling_distance=20.0,
    cube_keys=("indian_pines_corrected", "input", "ori_data"),
    label_keys=("indian_pines_gt", "map"),
    split_keys=(("TR", "TE"),),
    # the fixed split behind miniGCN, SpectralFormer and others numbers the classes its own way
    split_class_order=(2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16, 1, 7, 9),
    folders=("IndianPines", "IndianPine", "Indian", "IP"),
    files=(
        ehu_file(
            "cube",
            "6/67/Indian_pines_corrected.mat",
            mirror="indian_pines",
            sha256="ec2f8808710919d566f70f0d4aa885aae1ddfd42b734aba71c5e12ca65450939",
            size=5_953_527,
        ),
        ehu_file(
            "labels",
            "c/c4/Indian_pines_gt.mat",
            mirror="indian_pines",
            sha256="65c4687a8ab04f6da4789799bc3bc4f6e88bccac3ed6a2e6ae367e5e6b9e429c",
            size=1_125,
        ),
    ),
    licence=NO_LICENCE_STATED,
    citation=(
        "M. F. Baumgardner, L. L. Biehl, D. A. Landgrebe, 220 Band AVIRIS Hyperspectral Image "
        "Data Set: June 12, 1992 Indian Pine Test Site 3, Purdue University Research Repository, "
        "2015, doi:10.4231/R7RX991C"
    ),
    homepage=PAGE,
)
