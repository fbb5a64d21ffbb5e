"""Where the fields of a simulated scene lie, and which of their pixels are labelled.

The land is cut in two along the longer side, and again, until every piece is one field with the
number of pixels that was asked for. Cutting pixel sets by rank instead of drawing polygons makes
every field exist in every scene size, whatever the angle of a cut. Streams and roads are laid over
large fields, patches get irregular borders, and the rims of the fields stay unlabelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.scenes.simulated_covers import CLASSES, ROAD, STREAM, UNLABELLED, Cover

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_LABELLED = 4
"""Labelled pixels that every class has at least."""

TINY = 22
"""Labelled pixels of the smallest classes, where the scene has room for it."""

LARGE = 60
"""Pixels from which on a field is large: roads may cross it, and a patch gets ragged."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The land of a scene.

    Attributes:
        field_map: int32, shape (H, W), the field of every pixel, from 0.
        field_cover: int64, shape (fields,), the row of each field in ``covers``.
        covers: The K classes first, then what is not labelled.
        labels: int64, shape (H, W), 0 = unlabelled, classes 1..K.
    """

    field_map: NDArray[np.int32]
    field_cover: NDArray[np.int64]
    covers: tuple[Cover, ...]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Plan:
    """One field to be placed: its cover, its pixels and how many of them shall be labelled."""

    cover: int
    area: int
    labelled: int


def make_layout(
    height: int,
    width: int,
    num_classes: int,
    labelled_share: float,
    rng: np.random.Generator,
) -> Layout:
    """Lay out fields, patches, roads and a stream.

    Args:
        height: Rows.
        width: Columns.
        num_classes: K.
        labelled_share: Share of the pixels that shall carry a label; met about.
        rng: Source of all chance.

    Raises:
        ConfigurationError: If there are not enough pixels for every class.
    """
    covers = (*CLASSES[:num_classes], *UNLABELLED, ROAD, STREAM)
    counts = class_sizes(round(labelled_share * height * width), num_classes, rng)
    plans = _plan_fields(counts, height * width, rng)
    field_map, roads = _cut(height, width, [plan.area for plan in plans], rng)
    stream = _stream(height, width, rng)

    cover = np.array([plan.cover for plan in plans])
    wanted = np.array([plan.labelled for plan in plans])
    road, water, first_rest = len(plans), len(plans) + 1, len(plans) + 2
    large = np.array([plan.area >= LARGE or plan.labelled == 0 for plan in plans])[field_map]
    field_map[roads & large] = road
    field_map[stream & large] = water

    # a patch leaves an irregular rest of its piece of land to rough grass
    ragged = [
        index
        for index, plan in enumerate(plans)
        if plan.labelled >= LARGE and covers[plan.cover].shape == "patch"
    ]
    _fray(field_map, ragged, first_rest, rng)
    field_cover = np.concatenate(
        [cover, [len(covers) - 2, len(covers) - 1], np.full(len(ragged), num_classes)]
    )
    wanted = np.concatenate([wanted, np.zeros(2 + len(ragged), dtype=wanted.dtype)])
    labels = _label(field_map, field_cover, wanted)
    return Layout(field_map, field_cover, covers, labels)


def class_sizes(labelled: int, num_classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Share ``labelled`` pixels among the classes, unevenly, with a floor for the tiny ones.

    Args:
        labelled: Pixels to share.
        num_classes: K.
        rng: Varies the sizes by some 15 %.

    Returns:
        int64, shape (K,), adding up to about ``labelled``.

    Raises:
        ConfigurationError: If this gives less than ``MIN_LABELLED`` pixels per class.
    """
    if labelled < MIN_LABELLED * num_classes:
        raise ConfigurationError(
            f"a simulated scene needs at least {MIN_LABELLED} labelled pixels per class, "
            f"{MIN_LABELLED * num_classes} for num_classes={num_classes}, but height x width x "
            f"labelled_share gives {labelled}; ask for a larger scene, a larger labelled_share or "
            f"fewer classes"
        )
    shares = np.array([cover.share for cover in CLASSES[:num_classes]])
    shares = shares * np.exp(rng.normal(0, 0.15, num_classes))
    # in small scenes the floor sinks, so that the classes stay unbalanced
    floor = min(TINY, max(MIN_LABELLED, labelled // (4 * num_classes)))
    order = np.argsort(shares)
    counts = np.empty(num_classes)
    left, rest = float(labelled), float(shares.sum())
    for index in order:  # from small to large: whoever is below the floor takes from the others
        counts[index] = max(floor, left * shares[index] / rest)
        left -= counts[index]
        rest -= shares[index]
    return counts.astype(np.int64)


def _plan_fields(counts: NDArray[np.int64], pixels: int, rng: np.random.Generator) -> list[_Plan]:
    """Split every class into fields with rims, and fill the rest of the land."""
    num_classes = len(counts)
    typical = 190 * (pixels / 145**2) ** 0.5
    plans = []
    for cover, count in enumerate(counts):
        fields = max(1, round(count / typical))
        parts = rng.dirichlet(np.full(fields, 5.0))
        sizes = MIN_LABELLED + np.floor(parts * (count - MIN_LABELLED * fields)).astype(int)
        sizes[0] += count - sizes.sum()
        for size in sizes:
            frayed = CLASSES[cover].shape == "patch" and size >= LARGE
            area = 1.5 * size if frayed else size
            # a rim of one pixel around a square of that size
            plans.append(_Plan(cover, round((area**0.5 + 2.3) ** 2), int(size)))

    # where rims and rests don't all fit, they shrink alike
    bare = sum(plan.labelled for plan in plans)
    room = min(1.0, (0.97 * pixels - bare) / (sum(plan.area for plan in plans) - bare))
    plans = [
        _Plan(p.cover, p.labelled + int(room * (p.area - p.labelled)), p.labelled) for p in plans
    ]
    rest = pixels - sum(plan.area for plan in plans)
    fields = max(1, round(rest / (1.3 * typical)))
    parts = np.floor(rng.dirichlet(np.full(fields, 3.0)) * rest).astype(int)
    parts[0] += rest - parts.sum()
    weights = np.array([cover.share for cover in UNLABELLED])
    kinds = num_classes + rng.choice(len(UNLABELLED), fields, p=weights / weights.sum())
    plans += [
        _Plan(int(kind), int(area), 0) for kind, area in zip(kinds, parts, strict=True) if area
    ]
    return [plans[index] for index in rng.permutation(len(plans))]


def _cut(
    height: int, width: int, areas: list[int], rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Cut the land into pieces of exactly these sizes; the first cuts are roads."""
    rows, columns = np.indices((height, width), dtype=np.float32).reshape(2, -1)
    bend = min(height, width) / 120
    rows = rows + bend * smooth_noise((height, width), 14, rng).ravel()
    columns = columns + bend * smooth_noise((height, width), 14, rng).ravel()
    sizes = np.asarray(areas)
    field_map = np.empty(height * width, dtype=np.int32)
    roads = np.zeros(height * width, dtype=np.bool_)
    road_size = max(1500, height * width // 10)
    todo = [(np.arange(height * width), np.arange(len(areas)))]
    while todo:
        pixels, fields = todo.pop()
        if len(fields) == 1:
            field_map[pixels] = fields[0]
            continue
        total = np.cumsum(sizes[fields])
        middle = total[-1] * rng.uniform(0.38, 0.62)
        first = int(np.clip(np.searchsorted(total, middle), 1, len(fields) - 1))
        angle = rng.normal(0, 0.45 if rng.random() < 0.12 else 0.06)
        across = np.cos(angle) * columns[pixels] - np.sin(angle) * rows[pixels]
        down = np.cos(angle) * rows[pixels] + np.sin(angle) * columns[pixels]
        along = across if np.ptp(across) > np.ptp(down) else down
        cut = int(total[first - 1])
        order = np.argpartition(along, cut)
        if len(pixels) >= road_size:
            roads[pixels[np.abs(along - along[order[cut]]) < 0.7]] = True
        todo.append((pixels[order[:cut]], fields[:first]))
        todo.append((pixels[order[cut:]], fields[first:]))
    return field_map.reshape(height, width), roads.reshape(height, width)


def _stream(height: int, width: int, rng: np.random.Generator) -> NDArray[np.bool_]:
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
    field_map: NDArray[np.int32], fields: list[int], first_rest: int, rng: np.random.Generator
) -> None:
    """Keep the inner two thirds of each of these fields, with an irregular border (in place)."""
    height, width = field_map.shape
    wobble = smooth_noise((height, width), 4, rng)[..., 0]
    slices = ndimage.find_objects(field_map + 1)
    for offset, index in enumerate(fields):
        window = slices[index]
        inside = field_map[window] == index
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        score = depth / depth.max() + 0.22 * wobble[window]
        outer = inside & (score < np.quantile(score[inside], 1 / 3))
        field_map[window][outer] = first_rest + offset


def _label(
    field_map: NDArray[np.int32], field_cover: NDArray[np.int64], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Label the inner pixels of the fields, rim by rim as many as come nearest to ``wanted``."""
    edge = ndimage.maximum_filter(field_map, 3) != ndimage.minimum_filter(field_map, 3)
    depth = ndimage.distance_transform_cdt(~edge, "chessboard") if edge.any() else ~edge
    labels = np.zeros(field_map.shape, dtype=np.int64)
    slices = ndimage.find_objects(field_map + 1)
    for index in np.flatnonzero(wanted):
        window = slices[index]
        inside = field_map[window] == index
        # pixels that lie at least so deep, from the whole field inwards
        deep = np.bincount(depth[window][inside])[::-1].cumsum()[::-1]
        enough = deep >= wanted[index] * (0.5 if wanted[index] >= LARGE else 0.8)
        # a field that can afford it keeps an unlabelled rim, even where that is far from wanted
        allowed = np.arange(1, enough.sum()) if enough.sum() > 1 else np.zeros(1, dtype=np.int64)
        best = allowed[np.argmin(np.abs(deep[allowed] - wanted[index]))]
        labels[window][inside & (depth[window] >= best)] = field_cover[index] + 1
    return labels


def smooth_noise(
    shape: tuple[int, int], scale: float, rng: np.random.Generator, count: int = 1
) -> NDArray[np.float32]:
    """Gaussian random images of unit variance that change slowly.

    White noise on a coarse grid of knots, spread by Gaussian bumps: the cost does not grow with
    ``scale`` as that of a filter would.

    Args:
        shape: (H, W).
        scale: Distance of the knots and width of the bumps, in pixels.
        rng: Source of chance.
        count: N, how many independent images.

    Returns:
        float32, shape (H, W, N).
    """
    down, across = (_bumps(size, scale) for size in shape)
    knots = rng.standard_normal((down.shape[1], across.shape[1], count), dtype=np.float32)
    rows = np.tensordot(down, knots, axes=1)
    return np.asarray(np.swapaxes(np.tensordot(across, rows, axes=(1, 1)), 0, 1), order="C")


def _bumps(size: int, scale: float) -> NDArray[np.float32]:
    """Weight of every knot at every pixel, shape (size, knots); squares add up to 1 per pixel."""
    knots = np.arange(-2, np.ceil(size / scale) + 3) * scale
    weights = np.exp(-0.5 * ((np.arange(size)[:, None] - knots) / scale) ** 2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32)
