"""From the file of an image to the files of its map, window by window in bounded memory."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import shutil
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import (
    ConfigurationError,
    HsiDiffusionError,
    MissingDependencyError,
    OutputExistsError,
)
from hsi_diffusion.files import atomic_path, digest_of, remove_temporaries, write_text
from hsi_diffusion.hardware import one_blas_thread
from hsi_diffusion.models.hub import local_folder
from hsi_diffusion.models.map_accuracy import ground_truth, map_accuracy
from hsi_diffusion.models.scene_classifier import SceneClassifier
from hsi_diffusion.reports import classification_map, save_figure
from hsi_diffusion.scenes import Raster, open_raster, read_labels, resample_bands
from hsi_diffusion.scenes.envi import Header
from hsi_diffusion.scenes.ground import pixel_sizes
from hsi_diffusion.scenes.nodata import warn_of_nodata
from hsi_diffusion.scenes.readers import envi_header, file_format, parse_location
from hsi_diffusion.scenes.writers import (
    ImageFacts,
    check_image_path,
    write_image,
    written_files,
)
from hsi_diffusion.tasks import Task, run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Box = tuple[int, int, int, int]

SIDE = 1024
"""Largest side of a window: a map that was stopped goes on from the last one."""

GRAIN = 64
"""Sides of windows are multiples of it."""

SHARE = 0.5
"""Part of the memory that the arrays of a window may take; the rest is for what works on them."""

SAMPLE, ROWS = 2**16, 16
"""Pixels and rows, at most, that are looked through for a value that means "no data here"."""

BESIDE = "areas.csv", "areas.json", "accuracy.json"
"""Ends of the names of what is written beside the first file of a map."""

PREVIEW = 1500
"""Largest side of the picture of a map in pixels."""


@dataclass(frozen=True)
class MapJob:
    """What every worker has to know of a map.

    Attributes:
        model: Folder of the model.
        image: The image's file.
        folder: Where the windows are kept until all are there.
        windows: First and last row, first and last column of each; the last ones are excluded.
        tile: Side of the denoiser's tiles; None: the model's.
        kept: What is kept beside the classes: ``"probabilities"``, ``"entropy"``.
        image_options: Arguments of :func:`~hsi_diffusion.scenes.open_raster`.
        model_options: Arguments of :meth:`SceneClassifier.from_pretrained`.
        resample: Whether the image's bands are resampled to the model's wavelengths.
    """

    model: str
    image: str
    folder: Path
    windows: tuple[Box, ...]
    tile: int | None
    kept: tuple[str, ...]
    image_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    resample: bool = False

    def part(self, number: int) -> Path:
        """The file of a window."""
        return self.folder / f"window-{number}.npz"

    def open(self) -> tuple[SceneClassifier, Raster]:
        """Read the model, and open the image."""
        model = SceneClassifier.from_pretrained(self.model, **self.model_options)
        raster = open_raster(self.image, **self.image_options)
        if not self.resample:
            return model, raster
        if model.known.wavelengths is None:
            raise ConfigurationError(
                f"resample needs the wavelengths of {model.known.scene}, which this model learned "
                "without: fit it with wavelengths (--wavelengths)"
            )
        return model, resample_bands(raster, model.known.wavelengths, model.known.fwhm)

    def blocks(self, name: str) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
        """What is kept under a name: rows, columns and values (h, w, ...) of every window."""
        for number, (top, bottom, left, right) in enumerate(self.windows):
            with np.load(self.part(number), allow_pickle=False) as held:
                yield slice(top, bottom), slice(left, right), held[name]


def map_image(
    model: str | Path,
    image: str | Path,
    out: Sequence[str | Path],
    *,
    probabilities: str | Path | None = None,
    uncertainty: str | Path | None = None,
    labels: Any = None,
    label_attribute: str | None = None,
    memory: int = 2 * 10**9,
    workers: int | None = None,
    scheduler: str | None = None,
    resample: bool = False,
    image_options: Mapping[str, Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Classify every pixel of an image of the sensor that a model learned.

    Windows are read with the pixels around them that decide their classes, and each is written to a
    file of its own beside the map until all are there: what was stopped goes on from the last one.
    A map by windows is that of the whole image, up to the rounding of float32 in probabilities. A
    model that spreads along a graph of the image does so inside each window, which overlaps its
    neighbours, where the image is too large for one.

    Args:
        model: Folder of the model, or USER/NAME on the Hugging Face Hub.
        image: The image's file, see :func:`~hsi_diffusion.scenes.open_raster`.
        out: Files of the map: ``.tif``, ``.hdr`` (ENVI) and ``.npy`` hold the classes' numbers in
            the label map that was learned, 0 where there is no data; ``.png`` is a picture. Beside
            the first, ``NAME-areas.csv`` and ``.json`` hold the areas of the classes.
        probabilities: File for the probabilities, float32, a band per class.
        uncertainty: File for their entropy in nats, float32.
        labels: Ground truth of the image, whatever holds it
            (:func:`~hsi_diffusion.scenes.read_labels`), to measure the map by: the figures are
            told, and written as ``NAME-accuracy.json`` beside the first file. None: none.
        label_attribute: For polygons and points: the column that holds the class.
        memory: Bytes that each process may hold.
        workers: Processes to start on this machine; None: this one.
        scheduler: Address of a Dask cluster that sees the same files; None: none.
        resample: Resample the image's bands to the model's wavelengths, see
            :func:`~hsi_diffusion.scenes.resample_bands`.
        image_options: Further arguments of :func:`~hsi_diffusion.scenes.open_raster`.
        model_options: Further arguments of :meth:`SceneClassifier.from_pretrained`.
        say: Called with lines of text.

    Returns:
        For each class ``id``, ``name``, ``pixels``, ``percent`` and ``hectares`` (None where the
        image has no coordinates in metres or degrees).

    Raises:
        OutputExistsError: What is written would replace a file of the image or of the labels.
        ConfigurationError: Two things would be written to one file, or the memory is too small.
        HsiDiffusionError: A file can't be read or written, the image is one of another sensor, or
            a worker failed.
    """
    maps = [Path(file) for file in out]
    for file in maps:
        check_image_path(file, "a map", ".png")
    asked = {"probabilities": probabilities, "entropy": uncertainty}
    extra = {name: Path(file) for name, file in asked.items() if file is not None}
    for name, file in extra.items():
        check_image_path(file, {"entropy": "uncertainty"}.get(name, name))
    first = maps[0]
    model = local_folder(model, (model_options or {}).get("revision"))  # once, not by every worker
    job = MapJob(
        str(model), str(image), first.with_name(f".{first.name}.windows"), (), None, tuple(extra),
        image_options or {}, model_options or {}, resample,
    )  # fmt: skip
    fitted, raster = job.open()
    _check_written(job, raster, labels, maps, extra)
    fitted.known.check_bands(raster.shape, raster.wavelengths)
    fitted.known.warn_of_unknown_bands(raster.wavelengths)
    truth = None
    if labels is not None:  # before anything is computed
        truth = ground_truth(read_labels(labels, raster, label_attribute), fitted.known)
    windows, tile = plan_windows(fitted, raster, memory)
    if job.image_options.get("nodata") is None:
        warn_of_nodata(*_some_rows(raster))
    job = MapJob(**{**vars(job), "windows": windows, "tile": tile})
    if len(windows) > 1 and fitted.predictor.spreads:
        say(
            f"The image is mapped in {len(windows)} windows, and this model's labels are spread "
            "inside each of them; with more --memory they are spread over the whole image"
        )
    for file in (*maps, *extra.values()):
        remove_temporaries(file)
    _begin(job, raster, {*maps, *extra.values()}, say)
    _HELD[job.folder] = fitted, raster
    try:
        tasks = [
            Task(str(number), partial(map_window, job, number), title=f"window {number + 1}")
            for number in range(len(windows))
            if not job.part(number).exists()
        ]
        alone = len(windows) == 1 or (workers is None and scheduler is None)
        errors = run_tasks(
            tasks,
            workers=None if alone else workers,
            scheduler=None if alone else scheduler,
            say=say if len(windows) > 1 else lambda _: None,
        )
    finally:
        del _HELD[job.folder]
    if failed := [error for error in errors.values() if error is not None]:
        raise HsiDiffusionError(
            f"{len(failed)} of {len(windows)} windows could not be mapped, and the same command "
            f"tries them again: {failed[0]}"
        )
    areas = _write(job, fitted, raster, maps, extra)
    if truth is not None:
        _measure(job, fitted, truth, first, say)
    if not any(area["pixels"] for area in areas):
        warnings.warn(
            f"no pixel of {raster.path.name} holds data in all bands, so that its map is 0 "
            "everywhere; check the value that means no data (--nodata), and leave out bands that "
            "hold no data anywhere",
            stacklevel=2,
        )
    shutil.rmtree(job.folder)
    return areas


