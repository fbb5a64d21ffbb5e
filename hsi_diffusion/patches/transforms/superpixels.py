"""Whitening by what varies inside superpixels: relevant component analysis without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from scipy import sparse
from scipy.linalg import eigh

from hsi_diffusion.errors import SceneError
from hsi_diffusion.options import check_at_least, check_choice
from hsi_diffusion.patches.transforms.base import (
    Array,
    LinearTransform,
    inverse_or_zero,
    mean_and_covariance,
    row_slices,
    same_signs,
)
from hsi_diffusion.patches.transforms.mnf import MNF

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SEEN = 6
"""MNF components in which superpixels are cut."""

COMPACTNESS = 10.0
"""SLIC's weight of distance in the scene against distance between spectra."""

AREA = 16
"""Least mean number of pixels of a superpixel."""

RIDGE = 1e-6
"""Added to the within-superpixel covariance, as a fraction of its mean variance."""


class RelevantComponents(LinearTransform):
    """Components whitened by the covariance inside superpixels (relevant component analysis).

    Relevant component analysis (Bar-Hillel, Hertz, Shental and Weinshall, JMLR 6, 2005) takes sets
    of points of one class each, whatever it is, and whitens by the covariance within them: what
    varies there means nothing. Here the sets are superpixels, so no label is needed (ours): spectra
    get unit norm, SLIC (Achanta et al., TPAMI 34(11), 2012) cuts the scene in its first MNF
    components, and the generalised eigenproblem ``covariance v = ratio * within v`` gives the mixes
    of bands that vary most between superpixels in units of what varies inside them.

    The neighbourhood counts when fitting only: a fitted transform takes single pixels. Fitting
    holds the image in float32, also where it comes as a raster.

    Args:
        components: Number of components, at most; fewer bands give as many as there are bands, and
            so does None.
        scale: ``"unit"`` gives each component unit variance over the fitted pixels; ``"within"``
            gives it unit variance inside superpixels, so that the first ones are the largest.
        superpixels: How many superpixels the scene is cut into, about; at most one for every 16
            pixels.
        normalise: Give each spectrum unit Euclidean norm first, which takes brightness away. The
            inverse then gives spectra of that norm.

    Attributes:
        ratios: Variance over variance inside superpixels of each component, falling, shape (C,).

    Raises:
        ConfigurationError: A setting is outside what is allowed.
        SceneError: When fitting: the superpixels hold too few pixels for the bands.
    """

    name: ClassVar[str] = "relevant_components"
    _statistics: ClassVar[tuple[str, ...]] = (*LinearTransform._statistics, "ratios")

    ratios: NDArray[np.float64]

    def __init__(
        self,
        components: int | None = None,
        *,
        scale: Literal["unit", "within"] = "unit",
        superpixels: int = 150,
        normalise: bool = True,
    ) -> None:
        super().__init__(components)
        check_at_least(2, superpixels=superpixels)
        check_choice(("unit", "within"), scale=scale)
        self.scale: Literal["unit", "within"] = scale
        self.superpixels = superpixels
        self.normalise = normalise

    def _fit(self, cube: Array, mask: NDArray[np.bool_]) -> None:
        bands = cube.shape[2]
        number = self._number(bands)
        spectra = np.empty(cube.shape, dtype=np.float32)
        for rows in row_slices(cube):
            spectra[rows] = self._unit(np.where(mask[rows][..., None], cube[rows], 0.0))
        self.mean, covariance = mean_and_covariance(spectra, mask)
        number_of = min(self.superpixels, max(1, int(mask.sum()) // AREA))
        within = _within(spectra, superpixels(spectra, number_of, mask))
        within[np.diag_indices(bands)] += RIDGE * np.trace(within) / bands
        ratios, axes = eigh(covariance, within, subset_by_index=(bands - number, bands - 1))
        self.ratios = np.clip(ratios[::-1], 0.0, None)
        axes = same_signs(axes[:, ::-1])
        deviations = np.sqrt(self.ratios) if self.scale == "unit" else np.ones(number)
        self.projection = axes * inverse_or_zero(deviations)
        self.reconstruction = deviations[:, None] * (axes.T @ within)

    def _forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return super()._forward(self._unit(values))

    def _unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.normalise:
            return values
        return values * inverse_or_zero(np.linalg.norm(values, axis=-1, keepdims=True))


def superpixels(
    cube: Array, number: int, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Cut a scene into superpixels: SLIC in its first MNF components.

    Args:
        cube: Values, shape (H, W, bands), finite where the mask is true.
        number: How many, about.
        mask: Pixels that count, shape (H, W); None: all.

    Returns:
        The number of each pixel's superpixel, from 1; 0 outside the mask. Shape (H, W).
    """
    from skimage.segmentation import slic  # noqa: PLC0415  (half a second)

    if mask is None:  # slic starts from other centres without one
        mask = np.ones(cube.shape[:2], dtype=bool)
    components = MNF(min(SEEN, cube.shape[2])).fit(cube, mask).transform(cube)
    segments: NDArray[Any] = slic(
        components.astype(np.float64),
        n_segments=number,
        compactness=COMPACTNESS,
        channel_axis=2,
        mask=mask,
        start_label=1,
    )
    return segments.astype(np.int64)


def _within(cube: Array, segments: NDArray[np.int64]) -> NDArray[np.float64]:
    """Covariance (bands, bands) around the mean of each superpixel."""
    counts = np.bincount(segments[segments > 0])
    pixels, number = int(counts.sum()), int((counts > 0).sum())
    free = pixels - number
    if free <= cube.shape[2]:
        raise SceneError(
            f"the covariance of {cube.shape[2]} bands inside superpixels needs more pixels than "
            f"{pixels} in {number} superpixels; use fewer superpixels, or MNF"
        )

    def pieces() -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Spectra (n, bands), and the superpixel of each."""
        for rows in row_slices(cube):
            there = segments[rows] > 0
            yield cube[rows][there].astype(np.float64), segments[rows][there]

    means = np.zeros((len(counts), cube.shape[2]))
    for spectra, own in pieces():
        places = (np.ones(len(own)), (own, np.arange(len(own))))
        means += sparse.csr_array(places, shape=(len(counts), len(own))) @ spectra
    means /= np.maximum(counts, 1)[:, None]
    covariance = np.zeros((cube.shape[2], cube.shape[2]))
    for spectra, own in pieces():
        centred = spectra - means[own]
        covariance += centred.T @ centred
    return covariance / free
