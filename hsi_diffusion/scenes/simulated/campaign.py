"""A simulated flight campaign: two flight lines on a map grid, and fields drawn in a GIS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from hsi_diffusion.errors import MissingDependencyError
from hsi_diffusion.files import atomic_path, write_text
from hsi_diffusion.scenes.gdal import GEO, require_rasterio
from hsi_diffusion.scenes.simulated.simulate import simulate_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.scenes.scene import Scene

NODATA: Final = -9999
ZONE: Final = 32
LEFT, TOP, PIXEL = 620000.0, 5340000.0, 2.0
"""Corner of the first line in metres, and side of a pixel."""


def simulate_campaign(
    folder: str | Path,
    height: int = 120,
    width: int = 100,
    bands: int = 60,
    num_classes: int = 6,
    *,
    seed: int = 0,
) -> list[Path]:
    """Write what comes home from a flight campaign, to try the whole way to a map in a GIS.

    Two flight lines of one sensor as ENVI images of 16-bit integers (``line1``, ``line2``), on the
    grid of UTM zone 32N, slanted in their frames with nodata on both sides; the fields of both as
    polygons (``fields1.gpkg``, ``fields2.gpkg``; the second ones are there to check the map).

    Args:
        folder: Where to; made if missing.
        height: Rows of a line.
        width: Columns of its frame, nodata included.
        bands: Spectral bands.
        num_classes: Number of classes.
        seed: Rules everything random.

    Returns:
        The files.

    Raises:
        MissingDependencyError: The extra ``geo`` is not installed.
    """
    require_rasterio("writing polygons")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    slant = np.arange(height) * width // (8 * height)
    written = []
    for number in (1, 2):
        scene = simulate_scene(height, width, bands, num_classes, seed=seed, image=number - 1)
        column = np.arange(width)
        edge = width // 16
        valid = (column >= edge + slant[:, None]) & (column < width - 2 * edge - slant[::-1, None])
        corner = (LEFT + (number - 1) * width * PIXEL, TOP)
        written += _write_line(folder / f"line{number}.hdr", scene, valid, corner)
        written.append(_write_fields(folder / f"fields{number}.gpkg", scene, valid, corner))
    return written


def _write_line(
    header: Path, scene: Scene, valid: NDArray[np.bool_], corner: tuple[float, float]
) -> list[Path]:
    low, high = float(scene.cube.min()), float(scene.cube.max())
    counts = np.round((scene.cube - min(low, 0.0)) * (10000 / high)).astype("<i2")
    counts[~valid] = NODATA
    data = header.with_suffix(".img")
    with atomic_path(data) as temporary:
        counts.transpose(0, 2, 1).tofile(temporary)
    waves = ", ".join(f"{wave:.2f}" for wave in scene.info.wavelengths or ())
    write_text(
        header,
        f"""ENVI
samples = {scene.width}
lines = {scene.height}
bands = {scene.bands}
header offset = 0
file type = ENVI Standard
data type = 2
interleave = bil
byte order = 0
data ignore value = {NODATA}
reflectance scale factor = 10000
wavelength units = Nanometers
wavelength = {{{waves}}}
map info = {{UTM, 1, 1, {corner[0]}, {corner[1]}, {PIXEL}, {PIXEL}, {ZONE}, North, WGS-84}}
""",
    )
    return [header, data]


def _write_fields(
    path: Path, scene: Scene, valid: NDArray[np.bool_], corner: tuple[float, float]
) -> Path:
    try:
        import geopandas  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise MissingDependencyError(f"writing polygons needs geopandas; {GEO}") from error
    from rasterio.features import shapes  # noqa: PLC0415
    from rasterio.transform import Affine  # noqa: PLC0415
    from shapely.geometry import shape  # noqa: PLC0415

    place = Affine(PIXEL, 0, corner[0], 0, -PIXEL, corner[1])
    table: dict[str, list[object]] = {"class": [], "geometry": []}
    labels = np.where(valid, scene.labels, 0)
    outlines = shapes(labels.astype("int32"), labels > 0, transform=place)
    for outline, number in sorted(outlines, key=lambda pair: pair[1]):
        table["class"].append(scene.info.class_names[int(number) - 1])
        table["geometry"].append(shape(outline))
    frame = geopandas.GeoDataFrame(table, crs=f"EPSG:{32600 + ZONE}")
    with atomic_path(path) as temporary:
        temporary.unlink()  # SQLite takes an empty file for a broken one
        frame.to_file(temporary, driver="GPKG", layer="fields")
    return path