def _check_written(
    job: MapJob, raster: Raster, labels: Any, maps: Sequence[Path], extra: Mapping[str, Path]
) -> None:
    """Refuse to replace a file that is read, or one that is written too."""
    read = {raster.path.resolve(): f"the image {job.image}"}
    for what, source in (("image", job.image), ("labels", labels)):
        if isinstance(source, str | Path):
            files = _files_of(parse_location(source)[0])
            read |= {path.resolve(): f"the {what} {source}" for path in files}
    taken: dict[Path, str] = {}
    options = {"entropy": "uncertainty"}
    asked = [("out", file) for file in (*maps, *(_beside(maps[0], name) for name in BESIDE))]
    asked += [(options.get(name, name), file) for name, file in extra.items()]
    for option, file in asked:
        told = f"{option} (--{option}) {file}"
        for path in (path.resolve() for path in written_files(file)):
            if path in read:
                raise OutputExistsError(
                    f"{told} would replace {path}, a file of {read[path]}; name another one"
                )
            if path in taken:
                raise ConfigurationError(
                    f"{told} would replace {path}, which is written for {taken[path]}; name "
                    "another one"
                )
            taken[path] = told


def _files_of(path: Path) -> tuple[Path, ...]:
    """A file; header and numbers of an ENVI image, whichever of them is given."""
    header = path if file_format(path) == "envi" else envi_header(path)
    return (path,) if header is None else (path, header, Header.read(header).data)


