"""Band centres from text files, from tags, and as they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hsi_diffusion.errors import SceneError
from hsi_diffusion.map_command import map_main
from hsi_diffusion.models import mapping
from hsi_diffusion.scenes import load_custom_scene, open_raster
from tests.scenes.formats import BANDS, CUBE, WAVES, write_envi, write_tiff

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("heading", ["", "wavelength\n", "Wavelength (nm)\n", "# nm, centre\n"])
def test_a_file_of_wavelengths_may_have_a_heading(heading: str, tmp_path: Path) -> None:
    path = tmp_path / "waves.txt"
    path.write_text(heading + "\n".join(map(str, WAVES)) + "\n")
    assert load_custom_scene(CUBE, wavelengths=path).info.wavelengths == WAVES


def test_given_wavelengths_stand_for_those_of_the_file(tmp_path: Path) -> None:
    header = write_envi(tmp_path, fields="wavelength = {1, 2, 3, 4, 5}\n")
    assert open_raster(header, wavelengths=WAVES).wavelengths == WAVES
    assert open_raster(CUBE, wavelengths=[wave / 1000 for wave in WAVES]).wavelengths == WAVES
    with pytest.raises(SceneError, match=rf"wavelengths must have {BANDS} entries .*, got 2"):
        open_raster(CUBE, wavelengths=WAVES[:2])


def test_the_command_map_takes_wavelengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}

    def map_image(*_: Any, **options: Any) -> list[Any]:
        taken.update(options)
        return []

    monkeypatch.setattr(mapping, "map_image", map_image)
    path = tmp_path / "waves.txt"
    path.write_text("\n".join(map(str, WAVES)))
    command = ["--model", "m", "--image", "a.npy", "--out", "b.npy"]
    assert map_main([*command, "--wavelengths", str(path)]) == 0
    assert open_raster(CUBE, **taken["image_options"]).wavelengths == WAVES
    assert map_main(command) == 0
    assert open_raster(CUBE, **taken["image_options"]).wavelengths is None


@pytest.mark.parametrize(
    ("units", "factor"), [("reflectance", 1), ("W/m2/sr/um", 1), ("Micrometers", 1000), ("nm", 1)]
)
def test_units_of_a_band_are_those_of_its_wavelength_if_they_are_a_length(
    units: str, factor: float, tmp_path: Path
) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = write_tiff(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as file:
        for band, wave in enumerate(WAVES, 1):
            file.update_tags(band, wavelength=str(wave / factor), units=units)
    assert open_raster(path).wavelengths == WAVES
