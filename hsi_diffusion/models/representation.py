"""What a classifier sees of an image: its bands in some space, or diffusion features.

Both are fitted once, on the image that a model learns, without labels, and then compute the same
for any image of the same sensor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch

from hsi_diffusion.classifiers import Layout
from hsi_diffusion.errors import CheckpointError, NotFittedError
from hsi_diffusion.features import (
    FeatureCube,
    FeatureSettings,
    FittedReduction,
    Reduction,
    compute_together,
    feature_key,
    feature_layout,
)
from hsi_diffusion.features.tiles import reach_of
from hsi_diffusion.graphs import neighbour_mean
from hsi_diffusion.patches import TRANSFORMS, blur_radius, gaussian_blur, transform_from_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.classifiers import Cube
    from hsi_diffusion.features import FeatureStore
    from hsi_diffusion.features.tiles import Reach
    from hsi_diffusion.modules import DiffusionPretrainModule
    from hsi_diffusion.patches import BandTransform
    from hsi_diffusion.recipes import BandSpace

    Saved = tuple[dict[str, Any], dict[str, Tensor]]


@dataclass(frozen=True)
class BandRepresentation:
    """The bands of an image in a space.

    Attributes:
        transform: The fitted band transform.
        blur: Standard deviation in pixels of the Gaussian blur after it.
        neighbours: Nearest neighbours over which every pixel is averaged after that.
        device: Where the nearest neighbours are looked for.
    """

    kind: ClassVar[str] = "bands"

    transform: BandTransform
    blur: float = 0.0
    neighbours: int = 0
    device: torch.device | str = "cpu"

    @property
    def reach(self) -> int:
        """Pixels to each side that decide one."""
        return blur_radius(self.blur) if self.blur else 0

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that it takes of an image, about."""
        return 4 * self.transform.num_components * (3 if self.blur or self.neighbours else 1)

    @classmethod
    def fit(
        cls,
        space: BandSpace,
        cube: NDArray[Any],
        source: str,
        device: torch.device | str,
        valid: NDArray[np.bool_] | None = None,
    ) -> BandRepresentation:
        """Fit the transform of a space on the pixels of an image, (H, W, bands), that hold data."""
        transform = space.transform().fit(cube, valid, source)
        return cls(transform, space.blur, space.neighbours, device)

    def __call__(
        self, cube: NDArray[Any], valid: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Compute it for an image, (H, W, bands) to (H, W, C)."""
        found = self.transform.transform(cube)
        if self.blur:
            found = gaussian_blur(found, self.blur)
        if self.neighbours:
            found = neighbour_mean(found, self.neighbours, valid=valid, device=self.device)
        return found

    def fitted(self, cube: Cube) -> BandRepresentation:
        """Itself: nothing is fitted to what it computed."""
        del cube
        return self

    def save(self) -> Saved:
        """Plain data and tensors, for :meth:`load`."""
        state = self.transform.state_dict()
        plain = {key: value for key, value in state.items() if not isinstance(value, torch.Tensor)}
        tensors = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
        return {"transform": plain, "blur": self.blur, "neighbours": self.neighbours}, tensors

    @classmethod
    def load(
        cls,
        plain: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        device: torch.device | str,
        own: type[BandTransform] | None = None,
    ) -> BandRepresentation:
        """What :meth:`save` gave, again.

        ``own`` is the class of the transform if that is not the library's.

        Raises:
            CheckpointError: The transform can't be made again.
        """
        state = {**plain["transform"], **tensors}
        try:
            if own is not None and own.name == state.get("name"):
                transform = own.from_state(state)
            else:
                transform = transform_from_state(state)
        except CheckpointError as error:
            if state.get("name") in {one.name for one in TRANSFORMS.values()}:
                raise
            raise CheckpointError(f"{error}: give transform=... (--transform of map)") from error
        return cls(transform, float(plain["blur"]), int(plain["neighbours"]), device)


@dataclass(frozen=True)
class DiffusionRepresentation:
    """Features of an image by a denoiser.

    Attributes:
        module: The trained denoiser with its schedule and its fitted band transform.
        request: Timesteps, levels and noise.
        reduction: How the channels are reduced; fitted, or to be fitted on the first image.
        angles: Add a spectral angle per timestep.
        store: Keeps features in files, and finds them there the next time; None: no files.
        device: Where to compute.
    """

    kind: ClassVar[str] = "features"

    module: DiffusionPretrainModule
    request: FeatureSettings
    reduction: Reduction | FittedReduction | None = None
    angles: bool = False
    store: FeatureStore | None = None
    device: torch.device | str = "cpu"

    @property
    def reach(self) -> int:
        """Pixels to each side that decide one."""
        halo, step = self._reach
        return halo + step - 1

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that it takes of an image, about, without the denoiser's tiles."""
        angles = len(self.request.timesteps) if self.angles else 0
        widths = feature_layout(
            self.module.trained_denoiser, self.request, self.reduction, pixels=1
        ).channels
        return 4 * (self.transform.num_components + 2 * (sum(widths) + angles))

    def tile_for(self, room: float) -> int:
        """Side of tiles whose activations take so many bytes, about, at most the asked one."""
        denoiser, halo = self.module.trained_denoiser, self._reach.halo
        levels = [denoiser.feature_info[level] for level in self.request.levels]
        inside = sum(level.channels for level in denoiser.feature_info)
        kept = sum(level.channels for level in levels) * len(self.request.timesteps)
        tile = self.request.tile
        while tile > 16 and 16 * inside * (tile + 2 * halo) ** 2 + 12 * kept * tile**2 > room:
            tile //= 2
        return tile

    def inside(self, place: tuple[int, int, int], tile: int | None) -> Self:
        """The same for a window of an image, see :class:`~hsi_diffusion.features.FeatureSettings`.

        Args:
            place: Row and column where the window starts, and width of the image.
            tile: Side of the denoiser's tiles; None: as it was.
        """
        changed = replace(self.request, place=place, tile=tile or self.request.tile)
        return replace(self, request=changed)

    @property
    def step(self) -> int:
        """Windows start at multiples of it."""
        return self._reach.step

    @property
    def _reach(self) -> Reach:
        denoiser = self.module.trained_denoiser
        return reach_of(denoiser, self.request.levels, output=self.angles)

    def layout(self, pixels: int) -> Layout:
        """How the channels will lie for an image of so many pixels.

        Raises:
            ConfigurationError: A timestep, a level or the number of components doesn't fit.
        """
        denoiser = self.module.trained_denoiser
        for timestep in self.request.timesteps:
            self.module.schedule.check_step(timestep)
        denoiser.check_indices(self.request.levels)
        parts = feature_layout(denoiser, self.request, self.reduction, pixels=pixels).channels
        steps = len(self.request.timesteps)
        groups = 1 if len(parts) % steps else steps
        return Layout(sum(parts) + steps * self.angles, groups, self.angles)

    def __call__(self, cube: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> FeatureCube:
        """Compute it for an image, (H, W, bands) to (H, W, D)."""
        return self.module.extract_features(
            self._input(cube),
            self.request,
            reduction=self.reduction,
            angles=self.angles,
            valid=valid,
            store=self.store,
            device=self.device,
        )

    def path(self, cube: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> Path | None:
        """The file that its features of an image are kept in; None without files."""
        if self.store is None:
            return None
        angles = self.module.prediction if self.angles else None
        key = feature_key(
            self.module.trained_denoiser,
            self.module.schedule,
            self._input(cube),
            self.request,
            self.reduction,
            angles=angles,
            valid=valid,
        )
        return self.store.path(key)

    def fitted(self, cube: Cube) -> DiffusionRepresentation:
        """The same with the reduction that made the features ``cube``, and without files."""
        reduction = cube.reduction if isinstance(cube, FeatureCube) else None
        return replace(self, reduction=reduction, store=None)

    def restored(
        self, cube: NDArray[Any], timesteps: tuple[int, ...]
    ) -> Iterator[NDArray[np.float32]]:
        """The image as the denoiser restores it from each timestep, one by one, (H, W, C)."""
        values = self._input(cube)
        for timestep in timesteps:
            wanted = replace(self.request, timesteps=(timestep,), levels=(0,))
            yield self.module.restore(values, wanted, device=self.device)[0].numpy()

    def save(self) -> Saved:
        """Plain data and tensors of what was fitted, for :meth:`load`."""
        plain: dict[str, Any] = {"request": asdict(self.request), "angles": self.angles}
        if not isinstance(self.reduction, FittedReduction):
            return {**plain, "reduction": None}, {}
        return {**plain, "reduction": asdict(self.reduction.settings)}, self.reduction.tensors()

    @staticmethod
    def keep_together(
        those: Sequence[DiffusionRepresentation],
        cube: NDArray[Any],
        valid: NDArray[np.bool_] | None,
    ) -> None:
        """Compute representations that differ in their levels only at once, into their files."""
        one = those[0]
        compute_together(
            one.module.trained_denoiser,
            one.module.schedule,
            one._input(cube),
            [(representation.request, representation.reduction) for representation in those],
            angles=one.module.prediction if one.angles else None,
            valid=valid,
            store=one.store,
            device=one.device,
        )

    @classmethod
    def load(
        cls,
        plain: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        module: DiffusionPretrainModule,
        device: torch.device | str,
    ) -> DiffusionRepresentation:
        """What :meth:`save` gave, again, with the denoiser that goes with it."""
        reduction = None
        if plain["reduction"] is not None:
            reduction = FittedReduction.from_tensors(Reduction(**plain["reduction"]), tensors)
        request = FeatureSettings(**plain["request"])
        return cls(module, request, reduction, bool(plain["angles"]), device=device)

    @property
    def transform(self) -> BandTransform:
        """The fitted band transform of the denoiser's input.

        Raises:
            NotFittedError: There is none.
        """
        if self.module.transform is None:
            raise NotFittedError("this denoiser has no fitted band transform: pretrain it first")
        return self.module.transform

    def _input(self, cube: NDArray[Any]) -> Tensor:
        return torch.from_numpy(self.transform.transform(cube))
