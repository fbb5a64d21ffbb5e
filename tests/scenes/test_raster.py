"""Every format gives back the values, mask, coordinates and wavelengths that were written."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import loadmat, savemat

from hsi_diffusion.errors import FileFormatError, SceneError
from hsi_diffusion.scenes import (
    Georeference,
    Raster,
    fill_nodata,
    load_custom_scene,
    open_raster,
    read_array,
    read_labels,
    simulate_campaign,
)
from tests.scenes.formats import (
    BANDS,
    COLUMNS,
    CUBE,
    ENVI,
    HEIGHT,
    PLACE,
    ROWS,
    WAVES,
    WIDTH,
    write_envi,
    write_tiff,
)
from tests.scenes.mat73 import write_mat73


def write(kind: str, folder: Path) -> Path:
    path = folder / f"a.{kind}"
    match kind:
        case "npy":
            np.save(path, CUBE)
        case "npz":
            np.savez(path, cube=CUBE, other=np.arange(3))
        case "mat":
            savemat(path, {"cube": CUBE})
        case "mat73":
            write_mat73(path, {"cube": CUBE})
        case "h5":
            with h5py.File(path, "w") as file:
                file["cube"] = CUBE
        case "tif":
            write_tiff(path)
        case _:
            return write_envi(folder, interleave=kind)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "mat", "mat73", "h5", "tif", "bsq", "bil", "bip"])
def test_windows_of_every_format(kind: str, tmp_path: Path) -> None:
    raster = open_raster(write(kind, tmp_path))
    assert raster.shape == CUBE.shape
    assert raster.dtype == np.int16
    values, valid = raster.read(ROWS, COLUMNS)
    assert_array_equal(values, CUBE[ROWS, COLUMNS])
    assert values.flags.c_contiguous
    assert valid.all()
    assert_array_equal(raster.read()[0], CUBE)


def test_envi_header_is_heeded(tmp_path: Path) -> None:
    cube = CUBE.copy()
    cube[0], cube[1, 1, 3] = -9999, -9999
    path = write_envi(
        tmp_path,
        cube,
        "wavelength units = Micrometers\nwavelength = {0.45, 0.55, 0.65,\n 0.85, 1.6}\n"
        "fwhm = {0.01, 0.01, 0.01, 0.02, 0.02}\nbbl = {1, 0, 1, 1, 1}\n"
        "data ignore value = -9999\nreflectance scale factor = 10000\n"
        "band names = {a, b, c, d, e}\nsensor type = HySpex\n"
        "map info = {UTM, 1, 1, 600000, 5300000, 2, 2, 32, North, WGS-84}\n",
    )
    raster = open_raster(path)
    assert raster.wavelengths == (450.0, 650.0, 850.0, 1600.0)
    assert raster.fwhm == (10.0, 10.0, 20.0, 20.0)
    assert raster.band_names == ("a", "c", "d", "e")
    assert raster.sensor == "HySpex"
    assert raster.georeference == Georeference("EPSG:32632", PLACE)
    values, valid = raster.read()
    expected = (cube != -9999).all(axis=2)
    assert_array_equal(valid, expected)
    assert_allclose(values[valid], cube[expected][:, [0, 2, 3, 4]] / 1e4, rtol=1e-6)
    assert values.dtype == np.float32
    assert values.min() > 0


@pytest.mark.parametrize("kind", ["bil", "tif", "npy"])
def test_the_usual_order_of_axes_changes_nothing(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path)
    if kind == "bil":
        path.write_text(f"{path.read_text()}bbl = {{1, 0, 1, 1, 1}}\ndata ignore value = -1\n")
    usual, given = open_raster(path), open_raster(path, axes="HWC")
    for name in ("nodata", "good_bands", "georeference", "shape"):
        assert getattr(given, name) == getattr(usual, name)
    if kind == "npy":
        assert open_raster(path, axes="CHW").shape == (WIDTH, BANDS, HEIGHT)
    else:
        with pytest.raises(SceneError, match=r"axes must be HWC for .*leave axes \(--axes\) out"):
            open_raster(path, axes="CHW")


def test_envi_as_gdal_reads_it(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = write_envi(
        tmp_path, fields="map info = {UTM, 1, 1, 600000, 5300000, 2, 2, 32, North, WGS-84}\n"
    )
    with rasterio.open(path.with_suffix(".img")) as file:
        assert_array_equal(open_raster(path).read()[0], file.read().transpose(1, 2, 0))
        assert tuple(file.transform)[:6] == PLACE
        assert file.crs.to_epsg() == 32632


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("bbl = {1, 1}\n", "'bbl' must hold 5 entries"),
        ("wavelength = {1, 2, x, 4, 5}\n", "'wavelength' must hold numbers"),
        ("wavelength = {1, 2}\n", "'wavelength' must have 5 entries"),
        ("map info = {UTM, 1, 1, west, 0, 2, 2, 32, North}\n", "'map info' must hold"),
    ],
)
def test_envi_header_that_lies(fields: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=message):
        open_raster(write_envi(tmp_path, fields=fields))


def test_envi_sizes_and_encodings(tmp_path: Path) -> None:
    header = write_envi(tmp_path, interleave="bsq")
    with (tmp_path / "a.img").open("ab") as file:
        file.write(bytes(60))
    with pytest.raises(FileFormatError, match=r"60 more; 8 lines would fit: check lines"):
        open_raster(header)
    header = write_envi(tmp_path)
    for encoding in ("utf-8-sig", "utf-16", "latin-1"):
        text = ENVI.format(interleave="bil") + "description = {Überflug}\n"
        header.write_bytes(text.replace("\n", "\r\n").encode(encoding))
        assert_array_equal(open_raster(header).read()[0], CUBE)
    header.write_text(ENVI.format(interleave="bil").replace("lines = 7\n", ""))
    with pytest.raises(FileFormatError, match="lacks 'lines'"):
        open_raster(header)


def test_geotiff_facts(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    cube = CUBE.copy()
    cube[3:] = -1
    path = write_tiff(tmp_path / "a.tif", cube, nodata=-1)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5,) * BANDS, (2.0,) * BANDS
        for band, wave in enumerate(WAVES, 1):
            file.set_band_description(band, f"Band {band} ({wave / 1000:g} Micrometers)")
    raster = open_raster(path)
    assert raster.wavelengths == WAVES
    assert raster.georeference is not None
    assert raster.georeference.transform == PLACE
    assert rasterio.crs.CRS.from_user_input(raster.georeference.crs).to_epsg() == 32632
    values, valid = raster.read()
    assert_array_equal(valid, np.arange(HEIGHT)[:, None] < [3] * WIDTH)
    assert_allclose(values[:3], cube[:3] * 0.5 + 2)


def test_mask_of_a_geotiff(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = write_tiff(tmp_path / "a.tif")
    mask = np.ones((HEIGHT, WIDTH), dtype=bool)
    mask[:, 0] = False
    with rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert_array_equal(open_raster(path).read(ROWS, COLUMNS)[1], mask[ROWS, COLUMNS])


def test_arrays_of_other_libraries() -> None:
    masked = np.ma.masked_equal(CUBE, CUBE[2, 3, 1])
    assert not open_raster(masked).read()[1][2, 3]
    assert_array_equal(open_raster(torch.from_numpy(CUBE)).read()[0], CUBE)
    assert_array_equal(open_raster(CUBE.tolist()).read()[0], CUBE)
    first = np.moveaxis(CUBE, 2, 0)
    assert_array_equal(open_raster(first, axes="CHW").read(ROWS, COLUMNS)[0], CUBE[ROWS, COLUMNS])
    sample = {"image": torch.from_numpy(first.copy()), "mask": torch.ones(1, HEIGHT, WIDTH).long()}
    scene = load_custom_scene(sample)
    assert_array_equal(scene.cube, CUBE)
    assert_array_equal(scene.labels, 1)
    for wrong, message in (([[1], [2, 3]], "must be"), (["a"], "array of numbers"), (3, "shape")):
        with pytest.raises(SceneError, match=message):
            open_raster(wrong)
    with pytest.raises(SceneError, match="axes must hold"):
        open_raster(CUBE, axes="XYZ")


def test_data_array() -> None:
    xarray = pytest.importorskip("xarray")
    values = CUBE.astype(np.float32)
    values[0, 0] = np.nan
    array = xarray.DataArray(
        np.moveaxis(values, 2, 0),
        dims=("band", "y", "x"),
        coords={
            "wavelength": ("band", np.array(WAVES) / 1000, {"units": "um"}),
            "x": 600001.0 + 2 * np.arange(WIDTH),
            "y": 5299999.0 - 2 * np.arange(HEIGHT),
        },
        attrs={"crs": "EPSG:32632"},
    )
    raster = open_raster(array)
    counted = array.assign_coords(wavelength=("band", [450, 500, 550, 600, 650][: len(WAVES)]))
    assert open_raster(counted).wavelengths == (450, 500, 550, 600, 650)[: len(WAVES)]
    found, valid = raster.read()
    assert_array_equal(found[valid], values[valid])
    assert (~valid).sum() == 1
    assert raster.wavelengths == WAVES
    assert raster.georeference == Georeference("EPSG:32632", PLACE)


@pytest.mark.parametrize(
    "dims", [("y", "x"), ("x", "y"), ("band", "y", "x"), ("x", "y", "band"), ("band", "x", "y")]
)
def test_label_data_array_of_any_order(dims: tuple[str, ...]) -> None:
    xarray = pytest.importorskip("xarray")
    labels = np.arange(HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH)
    coords = {"x": 600001.0 + 2 * np.arange(WIDTH), "y": 5299999.0 - 2 * np.arange(HEIGHT)}
    array = xarray.DataArray(labels, dims=("band", "y", "x"), coords=coords)
    array = array.assign_attrs(crs="EPSG:32632")
    array = array.transpose(*dims) if "band" in dims else array[0].transpose(*dims)
    raster = open_raster(array, ndim=2)
    assert_array_equal(raster.read()[0][:, :, 0], labels[0])
    assert raster.georeference == Georeference("EPSG:32632", PLACE)


def test_data_array_of_unusual_names() -> None:
    xarray = pytest.importorskip("xarray")
    first = np.moveaxis(CUBE, 2, 0)
    named = xarray.DataArray(first, dims=("band", "south", "east"))
    assert_array_equal(open_raster(named).read()[0], CUBE)
    assert_array_equal(open_raster(named[:1], ndim=2).read()[0], CUBE[:, :, :1])
    with pytest.raises(SceneError, match=r"labels must have shape \(height, width\)"):
        open_raster(named, ndim=2)
    with pytest.raises(SceneError, match="cube must have shape"):
        open_raster(xarray.DataArray([1.0, 2.0], dims=("x",)))


SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real files")
@pytest.mark.parametrize(
    "path", sorted(SHARED.rglob("*.mat")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_real_files_are_read_as_scipy_and_h5py_read_them(path: Path) -> None:
    try:
        expected = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    except NotImplementedError:  # version 7.3; MATLAB's axes are backwards there
        with h5py.File(path, "r") as file:
            expected = {k: v[()].T for k, v in file.items() if isinstance(v, h5py.Dataset)}
    found = {k: v for k, v in expected.items() if v.ndim in (2, 3) and min(v.shape) > 1}
    assert found
    for key, values in found.items():
        assert_array_equal(read_array(path, key, ndim=values.ndim), values)
        raster = open_raster(f"{path}:{key}", ndim=values.ndim)
        part = raster.read(ROWS, COLUMNS)[0]
        assert_array_equal(part.reshape(values[ROWS, COLUMNS].shape), values[ROWS, COLUMNS])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real files")
@pytest.mark.parametrize("path", sorted(SHARED.rglob("*.tif")), ids=lambda path: path.name)
def test_real_label_maps_are_read_as_gdal_reads_them(path: Path) -> None:
    with pytest.importorskip("rasterio").open(path) as file:
        expected = file.read(1)
    assert_array_equal(read_array(path, ndim=2), expected)
    assert_array_equal(
        open_raster(path, ndim=2).window(slice(None), slice(None))[0][..., 0], expected
    )


def test_filling_is_what_patches_see_beyond_a_border() -> None:
    valid = np.zeros((HEIGHT + 6, WIDTH + 6), dtype=bool)
    valid[3:-3, 3:-3] = True
    framed = np.full((*valid.shape, BANDS), -9999, dtype=np.int16)
    framed[3:-3, 3:-3] = CUBE
    filled = fill_nodata(framed, valid)
    mirrored = np.pad(CUBE, ((3, 3), (3, 3), (0, 0)), mode="reflect")
    assert_array_equal(filled[3:-3], mirrored[3:-3])
    assert_array_equal(filled[:, 3:-3], mirrored[:, 3:-3])
    raster = Raster.of(framed, nodata=-9999)
    assert_array_equal(raster.read()[0], filled)


def test_nodata_of_zero_and_of_text() -> None:
    cube = CUBE.astype(np.float32)
    cube[0, 0], cube[1, 1, 2] = 0, 0
    assert (~open_raster(cube, nodata=0).read()[1]).sum() == 1
    cube[2, 2] = -3.4028235e38
    assert not open_raster(cube, nodata=-3.40282346638529e38).read()[1][2, 2]
    with pytest.warns(UserWarning, match=r"nodata=-9999 \(--nodata -9999\)"):
        load_custom_scene(np.where(np.arange(HEIGHT)[:, None, None] < 1, -9999, CUBE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = load_custom_scene(cube, np.ones((HEIGHT, WIDTH), dtype=int), nodata=0)
    assert scene.valid is not None
    assert not scene.labels[0, 0]


LABELS = np.repeat(np.array([[0, 1, 1, 4, 4, 2]]), HEIGHT, axis=0)


def test_label_rasters_of_other_grids(tmp_path: Path) -> None:
    image = open_raster(write_tiff(tmp_path / "a.tif"))
    labels = LABELS.astype(np.uint8)[:, :, None]

    def read(name: str, values: Any, **profile: Any) -> Any:
        return read_labels(write_tiff(tmp_path / f"{name}.tif", values, **profile), image).values

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_array_equal(read("same", labels), LABELS)
    with pytest.raises(SceneError, match=r"\+0.0 rows and \+10.0 columns off"):
        read("shifted", labels, transform=(2.0, 0, 600020.0, 0, -2.0, 5300000.0))
    fine = labels.repeat(3, 0).repeat(3, 1)
    fine[::3, ::3] = 7
    with pytest.warns(UserWarning, match="3 x 3 pixels .* most of them"):
        found = read("fine", fine, transform=(2 / 3, 0, 600000.0, 0, -2 / 3, 5300000.0))
    assert_array_equal(found, LABELS)
    wide = np.pad(labels, ((1, 2), (3, 1), (0, 0)), constant_values=9)
    with pytest.warns(UserWarning, match="another grid"):
        found = read("wide", wide, transform=(2.0, 0, 599994.0, 0, -2.0, 5300002.0))
    assert_array_equal(found, LABELS)
    with pytest.raises(SceneError, match="don't lie on the image"):
        read("away", wide, transform=(2.0, 0, 0.0, 0, -2.0, 0.0))
    warp, affine = (pytest.importorskip(f"rasterio.{name}") for name in ("warp", "transform"))
    box = (600000.0, 5300000.0 - 2 * HEIGHT, 600000.0 + 2 * WIDTH, 5300000.0)
    place, width, height = warp.calculate_default_transform(
        "EPSG:32632", "EPSG:4326", WIDTH, HEIGHT, *box, resolution=1e-6
    )
    turned = np.zeros((height, width), dtype=np.uint8)
    warp.reproject(
        LABELS.astype(np.uint8), turned, src_crs="EPSG:32632", dst_crs="EPSG:4326",
        src_transform=affine.Affine(*PLACE), dst_transform=place,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="another grid"):
        found = read("degrees", turned[:, :, None], crs="EPSG:4326", transform=place[:6])
    assert_array_equal(found, LABELS)
    labels[0] = 255
    with pytest.warns(UserWarning, match="255 is taken for unlabelled"):
        assert not read("ignored", labels)[0].any()
    with pytest.warns(UserWarning, match="255 is taken for unlabelled"):
        assert set(np.unique(read("one", np.where(labels == 255, labels, 1)))) == {0, 1}
    assert not read("declared", labels.astype(np.int16), nodata=255)[0].any()


def test_pictures_as_labels() -> None:
    image = open_raster(CUBE)
    one_hot = (LABELS[:, :, None] == np.arange(1, 5)).astype(np.uint8)
    assert_array_equal(read_labels(one_hot, image).values, LABELS)
    colours = np.array([[0, 0, 0], [9, 9, 9], [50, 0, 0], [0, 0, 0], [200, 0, 7]], dtype=np.uint8)
    with pytest.warns(UserWarning, match="picture of 3 colours"):
        found = read_labels(colours[LABELS], image)
    assert_array_equal(found.values, np.array([0, 1, 2, 0, 3])[LABELS])
    assert found.palette[3] == (200, 0, 7)
    background = (LABELS == 0).astype(np.uint8)[:, :, None]
    with pytest.warns(UserWarning, match="every pixel of the one-hot image has a class"):
        read_labels(np.concatenate((background, one_hot), axis=2), image)
    with pytest.raises(SceneError, match="looks like probabilities"):
        read_labels(one_hot * 0.5, image)


def masks(folder: Path) -> dict[str, Any]:
    return {"train_labels": folder / "train.shp", "test_labels": folder / "test.shp"}


def test_polygons_and_points(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    shapely = pytest.importorskip("shapely")

    image = open_raster(write_tiff(tmp_path / "a.tif"))
    left, top = 600000.0, 5300000.0
    shapes = [
        shapely.box(left, top - 6, left + 4, top),
        shapely.box(left + 6, top - 14, left + 12, top - 8),
    ]
    table = geopandas.GeoDataFrame(
        {"crop": ["wheat", "oats"], "owner": ["A", "B"]}, geometry=shapes, crs="EPSG:32632"
    )
    expected = np.zeros((HEIGHT, WIDTH), dtype=int)
    expected[:3, :2], expected[4:, 3:] = 2, 1
    for name in ("a.gpkg", "a.geojson", "a.shp"):
        path = tmp_path / name
        (table.to_crs("EPSG:4326") if name == "a.geojson" else table).to_file(path)
        found = read_labels(path, image, "crop")
        assert_array_equal(found.values, expected)
        assert found.names == {1: "oats", 2: "wheat"}
        assert found.polygons is not None
        assert_array_equal(found.polygons, np.array([0, 2, 1])[expected])
    with pytest.raises(SceneError, match=r"which column .* crop, owner"):
        read_labels(path, image)
    with pytest.raises(SceneError, match="but array has none"):
        read_labels(path, open_raster(CUBE), "crop")
    table["class_id"] = [7, 3]
    table.to_file(tmp_path / "id.gpkg")
    assert read_labels(tmp_path / "id.gpkg", image, "class_id").names == {}
    table.rename(columns={"crop": "name"}).to_file(tmp_path / "id.gpkg")
    assert read_labels(tmp_path / "id.gpkg", image).names == {7: "wheat", 3: "oats"}
    # training and test polygons for a scene without a label map; classes are known by their names
    parts = {"train": table.iloc[:1], "test": table.set_geometry(table.translate(2)).iloc[[0, 1]]}
    for name, part in parts.items():
        part[["crop", "geometry"]].to_file(tmp_path / f"{name}.shp")
    with pytest.raises(SceneError, match="must be disjoint, they share 3"):
        load_custom_scene(image, **masks(tmp_path))
    parts["test"].iloc[[1]][["crop", "geometry"]].to_file(tmp_path / "test.shp")
    scene = load_custom_scene(image, **masks(tmp_path))
    assert scene.info.class_names == ("oats", "wheat")
    assert scene.fixed_train is not None
    assert scene.fixed_test is not None
    assert_array_equal(scene.labels[scene.fixed_train], 2)
    assert_array_equal(scene.labels[scene.fixed_test], 1)
    with pytest.warns(UserWarning, match=r"\d+ pixels of the masks are unlabelled"):
        known = load_custom_scene(image, expected * (expected == 2), **masks(tmp_path))
    assert_array_equal(known.fixed_train, expected == 2)
    table.set_geometry(table.translate(1e5)).to_file(tmp_path / "off.gpkg")
    with pytest.raises(SceneError, match="none of the 2 shapes"):
        read_labels(tmp_path / "off.gpkg", image, "crop")
    points = geopandas.GeoDataFrame(
        {"class": [3, 5]},
        geometry=shapely.points([[left + 1, top - 1], [left + 11, top - 13]]),
        crs="EPSG:32632",
    )
    points.to_file(tmp_path / "p.gpkg")
    found = read_labels(tmp_path / "p.gpkg", image)
    assert found.values[0, 0] == 3
    assert found.values[6, 5] == 5
    assert found.polygons is None
    assert np.count_nonzero(found.values) == 2
    degrees = points.to_crs("EPSG:4326").get_coordinates().to_numpy().tolist()
    for text in (
        "row;column;class\n0;0;3\n6;5;5\n",
        "x,y,class\n600001,5299999,3\n600011,5299987,5\n",
        "lon,lat,class\n{},{},3\n{},{},5\n".format(*degrees[0], *degrees[1]),
    ):
        (tmp_path / "p.csv").write_text(text)
        assert_array_equal(read_labels(tmp_path / "p.csv", image).values, found.values)


def test_campaign(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    simulate_campaign(tmp_path, 48, 48, 12, 3)
    scene = load_custom_scene(tmp_path / "line1.hdr", tmp_path / "fields1.gpkg")
    assert scene.valid is not None
    assert 0.5 < scene.valid.mean() < 0.9
    assert not scene.labels[~scene.valid].any()
    assert scene.info.wavelengths is not None
    assert scene.georeference is not None
    table = geopandas.read_file(tmp_path / "fields1.gpkg")
    assert set(table["class"]) == set(scene.info.class_names)
    assert_allclose(table.area.sum(), np.count_nonzero(scene.labels) * 4)
