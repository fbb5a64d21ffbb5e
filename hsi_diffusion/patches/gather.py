"""Patches out of a cube, gathered when they are asked for.

All patches of a scene take patch_size squared times the memory of the scene, so none is stored: a
patch is index arithmetic over the cube, and so is what a patch sees beyond the scene's border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.options import check_at_least, check_choice
from hsi_diffusion.tensors import as_tensor
from hsi_diffusion.types import PatchBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.types import Padding

PADDING_ITEM = -1
"""The item that only fills the last batch; see :class:`PatchDataset`."""


def gather_patches(
    cube: Tensor, index: Tensor, patch_size: int, padding: Padding = "reflect"
) -> Tensor:
    """Cut the patch around each of the pixels ``index`` out of a cube.

    No padded copy of the cube is made. An even patch has its centre at ``patch_size // 2``, so it
    reaches one pixel further up and left than down and right.

    Args:
        cube: Values, shape (H, W, C), on any device. A contiguous one is gathered fastest.
        index: Flat pixel numbers (row * W + column) of the centres, shape (N,), integers; moved to
            the cube's device.
        patch_size: Side P of a patch in pixels, at least 1.
        padding: What a patch sees outside the scene: ``"reflect"`` mirrors at the border pixel
            without repeating it, as often as it takes where the scene is smaller than the patch
            (``numpy.pad(mode="reflect")``); ``"zeros"`` holds zeros.

    Returns:
        Patches of the cube's dtype and device, shape (N, C, P, P), in PyTorch's channels-last
        memory format: the bands of a pixel stay together as they are in the cube, which is the
        fastest to gather and to convolve. Where ``.view()`` fails on it, ``.reshape()`` works.

    Raises:
        SceneError: ``cube`` does not have three dimensions.
        ConfigurationError: ``patch_size`` or ``padding`` is not allowed, or ``index`` names a pixel
            that the cube does not have.
    """
    check_patch_settings(patch_size, padding)
    if cube.ndim != 3:
        raise SceneError(f"cube must have shape (H, W, C), got {tuple(cube.shape)}")
    height, width, bands = cube.shape
    index = _check_index(index, height * width).to(cube.device)

    offsets = torch.arange(patch_size, device=cube.device) - patch_size // 2
    rows = index.div(width, rounding_mode="floor")[:, None] + offsets  # (N, P)
    columns = index.remainder(width)[:, None] + offsets
    near_rows, near_columns = _mirror(rows, height), _mirror(columns, width)
    if cube.is_contiguous():
        pixels = near_rows[:, :, None] * width + near_columns[:, None, :]  # (N, P, P)
        # one row copied per pixel: three times faster than cube[rows, columns]
        patches = cube.view(-1, bands).index_select(0, pixels.view(-1))
    else:
        patches = cube[near_rows[:, :, None], near_columns[:, None, :]].view(-1, bands)
    if padding == "zeros":
        inside_rows = (rows >= 0) & (rows < height)
        inside_columns = (columns >= 0) & (columns < width)
        outside = ~(inside_rows[:, :, None] & inside_columns[:, None, :])
        if cube.device.type == "cpu":
            # most pixels are inside, and masked_fill_ would walk over all of them
            patches.index_fill_(0, outside.view(-1).nonzero().squeeze(1), 0)
        else:  # to count those outside would wait for the card
            patches.masked_fill_(outside.view(-1, 1), 0)
    return patches.view(len(index), patch_size, patch_size, bands).permute(0, 3, 1, 2)


def check_patch_settings(patch_size: int, padding: Padding) -> None:
    """Raise a ConfigurationError unless patches of this size and padding exist."""
    check_at_least(1, patch_size=patch_size)
    check_choice(("reflect", "zeros"), padding=padding)


class PatchDataset(Dataset[PatchBatch]):
    """The patches around given pixels of one scene, as batches that are ready to use.

    A loader fetches a whole batch in one call when it is built so::

        dataset = PatchDataset(cube, split.train, scene.labels, patch_size=11)
        loader = DataLoader(dataset, batch_size=64, collate_fn=collate_batch)

    Item ``-1`` is not the last one but a filler, as
    :class:`~hsi_diffusion.patches.samplers.EvaluationSampler` hands it out: its image is zero, its
    label and index are -1, so that losses, metrics and maps pass over it.

    Args:
        cube: Values, shape (H, W, C); already transformed, usually float32. Batches lie on its
            device.
        index: Flat pixel numbers (row * W + column) of the centres, shape (N,), integers.
        labels: The scene's label map, shape (H, W), 0 = unlabelled and classes from 1; None gives
            batches without labels.
        patch_size: Side P of a patch in pixels.
        padding: What a patch sees outside the scene, see :func:`gather_patches`.

    Raises:
        SceneError: The cube or the label map has an impossible shape.
        ConfigurationError: A setting is not allowed, or ``index`` leaves the cube.
    """

    def __init__(
        self,
        cube: Tensor | NDArray[Any],
        index: Tensor | NDArray[Any],
        labels: Tensor | NDArray[Any] | None,
        patch_size: int,
        padding: Padding = "reflect",
    ) -> None:
        check_patch_settings(patch_size, padding)
        cube = as_tensor(cube)
        if cube.ndim != 3:
            raise SceneError(f"cube must have shape (H, W, C), got {tuple(cube.shape)}")
        self.cube = cube.contiguous()
        pixels = cube.shape[0] * cube.shape[1]
        self.index = _check_index(as_tensor(index).cpu(), pixels)  # no card has to be asked
        self.labels: Tensor | None = None
        if labels is not None:
            labels = as_tensor(labels)
            if labels.shape != cube.shape[:2]:
                raise SceneError(
                    f"labels must be the scene's label map of shape {tuple(cube.shape[:2])}, "
                    f"got {tuple(labels.shape)}"
                )
            self.labels = labels.to("cpu", torch.int64).contiguous()
        self.patch_size = patch_size
        self.padding: Padding = padding

    def __len__(self) -> int:
        """Number of patches, fillers not counted."""
        return len(self.index)

    def __getitem__(self, item: int) -> PatchBatch:
        """One patch: image (C, P, P), index () and, where there are labels, label ()."""
        batch = self.__getitems__([item])
        single = PatchBatch(image=batch["image"][0], index=batch["index"][0])
        if "label" in batch:
            single["label"] = batch["label"][0]
        return single

    def __getitems__(self, items: Sequence[int]) -> PatchBatch:
        """The patches of ``items`` as one batch, gathered in one step.

        Args:
            items: Numbers from 0 to ``len(self) - 1``, or -1 for a filler.

        Returns:
            image (B, C, P, P), index (B,), and with labels label (B,) from 0 to K - 1 with -1 for
            unlabelled pixels.

        Raises:
            IndexError: An item is neither -1 nor one of the dataset.
        """
        wanted = torch.as_tensor(items, dtype=torch.int64)
        wrong = (wanted < PADDING_ITEM) | (wanted >= len(self))
        if wrong.any():
            raise IndexError(
                f"item {wanted[wrong][0].item()} is outside this dataset; allowed are 0 to "
                f"{len(self) - 1}, and -1 for a filler"
            )
        filler = wanted == PADDING_ITEM
        index = self.index[wanted.clamp(min=0)]
        image = gather_patches(self.cube, index, self.patch_size, self.padding)
        label = None if self.labels is None else self.labels.view(-1)[index] - 1
        if filler.any():
            image[filler.to(image.device)] = 0
            index = index.masked_fill(filler, -1)
            label = None if label is None else label.masked_fill(filler, -1)
        batch = PatchBatch(image=image, index=index.to(image.device))
        if label is not None:
            batch["label"] = label.to(image.device)
        return batch


def collate_batch(batch: PatchBatch | Sequence[PatchBatch]) -> PatchBatch:
    """Hand on what :meth:`PatchDataset.__getitems__` already made a batch of; stack single items.

    Args:
        batch: One batch, or a sequence of single items as ``dataset[i]`` gives them.

    Returns:
        The batch.
    """
    if isinstance(batch, dict):
        return batch
    stacked: PatchBatch = default_collate(list(batch))
    return stacked


def _mirror(position: Tensor, size: int) -> Tensor:
    """Positions reflected into 0 .. size - 1; the mirror image repeats every 2 (size - 1)."""
    if size == 1:
        return torch.zeros_like(position)
    period = 2 * (size - 1)
    position = position.remainder(period)
    return torch.minimum(position, period - position)


def _check_index(index: Tensor, pixels: int) -> Tensor:
    """The flat pixel numbers as int64, if all of them are pixels of the scene."""
    if index.ndim != 1 or index.is_floating_point() or index.dtype == torch.bool:
        raise ConfigurationError(
            "index must hold flat pixel numbers (row * width + column): integers of shape (N,), "
            f"got {index.dtype} of shape {tuple(index.shape)}; use mask.flatten().nonzero() for a "
            "mask"
        )
    index = index.to(torch.int64)
    if len(index) and (int(index.min()) < 0 or int(index.max()) >= pixels):
        # a number outside would be mirrored to some other pixel without a word
        raise ConfigurationError(
            f"index must lie between 0 and {pixels - 1} (the cube has {pixels} pixels), got "
            f"{int(index.min())} to {int(index.max())}"
        )
    return index