def _beside(first: Path, what: str) -> Path:
    """A table beside the first file of a map."""
    return first.with_name(f"{first.stem}-{what}")


def _some_rows(raster: Raster) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A small image whole, else rows from its first to its last; and which pixels hold data."""
    height, width, _ = raster.shape
    if height * width <= SAMPLE:
        return raster.read()
    rows = np.linspace(0, height - 1, max(2, min(ROWS, SAMPLE // width)), dtype=int)
    parts = [raster.read(slice(row, row + 1)) for row in rows.tolist()]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def plan_windows(
    model: SceneClassifier, raster: Raster, memory: int
) -> tuple[tuple[Box, ...], int | None]:
    """Cut an image into windows whose arrays fit into memory.

    They depend on the model, the image and the memory alone: a map is the same however many
    processes make it.

    Args:
        model: The fitted model.
        raster: The image.
        memory: Bytes that a process may hold.

    Returns:
        The windows, and the side of the denoiser's tiles (None: the model's own).

    Raises:
        ConfigurationError: The memory does not suffice for the smallest window.
    """
    height, width, _ = raster.shape
    predictor = model.predictor
    room, reach = SHARE * memory, predictor.reach
    each = predictor.bytes_per_pixel + raster.bytes_per_pixel
    tile = predictor.tile_for(room)
    if height * width * each <= room and max(height, width) <= SIDE:
        return ((0, height, 0, width),), tile
    if predictor.spreads and height * width * each <= room:
        return ((0, height, 0, width),), tile
    side = math.isqrt(int(room / each)) - 2 * reach
    side = min(SIDE, side - side % GRAIN)
    if side < GRAIN:
        needed = each * (GRAIN + 2 * reach) ** 2 / SHARE
        raise ConfigurationError(
            f"memory must be at least {needed / 1e9:.1f} GB for windows of {GRAIN} pixels with the "
            f"{reach} around them that decide their classes, got {memory / 1e9:g} GB"
        )
    boxes = tuple(
        (top, min(top + side, height), left, min(left + side, width))
        for top in range(0, height, side)
        for left in range(0, width, side)
    )
    return boxes, tile


_HELD: dict[Path, tuple[SceneClassifier, Raster]] = {}
"""The model and the image that a process has opened, under a job's folder."""


