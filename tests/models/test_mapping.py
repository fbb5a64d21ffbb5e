"""Maps of images in files, window by window: equal to the whole, in place, and resumable."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from distributed import LocalCluster

from hsi_diffusion import SceneClassifier, simulate_scene
from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError, OutputExistsError
from hsi_diffusion.map_command import map_main
from hsi_diffusion.models import map_image, map_windows, mapping
from hsi_diffusion.scenes import Georeference, Raster, open_raster, resample_bands
from tests.models.tiny import KINDS, recipe, scene, split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.models.conftest import Saved

rasterio = pytest.importorskip("rasterio")

IMAGE = simulate_scene(70, 90, 20, 3, name="tiny", image=1, brightness=0.8)
PLACE = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
LOCAL = [kind for kind, plain in KINDS.items() if "spreading" not in plain and "blur" not in kind]


def write_image(
    path: Path, valid: np.ndarray[Any, Any] | None = None, place: Sequence[float] = PLACE
) -> Path:
    """The image as a GeoTIFF in UTM zone 32, with -9999 where it holds no data."""
    values = IMAGE.cube.astype(np.float32)
    if valid is not None:
        values[~valid] = -9999
    height, width, bands = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype="float32",
        nodata=-9999, crs="EPSG:32632", transform=rasterio.Affine(*place),
    ) as file:  # fmt: skip
        file.write(values.transpose(2, 0, 1))
    return path


def memory_for(model: SceneClassifier, image: Raster) -> int:
    """What windows of 64 pixels need."""
    each = model.predictor.bytes_per_pixel + 4 * image.bands * image.dtype.itemsize
    return int(2 * each * (65 + 2 * model.predictor.reach) ** 2)


@pytest.mark.parametrize("kind", LOCAL)
def test_windows_say_what_the_whole_image_says(fitted: Callable[[str], Saved], kind: str) -> None:
    model = fitted(kind).model
    whole, image = model.predict(IMAGE).probabilities, Raster.of(IMAGE.cube)
    assert not model.predictor.spreads
    for rows in (slice(0, 33), slice(33, 70)):
        for columns in (slice(0, 20), slice(20, 90)):
            found, valid = model.predictor.predict_window(image, rows, columns, tile=8)
            assert valid.all()
            np.testing.assert_allclose(found, whole[rows, columns], atol=2e-6)


def test_labels_are_spread_inside_overlapping_windows(
    fitted: Callable[[str], Saved], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = fitted("label propagation")
    np.save(tmp_path / "image.npy", IMAGE.cube)
    monkeypatch.setattr("hsi_diffusion.models.predictor.OVERLAP", 4)
    memory = memory_for(saved.model, Raster.of(IMAGE.cube))
    said: list[str] = []
    files = tmp_path / "image.npy", tmp_path / "map.npy"
    map_image(saved.folder, *files, memory=memory, say=said.append)
    with pytest.raises(ConfigurationError, match="out must name at least one file"):
        map_image(saved.folder, files[0], [])
    assert "spread inside each of them" in said[0]
    found = np.load(tmp_path / "map.npy", allow_pickle=False)
    whole = saved.model.predict(IMAGE).ids
    assert (found == whole).mean() > 0.9


def test_a_map_lies_where_its_image_lies(fitted: Callable[[str], Saved], tmp_path: Path) -> None:
    saved = fitted(LOCAL[-1])
    valid = np.ones(IMAGE.cube.shape[:2], dtype=bool)
    valid[:4] = valid[:, 85:] = False
    image = write_image(tmp_path / "image.tif", valid)
    out = [tmp_path / f"map.{ending}" for ending in ("tif", "hdr", "npy", "png")]
    areas = map_image(
        saved.folder, image, out, probabilities=tmp_path / "p.tif", uncertainty=tmp_path / "u.hdr"
    )
    ids, known = np.load(out[2], allow_pickle=False), saved.model.known
    assert np.array_equal(ids > 0, valid)
    for path in out[:2]:
        with rasterio.open(path.with_suffix(".img") if path.suffix == ".hdr" else path) as file:
            assert np.array_equal(file.read(1), ids)
            assert tuple(file.transform)[:6] == PLACE
            assert file.crs.to_epsg() == 32632
            assert file.bounds == (500_000, 4_999_300, 500_900, 5_000_000)
            assert file.nodata == 0
            colours = file.colormap(1)
            assert [colours[k][:3] for k in known.class_ids] == list(known.palette)
            if path.suffix == ".tif":
                assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert file.compression.name == "deflate"
    names = ET.parse(f"{out[0]}.aux.xml").findall(".//Category")
    assert [name.text for name in names[1:]] == list(known.class_names)
    header = open_raster(out[1], ndim=2)
    place = header.georeference
    assert place is not None
    assert place == Georeference(place.crs, PLACE)
    assert list((header.class_names or {}).values())[1:] == list(known.class_names)
    with rasterio.open(tmp_path / "p.tif") as file:
        shares = file.read()
        assert file.descriptions == known.class_names
    assert np.isnan(shares[:, ~valid]).all()
    np.testing.assert_allclose(shares[:, valid].sum(axis=0), 1, atol=1e-5)
    uncertain = open_raster(tmp_path / "u.hdr", ndim=2).read()[0][:, :, 0]
    expected = -(shares * np.log(np.maximum(shares, 1e-30))).sum(axis=0)
    np.testing.assert_allclose(uncertain[valid], expected[valid], atol=1e-5)
    for area in areas:
        assert area["pixels"] == (ids == area["id"]).sum()
        assert area["hectares"] == pytest.approx(area["pixels"] * 0.01)
    rows = list(csv.DictReader((tmp_path / "map-areas.csv").open(encoding="utf-8")))
    assert [int(row["pixels"]) for row in rows] == [area["pixels"] for area in areas]
    assert json.loads((tmp_path / "map-areas.json").read_text(encoding="utf-8")) == areas


def test_classes_of_ten_digits_are_mapped(tmp_path: Path) -> None:
    ids = (3_301_010_000, 3_301_090_301, 3_306_000_000)
    info = replace(scene().info, class_ids=ids)
    model = SceneClassifier(recipe(KINDS[LOCAL[0]])).fit(replace(scene(), info=info), split())
    model.save(tmp_path / "model")
    out = [tmp_path / f"map.{ending}" for ending in ("tif", "npy", "png")]
    with pytest.warns(UserWarning, match="map.tif holds no names and colours of its classes"):
        areas = map_image(tmp_path / "model", write_image(tmp_path / "image.tif"), out)
    found = np.load(out[1], allow_pickle=False)
    with rasterio.open(out[0]) as file:
        assert np.array_equal(file.read(1), found)
    assert tuple(area["id"] for area in areas) == ids
    for area in areas:
        assert area["pixels"] == (found == area["id"]).sum()
        assert area["hectares"] == pytest.approx(area["pixels"] * 0.01)
    assert sum(area["pixels"] for area in areas) == found.size


def test_a_map_goes_on_where_it_was_stopped_and_is_the_same_from_two_workers(
    fitted: Callable[[str], Saved], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = fitted(LOCAL[1])
    image = write_image(tmp_path / "image.tif")
    monkeypatch.setattr(map_windows, "SIDE", 64)
    once, again, shared = (tmp_path / f"{name}.tif" for name in ("once", "again", "shared"))
    picture = tmp_path / "image.png"  # of the image's name
    map_image(saved.folder, image, [once])

    def killed(job: map_windows.MapJob, number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt
        real(job, number)

    real = map_windows.map_window
    with monkeypatch.context() as patch:
        patch.setattr(mapping, "map_window", killed)
        with pytest.raises(KeyboardInterrupt):
            map_image(saved.folder, image, [again, picture])
    assert not again.exists()
    # neither the map's own files, nor what a viewer or a download leaves, makes it another map
    picture.write_text("cut short")
    (tmp_path / "image.tif.aux.xml").write_text("<PAMDataset/>")
    (saved.folder / ".cache").mkdir()
    said: list[str] = []
    map_image(saved.folder, image, [again, picture], say=said.append)
    assert said[0] == "2 of 4 windows were mapped before"
    map_image(saved.folder, image, [shared], workers=2)
    assert once.read_bytes() == again.read_bytes() == shared.read_bytes()
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        map_image(saved.folder, image, [shared], scheduler=cluster.scheduler_address)
    assert once.read_bytes() == shared.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_too_little_memory_and_other_images_are_refused(
    fitted: Callable[[str], Saved], tmp_path: Path
) -> None:
    saved = fitted(LOCAL[1])
    np.save(tmp_path / "image.npy", IMAGE.cube)
    with pytest.raises(ConfigurationError, match=r"at least \d+ MB .*, got 0.001 MB"):
        map_image(saved.folder, tmp_path / "image.npy", [tmp_path / "map.npy"], memory=1000)
    np.save(tmp_path / "image.npy", IMAGE.cube[:, :, 1:])
    with pytest.raises(HsiDiffusionError, match="must have shape"):
        map_image(saved.folder, tmp_path / "image.npy", [tmp_path / "map.npy"])


def test_an_image_of_another_sensor_is_resampled(
    fitted: Callable[[str], Saved], tmp_path: Path
) -> None:
    saved, waves = fitted(LOCAL[0]), np.array(IMAGE.info.wavelengths)
    image, out = tmp_path / "image.hdr", tmp_path / "map.npy"
    finer = np.linspace(waves[0], waves[-1], 2 * len(waves) - 1)
    values = np.apply_along_axis(lambda one: np.interp(finer, waves, one), 2, IMAGE.cube)
    values.astype("<f4").tofile(tmp_path / "image.img")
    centres, width = ", ".join(map(str, finer)), waves[1] - waves[0]
    image.write_text(
        "ENVI\nsamples = 90\nlines = 70\ninterleave = bip\ndata type = 4\nbyte order = 0\n"
        f"bands = {len(finer)}\nwavelength units = Nanometers\nwavelength = {{{centres}}}\n"
        f"fwhm = {{{', '.join([str(width)] * len(finer))}}}\n"
    )
    with pytest.raises(HsiDiffusionError, match="resample its bands"):
        map_image(saved.folder, image, [out])
    map_image(saved.folder, image, [out], resample=True)
    found, expected = np.load(out), saved.model.predict(IMAGE).ids
    both = [resample_bands(open_raster(image), waves.tolist()), Raster.of(values.astype("f4"))]
    assert both[0].bytes_per_pixel > both[1].bytes_per_pixel  # --memory heeds what is resampled
    assert (found == expected).mean() > 0.999  # bands as wide as the model's: only picked out


def test_a_model_knows_the_widths_of_its_bands(tmp_path: Path) -> None:
    waves = IMAGE.info.wavelengths
    assert waves is not None
    fwhm = tuple(np.full(len(waves), (waves[1] - waves[0]) / 4).tolist())
    learned = replace(scene(), info=replace(scene().info, fwhm=fwhm))
    model = SceneClassifier(recipe(KINDS[LOCAL[0]])).fit(learned, split())
    model.save(tmp_path / "model")
    assert SceneClassifier.from_pretrained(tmp_path / "model").known.fwhm == fwhm
    IMAGE.cube.astype("<f4").tofile(tmp_path / "image.img")
    (tmp_path / "image.hdr").write_text(
        "ENVI\nsamples = 90\nlines = 70\nbands = 20\ninterleave = bip\ndata type = 4\n"
        f"wavelength = {{{', '.join(map(str, waves))}}}\nfwhm = {{{', '.join(map(str, fwhm))}}}\n"
        "wavelength units = Nanometers\n"
    )
    shares = tmp_path / "shares.npy"
    map_image(
        tmp_path / "model", tmp_path / "image.hdr", [tmp_path / "map.npy"],
        probabilities=shares, resample=True,
    )  # fmt: skip
    # without the widths, the image would be blurred to the distance of its bands
    np.testing.assert_allclose(np.load(shares), model.predict(IMAGE).probabilities, atol=1e-4)


def test_an_earlier_model_knows_no_widths(fitted: Callable[[str], Saved], tmp_path: Path) -> None:
    shutil.copytree(fitted(LOCAL[0]).folder, tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    plain = json.loads(file.read_text(encoding="utf-8"))
    del plain["known"]["fwhm"]
    file.write_text(json.dumps(plain), encoding="utf-8")
    assert SceneClassifier.from_pretrained(tmp_path / "model").known.fwhm is None


def write_envi(header: Path, numbers: str) -> None:
    """The image as an ENVI header, and its numbers beside it."""
    IMAGE.cube.astype("<f4").tofile(header.with_name(numbers))
    header.write_text(
        "ENVI\nsamples = 90\nlines = 70\nbands = 20\ninterleave = bip\ndata type = 4\n"
    )


REPLACED: dict[str, tuple[dict[str, Any], str]] = {
    "the image": ({"image": "in.tif", "out": ["in.tif"]}, "in.tif, a file of the image"),
    "the image by another path": ({"image": "in.tif", "out": ["../here/in.tif"]}, "the image"),
    "the image, by a link": ({"image": "link.tif", "out": ["in.tif"]}, "of the image .*link.tif"),
    "its numbers": ({"image": "l3.img", "out": ["l3.hdr"]}, "l3.hdr, a file of the image"),
    "its header": ({"image": "line.dat", "out": ["m.tif", "line.hdr"]}, "line.hdr, a file of the"),
    "by probabilities": (
        {"image": "l3.hdr", "out": ["m.tif"], "probabilities": "l3.hdr"},
        r"probabilities \(--probabilities\) .*l3.hdr would replace .*, a file of the image",
    ),
    "the labels": ({"out": ["labels.npy"], "labels": "labels.npy"}, "a file of the labels"),
    "by the areas": ({"out": ["m.tif"], "labels": "m-areas.csv"}, "m-areas.csv, a file of the lab"),
    "numbers of the labels": ({"out": ["l3.hdr"], "labels": "l3.img"}, "a file of the labels"),
    "the map": (
        {"out": ["m.npy"], "probabilities": "m.npy"},
        r"probabilities .*m.npy, which is written for out \(--out\) .*m.npy",
    ),
    "the probabilities": (
        {"out": ["m.npy"], "probabilities": "u.hdr", "uncertainty": "u.hdr"},
        "u.hdr, which is written for probabilities",
    ),
    "the map twice": ({"out": ["m.npy", "m.npy"]}, "m.npy, which is written for out"),
}


@pytest.mark.parametrize("case", REPLACED)
def test_no_file_is_replaced_that_is_read_or_written_too(
    case: str, fitted: Callable[[str], Saved], tmp_path: Path
) -> None:
    saved, here = fitted(LOCAL[0]), tmp_path / "here"
    here.mkdir()
    write_image(here / "in.tif")
    (here / "link.tif").symlink_to(here / "in.tif")
    write_envi(here / "l3.hdr", "l3.img")
    write_envi(here / "line.hdr", "line.dat")
    np.save(here / "labels.npy", IMAGE.labels)
    (here / "m-areas.csv").write_text("row,column,class\n1,1,1\n2,2,2\n")
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    given, told = REPLACED[case]
    files = {name: here / file for name, file in given.items() if name != "out"}
    image = files.pop("image", here / "in.tif")
    error = ConfigurationError if "which is written" in told else OutputExistsError
    with pytest.raises(error, match=told):
        map_image(saved.folder, image, [here / file for file in given["out"]], **files)
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


def test_coordinates_that_a_file_cannot_hold_are_refused_first(
    fitted: Callable[[str], Saved], tmp_path: Path
) -> None:
    turned = (-10, 0, 600000, 0, 10, 5299600)
    write_image(tmp_path / "in.tif", place=turned)
    with pytest.raises(ConfigurationError, match=r"turned by 180 degrees.*write \.tif"):
        map_image(fitted(LOCAL[0]).folder, tmp_path / "in.tif", [tmp_path / "map.hdr"])
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_names_of_what_is_written(
    fitted: Callable[[str], Saved], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "image.npy", IMAGE.cube)
    np.save(tmp_path / "labels.npy", IMAGE.labels)
    monkeypatch.chdir(tmp_path)
    given = ["--model", str(fitted(LOCAL[0]).folder), "--image", "image.npy"]
    assert map_main([*given, "--labels", "labels.npy", "--out", "map.v2.npy, q.png"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "image.npy", "labels.npy", "map.v2.npy", "q.png",
        "map.v2-areas.csv", "map.v2-areas.json", "map.v2-accuracy.json",
    }  # fmt: skip


@pytest.mark.parametrize("repeats", [1, 15])  # looked through whole, and by some of its rows
def test_undeclared_nodata_and_unnamed_bands_are_warned_of(
    fitted: Callable[[str], Saved], tmp_path: Path, repeats: int
) -> None:
    saved = fitted("blurred bands")
    values = np.tile(IMAGE.cube, (repeats, 1, 1))
    values[:, :8] = 65535
    image = tmp_path / "image.npy"
    np.save(image, values)
    with pytest.warns(UserWarning, match="this image names no wavelengths") as told:
        map_image(saved.folder, image, [tmp_path / "map.npy"])
    warned = [str(one.message) for one in told]
    [undeclared] = [text for text in warned if "hold 65535 in all bands" in text]
    assert undeclared.startswith("560 of 6300 pixels" if repeats == 1 else "128 of 1440 pixels")
    options = {"nodata": 65535.0}
    with pytest.warns(UserWarning, match="this image names no wavelengths") as told:
        map_image(saved.folder, image, [tmp_path / "map.npy"], image_options=options)
    assert not any("65535" in str(one.message) for one in told)
    assert (np.load(tmp_path / "map.npy")[:, :8] == 0).all()


def test_a_map_of_nothing_is_warned_of(fitted: Callable[[str], Saved], tmp_path: Path) -> None:
    values = IMAGE.cube.astype(np.float32)
    values[:, :, 3] = np.nan
    np.save(tmp_path / "image.npy", values)
    with pytest.warns(UserWarning, match=r"no pixel of image\.npy holds data in all bands"):
        areas = map_image(fitted(LOCAL[0]).folder, tmp_path / "image.npy", [tmp_path / "map.npy"])
    assert {area["pixels"] for area in areas} == {0}
    assert not np.load(tmp_path / "map.npy").any()
