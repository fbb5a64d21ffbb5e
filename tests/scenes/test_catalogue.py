from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hsi_diffusion
from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes import CATALOGUE, SceneInfo, read_array, register_scene, scene_info
from hsi_diffusion.scenes.download import sha256_of

SCENES = pytest.mark.parametrize("info", CATALOGUE.values(), ids=list(CATALOGUE))

SIZES = {
    "indian_pines": (145, 145, 200, 16, 10249),
    "pavia_university": (610, 340, 103, 9, 42776),
    "salinas": (512, 217, 204, 16, 54129),
    "salinas_a": (83, 86, 204, 6, 5348),
    "houston2013": (349, 1905, 144, 15, 15029),
}
"""Height, width, bands, classes and labelled pixels of each scene."""


@SCENES
def test_sizes(info: SceneInfo) -> None:
    assert (*info.shape, info.num_classes) == SIZES[info.name][:4]


@SCENES
def test_facts_are_complete(info: SceneInfo) -> None:
    assert info.wavelengths is not None
    assert 360 <= min(info.wavelengths) < max(info.wavelengths) <= 2500
    assert info.sensor
    assert info.ground_sampling_distance is not None
    assert info.licence
    assert info.citation
    assert info.homepage.startswith("https://")
    assert "cube" in info.roles
    assert {"labels", "train_labels"} & set(info.roles)
    assert all(file.sha256 for file in info.files)
    assert len(set(info.class_names)) == info.num_classes


@SCENES
def test_first_file_of_each_role_has_a_source(info: SceneInfo) -> None:
    for role in info.roles:
        file = info.files_of(role)[0]
        # nobody may pass on the test pixels of Houston 2013: they are fetched by hand
        by_hand = (info.name, role) == ("houston2013", "test_labels")
        assert bool(file.urls or file.archive) != by_hand
        assert all(url.startswith("https://") for url in file.urls)


@pytest.mark.parametrize("info", [CATALOGUE["pavia_university"], CATALOGUE["houston2013"]])
def test_false_colour_of_the_towns_is_true_colour(info: SceneInfo) -> None:
    assert info.wavelengths is not None
    red, green, blue = (info.wavelengths[band] for band in info.rgb_bands)
    assert (red, green, blue) == pytest.approx((650, 550, 469), abs=3)


def test_salinas_a_is_a_part_of_salinas() -> None:
    part, whole = CATALOGUE["salinas_a"], CATALOGUE["salinas"]
    assert part.class_ids == (1, 10, 11, 12, 13, 14)
    assert part.class_names[1] == whole.class_names[9] == "Corn senesced green weeds"
    assert part.palette[1] == whole.palette[9]
    assert part.wavelengths == whole.wavelengths


def test_unknown_scene_lists_the_known_ones() -> None:
    with pytest.raises(
        SceneError, match=r"indian_pines, pavia_university.*got 'mars'.*load_custom"
    ):
        scene_info("mars")


def test_facts_are_their_own_facts() -> None:
    own = replace(CATALOGUE["salinas"], name="mars")
    assert scene_info(own) is own


def run_python(code: str, folder: Path) -> str:
    """What a process of its own prints: registered scenes stay known as long as it runs."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_scene_is_added_by_its_file(tmp_path: Path) -> None:
    package = Path(hsi_diffusion.__file__).parent
    shutil.copytree(package, tmp_path / "hsi_diffusion", ignore=lambda *_: {"__pycache__"})
    (tmp_path / "hsi_diffusion" / "scenes" / "catalogue" / "mars.py").write_text(
        "from dataclasses import replace\n"
        "from hsi_diffusion.scenes.catalogue.salinas import SCENE as SALINAS\n"
        "SCENE = replace(SALINAS, name='mars')\n"
    )
    code = "from hsi_diffusion.scenes import CATALOGUE; print(*CATALOGUE)"
    # not against CATALOGUE of this process, where another test may have registered a scene
    shipped = run_python(code, package.parent).split()
    assert run_python(code, tmp_path).split() == sorted([*shipped, "mars"])


def test_a_registered_scene_is_known_and_loads(tmp_path: Path) -> None:
    code = """
from dataclasses import replace
import numpy as np
from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes import CATALOGUE, SourceFile, load_scene, register_scene, scene_info

files = tuple(
    SourceFile(name=f"{role}.npy", urls=(), sha256=None, size=None, role=role)
    for role in ("cube", "labels")
)
mars = replace(
    CATALOGUE["salinas"], name="mars", height=3, width=4, bands=5, wavelengths=None,
    rgb_bands=(2, 1, 0), files=files,
)
register_scene(mars)
register_scene(replace(mars))
assert scene_info("mars") == CATALOGUE["mars"] == mars
np.save("cube.npy", np.random.default_rng(0).normal(size=(3, 4, 5)))
np.save("labels.npy", np.eye(3, 4, dtype=int))
print(load_scene("mars", "."))
other = replace(mars, title="Another")
try:
    register_scene(other)
except SceneError as error:
    print(error)
register_scene(other, replace=True)
assert scene_info("mars").title == "Another"
"""
    loaded, refused = run_python(code, tmp_path).splitlines()
    assert loaded == "Scene('mars', 3 x 4 x 5 float64, 3 labelled pixels in 16 classes)"
    assert "known scene, got 'mars'" in refused
    assert "replace=True" in refused


@pytest.mark.parametrize("name", ["", "two words", "Mars", "4mars", "custom", "simulated"])
def test_names_that_a_known_scene_can_not_have(name: str) -> None:
    with pytest.raises(SceneError, match=f"none of custom, simulated, got '{name}'"):
        register_scene(replace(CATALOGUE["salinas"], name=name))
    assert name not in CATALOGUE


def test_catalogue_is_read_only() -> None:
    with pytest.raises(TypeError):
        CATALOGUE["mars"] = CATALOGUE["salinas"]  # type: ignore[index]


def test_wavelengths_of_indian_pines_are_those_of_its_calibration_file(shared_data: Path) -> None:
    lines = (shared_data / "indian_pines" / "92AV3C.spc").read_text().splitlines()[2:]
    centres = [float(line.split()[0]) for line in lines if line.strip()]
    removed = {*range(104, 109), *range(150, 164), 220}
    kept = [centre for band, centre in enumerate(centres, 1) if band not in removed]
    assert len(centres) == 220
    assert CATALOGUE["indian_pines"].wavelengths == pytest.approx(kept, abs=0.0051)


@SCENES
def test_checksums_and_sizes_of_real_files(info: SceneInfo, shared_data: Path) -> None:
    real = [
        (file, path)
        for file in info.files
        if (path := shared_data / info.name / file.name).is_file()
    ]
    assert real
    for file, path in real:
        assert sha256_of(path) == file.sha256
        assert path.stat().st_size == file.size


@SCENES
def test_class_values_of_real_label_maps(info: SceneInfo, shared_data: Path) -> None:
    label_files = (file for file in info.files if file.role.endswith("labels"))
    paths = [shared_data / info.name / file.name for file in label_files]
    # where a map is there as text and as an image, one of them counts
    maps = {path.stem: read_array(path) for path in paths if path.is_file()}
    assert maps
    for labels in maps.values():
        assert labels.shape == info.shape[:2]
        assert set(np.unique(labels)) == {0, *info.class_ids}
    assert sum(np.count_nonzero(labels) for labels in maps.values()) == SIZES[info.name][4]
