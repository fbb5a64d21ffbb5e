"""Nearest neighbours of pixels in feature space, wherever they lie in the scene."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least
from hsi_diffusion.tensors import as_tensor, check_valid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

CHUNK = 2**28
"""Bytes of the distances, or of the cube in float64, that are held at a time."""

CACHED = 2**22
"""Bytes of distances that are held at a time on a CPU, whose caches are about as large. The pieces
are square: in strips as wide as a large scene, few rows would share a walk through all others."""

EXACT = 2**16
"""Rows up to which every row is compared with every other on a CPU; beyond, :func:`_listed`."""

LISTED, PROBED = 325, 24
"""Rows around a centre among more, and the number of centres whose rows are compared with a row."""

COMPONENTS, TRIED, ENOUGH = (16, 32, 64, 128), 100, 0.99
"""Numbers of principal components in which rows may be compared, on how many rows that is tried,
and the part of their nearest neighbours that must be found again."""

LARGEST = 2.0**15
"""Largest value of rows in 16 bits, whose numbers end at 65,504."""


def neighbour_mean(
    cube: Tensor | NDArray[Any],
    neighbours: int = 10,
    *,
    valid: NDArray[np.bool_] | None = None,
    device: str | torch.device = "cpu",
) -> NDArray[np.float32]:
    """Take the weighted mean over every pixel and its nearest neighbours in feature space.

    The graph part of miniGCN (Hong et al., TGRS 2021). Every pixel is joined to the ``neighbours``
    pixels of the scene with the most similar spectra or features, with weight exp(-(d / s)^2), d
    the distance between them; an edge counts in both directions, and every pixel is joined to
    itself with weight 1. That s is the median of d over each pixel's most distant nearest neighbour
    is ours: so the scale of the channels does not matter.

    A one-layer graph convolution is a product A X W, and A X does not depend on the weights W: so
    it is made once, for the whole scene. The rows of A add up to 1, where Kipf & Welling (ICLR
    2017) take D^-1/2 A D^-1/2. That is ours as well: a pixel's new spectrum is a weighted mean of
    spectra, and scaling or shifting a channel before or after it is the same.

    Labels play no part, and nothing is random.

    Args:
        cube: Bands, components or features, shape (H, W, D), scaled so that distances mean
            something.
        neighbours: Number of nearest neighbours of a pixel.
        valid: Which pixels hold data, shape (H, W); None: all. The others stay as they are.
        device: Where the nearest neighbours are searched.

    Returns:
        A X, shape (H, W, D); computed in float64.

    Raises:
        ConfigurationError: ``neighbours`` is below 1 or not below the number of pixels, or the cube
            has another number of axes or holds nan or infinity.
    """
    rows = pixel_rows(cube, neighbours, device, valid)
    graph, _ = nearest_graph(rows, neighbours)
    graph = graph + sparse.eye_array(len(rows), format="csr")
    degree = np.asarray(graph.sum(axis=1), dtype=np.float64).ravel()
    graph = sparse.csr_array(sparse.diags_array(1 / degree) @ graph)
    values = _valid_rows(cube, valid).cpu()
    result = np.empty(rows.shape, dtype=np.float32)
    step = max(1, CHUNK // (8 * max(1, len(rows))))
    for start in range(0, rows.shape[1], step):
        part = slice(start, start + step)
        result[:, part] = graph @ values[:, part].to(torch.float64).numpy()
    if valid is None:
        return result.reshape(tuple(cube.shape))
    whole = as_tensor(cube).numpy(force=True).astype(np.float32)
    whole[valid] = result
    return whole


def pixel_rows(
    cube: Tensor | NDArray[Any],
    neighbours: int,
    device: str | torch.device = "cpu",
    valid: NDArray[np.bool_] | None = None,
) -> Tensor:
    """Turn the pixels of a scene into rows from which a graph can be made.

    Args:
        cube: Shape (H, W, D).
        neighbours: Number of neighbours that every pixel will have.
        device: Device of the rows.
        valid: Which pixels hold data, shape (H, W); None: all.

    Returns:
        float32, shape (N, D) for N pixels that hold data, less the mean of every channel: distances
        stay, and keep their digits where values are large against their differences, as raw counts
        are.

    Raises:
        ConfigurationError: ``neighbours`` is below 1 or not below the number of pixels, or the cube
            has another number of axes or holds nan or infinity, or ``valid`` another shape or type.
    """
    check_at_least(1, neighbours=neighbours)
    cube = as_tensor(cube)
    if cube.ndim != 3:
        raise ConfigurationError(f"cube must have the shape (H, W, D), got {tuple(cube.shape)}")
    check_valid(valid, cube.shape[:2])
    if (pixels := cube.shape[0] * cube.shape[1]) <= neighbours:
        raise ConfigurationError(
            f"neighbours must be below the number of pixels, {pixels}, got {neighbours}"
        )
    rows = _centred(_valid_rows(cube, valid), device)
    if not bool(rows.isfinite().all()):
        raise ConfigurationError(
            "cube must be finite, but holds nan or infinity: a distance to such a pixel means "
            "nothing; leave the band out, or fill the pixels"
        )
    return rows


def _valid_rows(cube: Tensor | NDArray[Any], valid: NDArray[np.bool_] | None) -> Tensor:
    cube = as_tensor(cube)
    return cube.flatten(0, 1) if valid is None else cube[torch.from_numpy(valid)]


def _centred(values: Tensor, device: str | torch.device) -> Tensor:
    """float32 on the device, less the mean of every column; (N, D)."""
    step = max(1, CHUNK // (8 * values.shape[1]))
    pieces = torch.split(values, step)
    total = sum((piece.double().sum(dim=0) for piece in pieces), torch.zeros(()))
    mean = total / len(values)
    rows = torch.empty(values.shape, device=device, dtype=torch.float32)
    for piece, place in zip(pieces, torch.split(rows, step), strict=True):
        place.copy_(piece.double() - mean)
    return rows


def nearest_graph(
    rows: Tensor, neighbours: int, width: float = 1.0
) -> tuple[sparse.csr_array, float]:
    """Join every row to its nearest neighbours.

    Args:
        rows: float32, shape (N, D), finite.
        neighbours: Number of nearest neighbours, at most N - 1 of them.
        width: Kernel width s of the weights exp(-(d / s)^2), in units of the median distance to the
            most distant of the nearest neighbours, over the rows where that is above 0.

    Returns:
        Symmetric weights, shape (N, N), with an edge where one of two rows is among the nearest
        neighbours of the other, and nothing on the diagonal; and the kernel width s.
    """
    neighbours = min(neighbours, len(rows) - 1)  # of a window at the border little may hold data
    if neighbours < 1:
        return sparse.csr_array((len(rows), len(rows))), 1.0
    distance, nearest = nearest_rows(rows, neighbours)
    farthest = distance[:, -1]
    apart = farthest[farthest > 0]  # pixels without data are equal, and many in some scenes
    scale = width * float(apart.median()) if len(apart) else 1.0
    own = np.repeat(np.arange(len(rows)), neighbours)
    weights = torch.exp(-((distance / scale) ** 2)).cpu().numpy()
    graph = square_matrix(weights.ravel(), own, nearest.cpu().numpy().ravel(), len(rows))
    return sparse.csr_array(graph.maximum(graph.T)), scale


def nearest_rows(rows: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Distances and numbers of the nearest other rows, (N, number) each, nearest first.

    They are searched by |x|^2 - 2 x y + |y|^2, which rounds small distances between large values
    away: rows should lie around 0 (:func:`pixel_rows`). Autocast plays no part. Among more than
    ``EXACT`` rows on a CPU, about 98 of 100 of them are found, always the same.
    """
    with torch.autocast(rows.device.type, enabled=False):
        if rows.is_cuda or len(rows) <= EXACT:
            nearest = _compared(rows, number)
        else:
            nearest = _listed(rows, number)
    # by their differences, so that equal rows are at a distance of exactly 0
    own = torch.arange(len(rows), device=rows.device).repeat_interleave(nearest.shape[1])
    apart = row_distances(rows, own, nearest.flatten()).view_as(nearest)
    ordered, places = apart.sort(dim=1, stable=True)
    return ordered[:, :number], nearest.gather(1, places[:, :number])


