"""What lies where in a simulated scene, and which of its pixels are labelled.

The land is cut in two along the longer side, and again, until every piece is one field with the
number of pixels that was asked for. Cutting pixel sets by rank instead of drawing polygons makes
every field exist in every scene size, whatever the angle of a cut. Streams and roads are laid over
large fields, patches get irregular borders, and the rims of the fields stay unlabelled.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy import ndimage

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Whole = NDArray[np.int64]
    Mask = NDArray[np.bool_]

MIN_LABELLED: Final = 4  # labelled pixels that every class has at least
TINY: Final = 22  # those of the smallest classes, where the scene has room for it
LARGE: Final = 60  # pixels from which on roads may cross a field, and a patch gets ragged


class Cover(NamedTuple):
    """One kind of land cover, a row of ``covers.csv``.

    Variants of a crop differ mostly in how much residue and soil shows, as in Indian Pines.
    """

    name: str
    kind: str  # class, other (land without labels), road or stream
    share: float  # how much of it there is, relative to the others of its kind
    patch: bool  # its pieces of land grew irregularly, instead of with straight borders
    content: dict[str, float]  # share of each material, together 1, and strength of each trait


def _cover(name: str, kind: str, share: str, shape: str, **content: str) -> Cover:
    numbers = {key: float(value or 0) for key, value in content.items()}
    return Cover(name, kind, float(share), shape == "patch", numbers)


_text = files(__package__).joinpath("covers.csv").read_text(encoding="utf-8")
_covers = [_cover(**row) for row in csv.DictReader(_text.splitlines())]
CLASSES: Final = tuple(cover for cover in _covers if cover.kind == "class")
OTHERS: Final = tuple(cover for cover in _covers if cover.kind != "class")


def make_layout(
    height: int, width: int, num_classes: int, labelled_share: float, rng: Generator
) -> tuple[NDArray[np.int32], Whole, Whole]:
    """Lay out fields, patches, roads and a stream.

    Returns:
        Field of every pixel, shape (H, W), from 0; cover of every field, shape (fields,), as its
        number in ``(*CLASSES[:num_classes], *OTHERS)``; labels, shape (H, W), 0 = unlabelled.
    """
    patch = np.array([cover.patch for cover in (*CLASSES[:num_classes], *OTHERS)])
    counts = class_sizes(round(labelled_share * height * width), num_classes, rng)
    cover, area, wanted = _plan_fields(counts, patch, height * width, rng)
    field_map, roads = _cut(height, width, area, rng)
    large = ((area >= LARGE) | (wanted == 0))[field_map]
    field_map[roads & large] = len(cover)
    field_map[_stream(height, width, rng) & large] = len(cover) + 1
    ragged = np.flatnonzero((wanted >= LARGE) & patch[cover])
    _fray(field_map, ragged, len(cover) + 2, rng)
    # road, stream, and the rough grass that patches leave of their pieces of land
    added = [len(patch) - 2, len(patch) - 1, *[num_classes] * len(ragged)]
    cover = np.concatenate([cover, added])
    return field_map, cover, _label(field_map, cover, wanted)


def class_sizes(labelled: int, num_classes: int, rng: Generator) -> Whole:
    """Share about ``labelled`` pixels among the classes, unevenly, shape (K,)."""
    if labelled < MIN_LABELLED * num_classes:
        raise ConfigurationError(
            f"height x width x labelled_share must give at least {MIN_LABELLED} pixels per class, "
            f"{MIN_LABELLED * num_classes} for num_classes={num_classes}, got {labelled}; ask for "
            f"a larger scene, a larger labelled_share or fewer classes"
        )
    shares = np.array([cover.share for cover in CLASSES[:num_classes]])
    shares *= np.exp(rng.normal(0, 0.15, num_classes))
    # in small scenes the floor sinks, so that the classes stay unbalanced
    floor = min(TINY, max(MIN_LABELLED, labelled // (4 * num_classes)))
    counts, left, rest = np.empty_like(shares), float(labelled), float(shares.sum())
    for index in np.argsort(shares):  # whoever is below the floor takes from the larger ones
        counts[index] = max(floor, left * shares[index] / rest)
        left, rest = left - counts[index], rest - shares[index]
    return counts.astype(np.int64)


def _plan_fields(counts: Whole, patch: Mask, pixels: int, rng: Generator) -> Whole:
    """Cover, pixels and labelled pixels of every field of all land, shape (3, fields)."""
    typical = 190 * (pixels / 145**2) ** 0.5
    plans = []
    for cover, count in enumerate(counts):
        parts = rng.dirichlet(np.full(max(1, round(count / typical)), 5.0))
        sizes = MIN_LABELLED + np.floor(parts * (count - MIN_LABELLED * len(parts))).astype(int)
        sizes[0] += count - sizes.sum()
        plans.append([np.full(len(parts), cover), sizes])
    cover, labelled = np.concatenate(plans, axis=1)
    # a rim of one pixel around a square of that size; a patch loses a third to its ragged border
    grown = np.where(patch[cover] & (labelled >= LARGE), 1.5, 1.0) * labelled
    rim = np.rint((np.sqrt(grown) + 2.3) ** 2) - labelled
    # where rims and rests don't all fit, they shrink alike
    bare = labelled.sum()
    area = labelled + (min(1.0, (0.97 * pixels - bare) / rim.sum()) * rim).astype(int)

    rest = pixels - area.sum()
    pieces = max(1, round(rest / (1.3 * typical)))
    parts = np.floor(rng.dirichlet(np.full(pieces, 3.0)) * rest).astype(int)
    parts[0] += rest - parts.sum()
    weights = np.array([cover.share for cover in OTHERS if cover.kind == "other"])
    kinds = len(counts) + rng.choice(len(weights), pieces, p=weights / weights.sum())
    others = np.stack([kinds, parts, np.zeros_like(parts)])[:, parts > 0]
    fields = np.concatenate([[cover, area, labelled], others], axis=1)
    return fields[:, rng.permutation(fields.shape[1])]


def _cut(height: int, width: int, areas: Whole, rng: Generator) -> tuple[NDArray[np.int32], Mask]:
    """Cut the land into pieces of exactly these sizes; the first cuts are roads."""
    places = np.indices((height, width), dtype=np.float32)
    for axis in (0, 1):  # no cut is quite straight
        bend = smooth_noise((height, width), 14, rng)[..., 0]
        places[axis] += np.float32(min(height, width) / 120) * bend
    rows, columns = places.reshape(2, -1)
    field_map = np.empty(height * width, dtype=np.int32)
    roads = np.zeros(height * width, dtype=np.bool_)
    todo = [(np.arange(height * width), np.arange(len(areas)))]
    while todo:
        pixels, fields = todo.pop()
        if len(fields) == 1:
            field_map[pixels] = fields[0]
            continue
        total = np.cumsum(areas[fields])
        middle = total[-1] * rng.uniform(0.38, 0.62)
        first = int(np.clip(np.searchsorted(total, middle), 1, len(fields) - 1))
        angle = rng.normal(0, 0.45 if rng.random() < 0.12 else 0.06)
        across = np.cos(angle) * columns[pixels] - np.sin(angle) * rows[pixels]
        down = np.cos(angle) * rows[pixels] + np.sin(angle) * columns[pixels]
        along = across if np.ptp(across) > np.ptp(down) else down
        cut = int(total[first - 1])
        order = np.argpartition(along, cut)
        if len(pixels) >= max(1500, height * width // 10):
            roads[pixels[np.abs(along - along[order[cut]]) < 0.7]] = True
        todo += [(pixels[order[:cut]], fields[:first]), (pixels[order[cut:]], fields[first:])]
    return field_map.reshape(height, width), roads.reshape(height, width)


def _stream(height: int, width: int, rng: Generator) -> Mask:
    """A winding line from the left to the right side; none in small scenes."""
    if min(height, width) < 48:
        return np.zeros((height, width), dtype=np.bool_)
    start, end = rng.uniform(0.1, 0.9, 2) * height
    wave = ndimage.gaussian_filter1d(rng.normal(size=width), 9)
    middle = np.linspace(start, end, width) + height / 16 * wave / wave.std()
    # where the line is steep it must stay as wide across, so it gets taller
    half = 0.7 * np.hypot(1, np.gradient(middle))
    return np.asarray(np.abs(np.arange(height)[:, None] - middle) < half)


def _fray(
    field_map: NDArray[np.int32], fields: NDArray[np.intp], rest: int, rng: Generator
) -> None:
    """Make the ragged outer thirds of these fields fields of their own, numbered from ``rest``."""
    wobble = smooth_noise(field_map.shape, 4, rng)[..., 0]
    windows = ndimage.find_objects(field_map + 1)
    for number, field in enumerate(fields, rest):
        land = field_map[windows[field]]
        inside = land == field
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        score = depth / depth.max() + 0.22 * wobble[windows[field]]
        land[inside & (score < np.quantile(score[inside], 1 / 3))] = number


def _label(field_map: NDArray[np.int32], field_cover: Whole, wanted: Whole) -> Whole:
    """Label the inner pixels of the fields, rim by rim as many as come nearest to ``wanted``."""
    edge = ndimage.maximum_filter(field_map, 3) != ndimage.minimum_filter(field_map, 3)
    depths = ndimage.distance_transform_cdt(~edge, "chessboard") if edge.any() else ~edge
    labels = np.zeros(field_map.shape, dtype=np.int64)
    windows = ndimage.find_objects(field_map + 1)
    for field in np.flatnonzero(wanted):
        window = windows[field]
        inside, depth = field_map[window] == field, depths[window]
        # pixels that lie at least so deep, from the whole field inwards
        deep = np.bincount(depth[inside])[::-1].cumsum()[::-1]
        enough = deep >= wanted[field] * (0.5 if wanted[field] >= LARGE else 0.8)
        # a field that can afford it keeps an unlabelled rim, even where that is far from wanted
        allowed = np.arange(1, enough.sum()) if enough.sum() > 1 else np.array([0])
        best = allowed[np.argmin(np.abs(deep[allowed] - wanted[field]))]
        labels[window][inside & (depth >= best)] = field_cover[field] + 1
    return labels


def smooth_noise(
    shape: tuple[int, ...], scale: float, rng: Generator, count: int = 1
) -> NDArray[np.float32]:
    """Gaussian random images of unit variance that change slowly, float32, shape (H, W, count).

    White noise on a grid of knots, ``scale`` pixels apart, is spread by Gaussian bumps of that
    width: the cost does not grow with the scale as that of a filter would.
    """
    bumps = []
    for size in shape:
        knots = np.arange(-2, np.ceil(size / scale) + 3) * scale
        bump = np.exp(-0.5 * ((np.arange(size)[:, None] - knots) / scale) ** 2)
        bumps.append((bump / np.linalg.norm(bump, axis=1, keepdims=True)).astype(np.float32))
    down, across = bumps
    white = rng.standard_normal((down.shape[1], across.shape[1], count), dtype=np.float32)
    rows = np.tensordot(down, white, axes=1)
    return np.asarray(np.swapaxes(np.tensordot(across, rows, axes=(1, 1)), 0, 1), order="C")
