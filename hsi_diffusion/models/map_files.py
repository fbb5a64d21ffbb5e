"""The files of a map, put together from its windows."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import ConfigurationError, MissingDependencyError, OutputExistsError
from hsi_diffusion.files import write_text
from hsi_diffusion.models.map_accuracy import map_accuracy
from hsi_diffusion.models.map_windows import id_type
from hsi_diffusion.reports import classification_map, save_figure
from hsi_diffusion.scenes.envi import Header
from hsi_diffusion.scenes.ground import pixel_sizes
from hsi_diffusion.scenes.readers import envi_header, file_format, parse_location
from hsi_diffusion.scenes.writers import ImageFacts, check_place, write_image, written_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.models.map_windows import MapJob
    from hsi_diffusion.models.scene_classifier import SceneClassifier
    from hsi_diffusion.scenes import Raster

BESIDE = "areas.csv", "areas.json", "accuracy.json"
"""Ends of the names of what is written beside the first file of a map."""

PREVIEW = 1500
"""Largest side of the picture of a map in pixels."""


def check_written(
    job: MapJob, raster: Raster, labels: Any, maps: Sequence[Path], extra: Mapping[str, Path]
) -> None:
    """Refuse to replace a file that is read, or one that is written too.

    ``maps`` are the files of the classes, ``extra`` those of what is kept beside them, by its name.

    Raises:
        OutputExistsError: A file of the image or of the labels would be replaced.
        ConfigurationError: Two things would be written to one file, or a file can't hold the
            image's coordinates.
    """
    read = {raster.path.resolve(): f"the image {job.image}"}
    for what, source in (("image", job.image), ("labels", labels)):
        if isinstance(source, str | Path):
            files = _files_of(parse_location(source)[0])
            read |= {path.resolve(): f"the {what} {source}" for path in files}
    taken: dict[Path, str] = {}
    asked = [("out", file) for file in (*maps, *(_beside(maps[0], name) for name in BESIDE))]
    for option, file in (*asked, *extra.items()):
        told = f"{option} (--{option}) {file}"
        check_place(file, raster.georeference)
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


def write_map(
    job: MapJob,
    model: SceneClassifier,
    raster: Raster,
    out: Sequence[Path],
    extra: Mapping[str, Path],
) -> list[dict[str, Any]]:
    """Put the windows together in the files that are asked for, see :func:`check_written`.

    Returns:
        A dict for each class: ``id``, ``name``, ``pixels``, ``percent`` and ``hectares``.
    """
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
        dtype = id_type(np.asarray(known.class_ids))
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


def write_accuracy(
    job: MapJob,
    model: SceneClassifier,
    truth: NDArray[np.int64],
    first: Path,
    say: Callable[[str], None],
) -> None:
    """Tell the figures of a map, and write them beside ``first``, its first file.

    ``truth`` is from :func:`~hsi_diffusion.models.map_accuracy.ground_truth`.
    """
    found = map_accuracy(job.blocks("classes"), truth, model.known)
    if not found["pixels"]:
        say("no labelled pixel of the image has a class in the map, so that nothing is measured")
        return
    told = ", ".join(
        f"{name.replace('_', ' ')} {100 * found[name]:.2f}"
        for name in ("overall_accuracy", "average_accuracy", "kappa")
        if found[name] is not None
    )
    say(f"on {found['pixels']:,} labelled pixels, in percent: {told}")
    write_text(_beside(first, "accuracy.json"), json.dumps(found, indent=2))


def _areas(
    job: MapJob, names: Mapping[int, str], sizes: NDArray[np.float64] | None
) -> list[dict[str, Any]]:
    """Pixels and hectares of every class, by the area of a pixel of each row."""
    known = np.array([0, *names], dtype=id_type(np.array([*names])))
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