def row_distances(
    rows: Tensor, first: Tensor | NDArray[np.int64], second: Tensor | NDArray[np.int64]
) -> Tensor:
    """Distances between the rows with the numbers ``first`` and ``second``, shape (M,) all."""
    chunk = max(1, CHUNK // (4 * rows.shape[1]))
    apart = [
        (rows[first[start : start + chunk]] - rows[second[start : start + chunk]]).norm(dim=1)
        for start in range(0, len(first), chunk)
    ]
    return torch.cat(apart) if apart else rows.new_empty(0)


def _compared(rows: Tensor, number: int) -> Tensor:
    """Numbers of the nearest other rows, (N, number), each row compared with all others."""
    squares = rows.square().sum(dim=1)
    # how many rows, and others, whose distances are held at a time
    height = width = max(1, math.isqrt(CACHED // 4))
    if rows.is_cuda:
        height, width = max(1, CHUNK // (4 * len(rows))), len(rows)
    others = torch.split(torch.arange(len(rows), device=rows.device), width)
    starts = range(0, len(rows), height)
    return torch.cat(
        [_nearest(rows, squares, slice(start, start + height), others, number) for start in starts]
    )


def _listed(rows: Tensor, number: int) -> Tensor:
    """Numbers of nearly all of the nearest other rows, (N, number or more).

    An inverted file (Sivic & Zisserman, ICCV 2003) finds them in less than quadratic time: each row
    is compared with those whose k-means centre is one of the ``PROBED`` nearest to it, in 16 bits
    and few components where these are enough.
    """
    import faiss  # noqa: PLC0415  (for large scenes only)

    before = torch.get_num_threads()
    try:
        # what is found depends on centres and components, and these on the number of threads
        torch.set_num_threads(1)
        faiss.omp_set_num_threads(1)
        short = _shortened(rows, number)
        values = (rows if short is None else short).numpy()
        lists = max(1, len(values) // LISTED)
        kind, wanted = ("Flat", number) if short is None else ("SQfp16", 2 * number)
        wanted = min(wanted, len(rows) - 1)
        index: Any = faiss.index_factory(values.shape[1], f"IVF{lists},{kind}")
        index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = 0, 10, 64
        index.nprobe = PROBED
        index.train(values)
        torch.set_num_threads(before)
        faiss.omp_set_num_threads(before)
        index.add(values)
        _, nearest = index.search(values, wanted + 1)
    finally:  # where OpenMP is shared, its threads are PyTorch's
        torch.set_num_threads(before)
    found = torch.from_numpy(nearest) % len(rows)  # -1 stands for nothing
    itself = found == torch.arange(len(rows))[:, None]
    return found.gather(1, itself.long().argsort(dim=1, stable=True)[:, :wanted])


def _shortened(rows: Tensor, number: int) -> Tensor | None:
    """Rows in the fewest principal components, of 16 bits, in which those that are near stay near.

    Returns:
        float32 that 16 bits hold, (N, C), in which nearly all of the nearest rows are among twice
        as many that are nearest; None if there is no such number of components.
    """

    def nearest(values: Tensor, some: int) -> Tensor:
        """Distances of the picked rows to those that are nearest by ``values``, themselves too."""
        near = torch.cdist(values[picked], values).topk(some + 1, largest=False).indices
        apart: Tensor = (rows[near] - rows[picked][:, None]).norm(dim=2)
        return apart.sort(dim=1).values[:, : number + 1]

    sample = rows[:: max(1, len(rows) // EXACT)].double()
    axes = torch.linalg.eigh(sample.T @ sample).eigenvectors.to(rows)
    picked = torch.arange(0, len(rows), max(1, len(rows) // TRIED))
    farthest = nearest(rows, number)[:, -1:]
    channels = rows.shape[1]
    for kept in sorted({min(kept, channels) for kept in (*COMPONENTS, channels)}):
        short: Tensor = rows @ axes[:, -kept:]
        largest = float(short.abs().max()) or 1.0  # of equal rows all are 0
        short = (short * (LARGEST / largest)).half().float()
        if float((nearest(short, 2 * number) <= farthest).double().mean()) >= ENOUGH:
            return short
    return None


def _nearest(
    rows: Tensor, squares: Tensor, part: slice, others: Sequence[Tensor], number: int
) -> Tensor:
    """Numbers of the rows among ``others`` that are nearest to those of a part, (part, number)."""
    end = min(part.stop, len(rows))
    best = squares.new_empty(end - part.start, 0)
    indices = torch.empty(best.shape, dtype=torch.int64, device=rows.device)
    for some in others:
        # without the row's own square, which changes all its distances by the same
        square = torch.addmm(squares[some], rows[part], rows[some].T, alpha=-2)
        # not itself; but not by its distance of 0, since there may be duplicates
        own = ((some >= part.start) & (some < end)).nonzero()[:, 0]
        square[some[own] - part.start, own] = torch.inf
        near = square.topk(min(number, len(some)), dim=1, largest=False)
        best = torch.cat((best, near.values), dim=1)
        indices = torch.cat((indices, some[near.indices]), dim=1)
        best, places = best.topk(min(number, best.shape[1]), dim=1, largest=False)
        indices = indices.gather(1, places)
    return indices


def square_matrix(
    weights: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64], size: int
) -> sparse.csr_array:
    """A square sparse matrix of float64."""
    shape: tuple[int, int] = (size, size)  # spelled out, so that a type checker sees a matrix
    entries = weights.astype(np.float64)
    return sparse.csr_array(sparse.coo_array((entries, (rows, columns)), shape=shape))