def map_window(job: MapJob, number: int) -> None:
    """Classify a window, and write it to its file."""
    if job.folder not in _HELD:
        _HELD.clear()
        _HELD[job.folder] = job.open()
    model, raster = _HELD[job.folder]
    top, bottom, left, right = job.windows[number]
    rows, columns = slice(top, bottom), slice(left, right)
    with one_blas_thread():
        found, valid = model.predictor.predict_window(raster, rows, columns, tile=job.tile)
    ids = np.asarray(model.known.class_ids)
    held = {"classes": np.where(valid, ids[found.argmax(axis=2)], 0).astype(_id_type(ids))}
    if "entropy" in job.kept:
        logs = np.log(np.maximum(found, np.finfo(np.float32).tiny))
        held["entropy"] = np.where(valid, -(found * logs).sum(axis=2), np.nan)
    if "probabilities" in job.kept:
        held["probabilities"] = np.where(valid[:, :, None], found, np.nan)
    with atomic_path(job.part(number)) as temporary:
        np.savez(temporary, **held)  # type: ignore[arg-type]  # no flag is among the names


def _id_type(ids: NDArray[np.integer[Any]]) -> np.dtype[Any]:
    return np.min_scalar_type(int(ids.max()))


def _begin(job: MapJob, raster: Raster, written: set[Path], say: Callable[[str], None]) -> None:
    """Make the folder of the windows, empty unless they are those of this very map.

    The image is known by the files of its name, as ENVI has two of them; without the map's own, and
    without the statistics that viewers leave beside it.
    """
    stem, own = raster.path.name.partition(".")[0], {path.resolve() for path in written}
    files = [
        path
        for path in raster.path.parent.iterdir()
        if path.name.partition(".")[0] == stem and path.is_file()
        if path.resolve() not in own and not path.name.endswith(".aux.xml")
    ]
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(job.model).iterdir() if path.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(files)]
    plain = {**vars(job), "folder": "", "model_options": sorted(job.model_options)}
    key = digest_of({"job": repr(plain), "image": stats, "model": digest.hexdigest()})
    note = job.folder / "key"
    if note.is_file() and note.read_text(encoding="utf-8") == key:
        done = sum(job.part(number).exists() for number in range(len(job.windows)))
        say(f"{done} of {len(job.windows)} windows were mapped before")
        return
    shutil.rmtree(job.folder, ignore_errors=True)
    write_text(note, key)


