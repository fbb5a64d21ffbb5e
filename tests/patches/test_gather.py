"""Patches against numpy.pad and slicing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from hsi_diffusion.errors import ConfigurationError, SceneError
from hsi_diffusion.patches.gather import PatchDataset, collate_batch, gather_patches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hsi_diffusion.types import Padding


def padded_and_sliced(
    cube: NDArray[Any], index: NDArray[np.int64], size: int, padding: Padding
) -> NDArray[Any]:
    """The patches (N, C, P, P), each cut out of a padded copy."""
    before, after = size // 2, size - 1 - size // 2
    pad = ((before, after), (before, after), (0, 0))
    padded = np.pad(cube, pad, "reflect") if padding == "reflect" else np.pad(cube, pad)
    width = cube.shape[1]
    return np.stack(
        [
            padded[i // width : i // width + size, i % width : i % width + size].transpose(2, 0, 1)
            for i in index.tolist()
        ]
    )


def make_cube(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 13])
@pytest.mark.parametrize("shape", [(9, 7), (2, 3), (1, 4), (3, 1), (1, 1)])
def test_every_pixel_equals_a_padded_copy(
    shape: tuple[int, int], size: int, padding: Padding
) -> None:
    cube = make_cube(*shape, 3)
    index = np.arange(shape[0] * shape[1])
    patches = gather_patches(torch.from_numpy(cube), torch.from_numpy(index), size, padding)
    expected = padded_and_sliced(cube, index, size, padding)
    assert patches.shape == (len(index), 3, size, size)
    np.testing.assert_array_equal(patches.numpy(), expected)


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_a_view_of_a_cube_gives_the_same_patches(padding: Padding) -> None:
    bands_first = torch.from_numpy(make_cube(3, 6, 5))
    view = bands_first.permute(1, 2, 0)
    index = torch.tensor([0, 29, 13, 13])
    expected = gather_patches(view.contiguous(), index, 5, padding)
    assert torch.equal(gather_patches(view, index, 5, padding), expected)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.bool, torch.bfloat16, torch.float64, torch.int16]
)
def test_dtype_of_the_cube_is_kept(dtype: torch.dtype) -> None:
    cube = torch.arange(24).reshape(4, 3, 2).to(dtype)
    patches = gather_patches(cube, torch.tensor([5], dtype=torch.int32), 3)
    assert patches.dtype == dtype
    assert torch.equal(patches[0, :, 1, 1], cube[1, 2])


def test_cube_stays_as_it_is_and_patches_are_channels_last() -> None:
    cube = torch.from_numpy(make_cube(6, 6, 4))
    before = cube.clone()
    patches = gather_patches(cube, torch.arange(36), 5, "zeros")
    assert patches.is_contiguous(memory_format=torch.channels_last)
    patches.zero_()
    assert torch.equal(cube, before)


def test_no_centres_give_no_patches() -> None:
    empty = torch.empty(0, dtype=torch.int64)
    assert gather_patches(torch.zeros(4, 4, 3), empty, 5).shape == (0, 3, 5, 5)


def test_wrong_arguments_are_named() -> None:
    cube, index = torch.zeros(4, 5, 3), torch.tensor([0])
    with pytest.raises(ConfigurationError, match="patch_size must be at least 1, got 0"):
        gather_patches(cube, index, 0)
    with pytest.raises(ConfigurationError, match="padding must be one of reflect, zeros"):
        gather_patches(cube, index, 3, "edge")  # type: ignore[arg-type]
    with pytest.raises(SceneError, match=r"shape \(H, W, C\), got \(4, 5\)"):
        gather_patches(cube[..., 0], index, 3)
    for wrong in (torch.tensor([-1]), torch.tensor([20])):
        with pytest.raises(ConfigurationError, match="between 0 and 19"):
            gather_patches(cube, wrong, 3)
    for wrong in (torch.tensor([1.0]), torch.ones(20, dtype=torch.bool), torch.tensor(3)):
        with pytest.raises(ConfigurationError, match="flat pixel numbers"):
            gather_patches(cube, wrong, 3)


@pytest.fixture
def dataset() -> PatchDataset:
    labels = np.arange(30, dtype=np.uint8).reshape(6, 5) % 4
    return PatchDataset(make_cube(6, 5, 3), np.array([0, 7, 29, 14]), labels, patch_size=3)


def test_batches_hold_zero_based_labels_and_pixel_numbers(dataset: PatchDataset) -> None:
    loader = DataLoader(dataset, batch_size=3, collate_fn=collate_batch)
    first, last = list(loader)
    assert first["index"].tolist() == [0, 7, 29]
    assert first["label"].tolist() == [-1, 2, 0]
    assert last["label"].tolist() == [1]
    assert first["image"].dtype == torch.float32
    index = dataset.index.numpy()
    expected = padded_and_sliced(dataset.cube.numpy(), index, 3, "reflect")
    np.testing.assert_array_equal(torch.cat([first["image"], last["image"]]).numpy(), expected)


def test_single_items_agree_with_batches(dataset: PatchDataset) -> None:
    items = [3, 0, -1, 2]
    batch = dataset.__getitems__(items)
    stacked = collate_batch([dataset[i] for i in items])
    assert dataset[3]["image"].shape == (3, 3, 3)
    assert batch.keys() == stacked.keys() == {"image", "index", "label"}
    assert torch.equal(batch["image"], stacked["image"])
    assert torch.equal(batch["index"], stacked["index"])
    assert torch.equal(batch["label"], stacked["label"])


def test_filler_is_ignored_by_labels_and_maps(dataset: PatchDataset) -> None:
    batch = dataset.__getitems__([1, -1])
    assert batch["index"].tolist() == [7, -1]
    assert batch["label"].tolist() == [2, -1]
    assert batch["image"][0].abs().sum() > 0
    assert batch["image"][1].abs().sum() == 0


def test_without_labels_batches_have_none() -> None:
    dataset = PatchDataset(torch.zeros(4, 4, 2), torch.arange(16), None, patch_size=2)
    assert len(dataset) == 16
    assert dataset.__getitems__([0, 1]).keys() == {"image", "index"}
    assert collate_batch([dataset[0], dataset[5]])["index"].tolist() == [0, 5]


def test_wrapped_datasets_and_worker_processes_agree(dataset: PatchDataset) -> None:
    subset = Subset(dataset, [2, 0])
    plain = next(iter(DataLoader(subset, batch_size=2, collate_fn=collate_batch)))
    workers = next(iter(DataLoader(subset, batch_size=2, collate_fn=collate_batch, num_workers=1)))
    assert plain["index"].tolist() == [29, 0]
    assert torch.equal(plain["image"], workers["image"])


def test_dataset_names_wrong_arguments(dataset: PatchDataset) -> None:
    with pytest.raises(IndexError, match="item 4 is outside this dataset; allowed are 0 to 3"):
        dataset[4]
    with pytest.raises(IndexError, match="item -2"):
        dataset.__getitems__([0, -2])
    cube, index = make_cube(6, 5, 3), np.array([0])
    with pytest.raises(SceneError, match=r"label map of shape \(6, 5\), got \(5, 6\)"):
        PatchDataset(cube, index, np.zeros((5, 6), np.int64), 3)
    with pytest.raises(ConfigurationError, match="between 0 and 29"):
        PatchDataset(cube, np.array([30]), None, 3)
    with pytest.raises(ConfigurationError, match="patch_size"):
        PatchDataset(cube, index, None, -3)
    with pytest.raises(ConfigurationError, match=r"a whole number and at least 1, got 3\.5"):
        PatchDataset(cube, index, None, 3.5)  # type: ignore[arg-type]
    with pytest.raises(SceneError, match="cube"):
        PatchDataset(cube[0], index, None, 3)
