"""From the file of an image to the files of its map, window by window in bounded memory."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError
from hsi_diffusion.files import digest_of, remove_temporaries, write_text
from hsi_diffusion.models.hub import local_folder
from hsi_diffusion.models.map_accuracy import ground_truth
from hsi_diffusion.models.map_files import check_written, write_accuracy, write_map
from hsi_diffusion.models.map_windows import HELD, MapJob, map_window, plan_windows
from hsi_diffusion.scenes import Raster, read_labels
from hsi_diffusion.scenes.nodata import warn_of_nodata
from hsi_diffusion.scenes.writers import check_image_path
from hsi_diffusion.tasks import Task, run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

SAMPLE, ROWS = 2**16, 16
"""Pixels and rows, at most, that are looked through before anything is computed."""


def map_image(
    model: str | Path,
    image: str | Path,
    out: str | Path | Sequence[str | Path],
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
        out: File of the map, or several: ``.tif``, ``.hdr`` (ENVI) and ``.npy`` hold the classes'
            numbers in the label map that was learned, 0 where there is no data; ``.png`` is a
            picture. Beside the first, ``NAME-areas.csv`` and ``.json`` hold the areas of the
            classes.
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
    maps = [Path(file) for file in ([out] if isinstance(out, str | Path) else out)]
    if not maps:
        raise ConfigurationError("out must name at least one file of the map, such as map.tif")
    for file in maps:
        check_image_path(file, "a map", ".png")
    asked = {"probabilities": probabilities, "uncertainty": uncertainty}
    extra = {name: Path(file) for name, file in asked.items() if file is not None}
    for name, file in extra.items():
        check_image_path(file, name)
    first = maps[0]
    model = local_folder(model, (model_options or {}).get("revision"))  # once, not by every worker
    job = MapJob(
        str(model), str(image), first.with_name(f".{first.name}.windows"), (), None, tuple(extra),
        image_options or {}, model_options or {}, resample,
    )  # fmt: skip
    fitted, raster = job.open()
    check_written(job, raster, labels, maps, extra)
    fitted.known.check_bands(raster.shape, raster.wavelengths)
    fitted.known.warn_of_unknown_bands(raster.wavelengths)
    truth = None
    if labels is not None:  # before anything is computed
        truth = ground_truth(read_labels(labels, raster, label_attribute), fitted.known)
    windows, tile = plan_windows(fitted, raster, memory)
    some = _some_rows(raster)
    fitted.known.warn_of_other_units(*some)
    if job.image_options.get("nodata") is None:
        warn_of_nodata(*some)
    job = replace(job, windows=windows, tile=tile)
    if len(windows) > 1 and fitted.predictor.spreads:
        say(
            f"The image is mapped in {len(windows)} windows, and this model's labels are spread "
            "inside each of them; with more --memory they are spread over the whole image"
        )
    for file in (*maps, *extra.values()):
        remove_temporaries(file)
    _begin(job, raster, {*maps, *extra.values()}, say)
    HELD[job.folder] = fitted, raster
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
        del HELD[job.folder]
    if failed := [error for error in errors.values() if error is not None]:
        raise HsiDiffusionError(
            f"{len(failed)} of {len(windows)} windows could not be mapped, and the same command "
            f"tries them again: {failed[0]}"
        )
    areas = write_map(job, fitted, raster, maps, extra)
    if truth is not None:
        write_accuracy(job, fitted, truth, first, say)
    if not any(area["pixels"] for area in areas):
        warnings.warn(
            f"no pixel of {raster.path.name} holds data in all bands, so that its map is 0 "
            "everywhere; check the value that means no data (--nodata), and leave out bands that "
            "hold no data anywhere",
            stacklevel=2,
        )
    shutil.rmtree(job.folder)
    return areas


def _some_rows(raster: Raster) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """A small image whole, else rows from its first to its last; and which pixels hold data."""
    height, width, _ = raster.shape
    if height * width <= SAMPLE:
        return raster.read()
    rows = np.linspace(0, height - 1, max(2, min(ROWS, SAMPLE // width)), dtype=int)
    parts = [raster.read(slice(row, row + 1)) for row in rows.tolist()]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


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