def _write(
    job: MapJob,
    model: SceneClassifier,
    raster: Raster,
    out: Sequence[Path],
    extra: Mapping[str, Path],
) -> list[dict[str, Any]]:
    """Put the windows together in the files that are asked for."""
    known, size, place = model.known, raster.shape[:2], raster.georeference
    facts: dict[str, Any] = {"georeference": place}
    names = dict(zip(known.class_ids, known.class_names, strict=True))
    palette = dict(zip(known.class_ids, known.palette, strict=True))
    try:
        sizes = pixel_sizes(place, *size)
    except MissingDependencyError:
        sizes = None
    for file in out:
        if file.suffix.lower() == ".png":
            _draw(job, model, raster, None if sizes is None else float(sizes[0].mean()), file)
            continue
        dtype = _id_type(np.asarray(known.class_ids))
        classes = ImageFacts(
            shape=(*size, 1), dtype=dtype, class_names=names, palette=palette, **facts
        )
        blocks = ((*where, ids[:, :, None]) for *where, ids in job.blocks("classes"))
        write_image(file, classes, blocks)  # type: ignore[arg-type]  # rows, columns, values
    facts |= {"dtype": np.dtype(np.float32), "nodata": math.nan}
    for name, file in extra.items():
        labels = known.class_names if name == "probabilities" else ("entropy",)
        values = (
            (rows, columns, held.reshape(*held.shape[:2], -1).astype(np.float32))
            for rows, columns, held in job.blocks(name)
        )
        write_image(
            file, ImageFacts(shape=(*size, len(labels)), band_names=labels, **facts), values
        )
    areas = _areas(job, names, None if sizes is None else sizes[1])
    table = io.StringIO()
    writer = csv.DictWriter(table, areas[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(areas)
    write_text(_beside(out[0], "areas.csv"), table.getvalue())
    write_text(_beside(out[0], "areas.json"), json.dumps(areas, indent=2))
    return areas


def _measure(
    job: MapJob,
    model: SceneClassifier,
    truth: NDArray[np.int64],
    first: Path,
    say: Callable[[str], None],
) -> None:
    """Tell the figures of a map, and write them beside it."""
    found = map_accuracy(job.blocks("classes"), truth, model.known)
    if not found["pixels"]:
        say("no labelled pixel of the image has a class in the map, so that nothing is measured")
        return
    names = {"overall_accuracy": "overall accuracy", "average_accuracy": "average accuracy"}
    told = ", ".join(
        f"{names.get(name, name)} {100 * found[name]:.2f}"
        for name in ("overall_accuracy", "average_accuracy", "kappa")
        if found[name] is not None
    )
    say(f"on {found['pixels']:,} labelled pixels, in percent: {told}")
    write_text(_beside(first, "accuracy.json"), json.dumps(found, indent=2))


def _areas(
    job: MapJob, names: Mapping[int, str], sizes: NDArray[np.float64] | None
) -> list[dict[str, Any]]:
    """Pixels and hectares of every class, by the area of a pixel of each row."""
    known = np.array([0, *names], dtype=_id_type(np.array([*names])))
    pixels = np.zeros(len(known), dtype=np.int64)
    hectares = np.zeros(len(known))
    for rows, _, ids in job.blocks("classes"):
        for row, line in zip(range(rows.start, rows.stop), ids, strict=True):
            counts = np.bincount(np.searchsorted(known, line), minlength=len(known))
            pixels += counts
            if sizes is not None:
                hectares += counts * (sizes[row] / 1e4)
    total = max(1, int(pixels[1:].sum()))
    return [
        {
            "id": number,
            "name": name,
            "pixels": int(pixels[place]),
            "percent": round(100 * int(pixels[place]) / total, 3),
            "hectares": None if sizes is None else round(float(hectares[place]), 4),
        }
        for place, (number, name) in enumerate(names.items(), 1)
    ]


def _draw(
    job: MapJob, model: SceneClassifier, raster: Raster, metres: float | None, file: Path
) -> None:
    """A picture of the map, of every nth pixel where it is large."""
    size = raster.shape[:2]
    step = math.ceil(max(size) / PREVIEW)
    ids = np.zeros([math.ceil(side / step) for side in size], dtype=np.int64)
    for rows, columns, values in job.blocks("classes"):
        first = -rows.start % step, -columns.start % step
        part = values[first[0] :: step, first[1] :: step]
        top, left = (rows.start + first[0]) // step, (columns.start + first[1]) // step
        ids[top : top + part.shape[0], left : left + part.shape[1]] = part
    known = model.known
    classes = np.searchsorted((0, *known.class_ids), ids)
    scale = None if metres is None else metres * step
    figure = classification_map(
        classes, known.info(*ids.shape), metres=scale, georeference=raster.georeference
    )
    save_figure(figure, file)
