"""Principal components of the bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hsi_diffusion.errors import SceneError
from hsi_diffusion.patches.transforms.base import Array, LinearTransform, pixel_blocks
from hsi_diffusion.patches.transforms.streaming_pca import StreamingPCA

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PCA(LinearTransform):
    """Principal component analysis: uncorrelated components, the largest variance first.

    The covariance is exact and accumulated over blocks. Signs are fixed: the largest weight of each
    component by magnitude is positive.

    Args:
        components: Number of components, at most; fewer bands give as many as there are bands, and
            so does None.
        whiten: Give each component unit variance over the fitted pixels; components that hold no
            variance become 0.

    Attributes:
        variances: Variance of each component before whitening (division by the number of pixels
            minus 1), shape (C,).
        total_variance: Sum of the variances of the bands, shape ().

    Raises:
        ConfigurationError: ``components`` is below 1.
        SceneError: When fitting: there are fewer than two pixels.
    """

    name: ClassVar[str] = "pca"
    _statistics: ClassVar[tuple[str, ...]] = (
        *LinearTransform._statistics,
        "variances",
        "total_variance",
    )

    variances: NDArray[np.float64]
    total_variance: NDArray[np.float64]

    def __init__(self, components: int | None = None, *, whiten: bool = False) -> None:
        super().__init__(components)
        self.whiten = whiten

    def _fit(self, cube: Array, mask: NDArray[np.bool_]) -> None:
        if (pixels := int(mask.sum())) < 2:
            raise SceneError(f"principal components need at least 2 pixels, got {pixels}")
        pca = StreamingPCA(self._number(cube.shape[2]), "none", self.whiten)
        for block in pixel_blocks(cube, mask):
            pca.partial_fit(block)
        pca.finish()
        self.mean, self.projection = pca.mean, pca.directions
        self.variances, self.total_variance = pca.explained_variance, pca.total_variance
        # whitened directions are divided by the standard deviation
        self.reconstruction = self.projection.T * (self.variances[:, None] if self.whiten else 1)
