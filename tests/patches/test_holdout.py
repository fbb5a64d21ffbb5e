"""Pretraining patches and held-out patches share no pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.modules import CustomSceneDataModule
from hsi_diffusion.patches.gather import gather_patches
from hsi_diffusion.patches.holdout import pretraining_pixels

if TYPE_CHECKING:
    from pathlib import Path

MOST = "hsi_diffusion.patches.holdout.MAX_HELD_OUT"


def seen(
    pixels: np.ndarray[tuple[int], np.dtype[np.int64]], shape: tuple[int, int], size: int
) -> set[int]:
    """Numbers of all pixels in the patches around ``pixels``."""
    numbers = torch.arange(shape[0] * shape[1]).reshape(*shape, 1)
    return set(gather_patches(numbers, torch.from_numpy(pixels), size).flatten().tolist())


@pytest.mark.parametrize("size", [1, 4, 5, 8, 11])
@pytest.mark.parametrize("shape", [(40, 36), (25, 70)])
@pytest.mark.parametrize("holdout", [0.03, 0.1, 0.3])
def test_held_out_patches_share_no_pixel(
    shape: tuple[int, int], size: int, holdout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MOST, 10**6)
    for seed in range(3):
        learned, measured = pretraining_pixels(shape, size, holdout=holdout, seed=seed)
        held = seen(measured, shape, size)
        assert not held & seen(learned, shape, size)
        others = np.setdiff1d(np.arange(shape[0] * shape[1]), learned)
        assert all(seen(other, shape, size) & held for other in others[:, None])
        # one square at least; else the share, but for what is left over of whole squares
        expected = max(holdout * shape[0] * shape[1], size**2)
        assert len(held) == pytest.approx(expected, rel=0.5)


def test_squares_are_two_patches_wide_and_lie_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MOST, 10**6)
    ever = np.zeros((6, 8), dtype=bool)
    for seed in range(20):
        _, measured = pretraining_pixels((48, 64), 4, holdout=0.3, seed=seed)
        held = np.zeros(48 * 64, dtype=bool)
        held[list(seen(measured, (48, 64), 4))] = True
        squares = held.reshape(6, 8, 8, 8).sum(axis=(1, 3))
        assert set(squares.flat) == {0, 64}
        ever |= squares > 0
    assert ever.all()


def test_draw_is_seeded() -> None:
    first, again, other = (pretraining_pixels((60, 60), 6, seed=seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_large_scene_is_measured_by_a_part_of_its_held_out_patches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MOST, 10**6)
        learned, everything = pretraining_pixels((90, 80), 3, holdout=0.3, seed=0)
        few = pretraining_pixels((40, 36), 8, holdout=0.1, seed=0)[1]
    assert len(everything) > 1000
    for most in (1, 100, 512):
        monkeypatch.setattr(MOST, most)
        again, some = pretraining_pixels((90, 80), 3, holdout=0.3, seed=0)
        np.testing.assert_array_equal(again, learned)
        assert len(some) == most
        assert np.isin(some, everything).all()
        assert (np.diff(some) > 0).all()
    # from all over the squares: the middle of the drawn pixels is the middle of all
    rows, all_rows = some // 80, everything // 80
    assert abs(rows.mean() - all_rows.mean()) < 5
    other = pretraining_pixels((90, 80), 3, holdout=0.3, seed=1)[1]
    assert not np.array_equal(some, other)
    np.testing.assert_array_equal(few, pretraining_pixels((40, 36), 8, holdout=0.1, seed=0)[1])


def test_without_holdout_everything_is_learned_from() -> None:
    learned, measured = pretraining_pixels((7, 9), 20, holdout=0, seed=0)
    assert learned.tolist() == list(range(63))
    assert len(measured) == 0


@pytest.mark.parametrize(
    ("holdout", "size", "message"),
    [
        (-0.1, 3, "holdout must lie between 0 and 0.5"),
        (0.6, 3, "holdout must lie between 0 and 0.5"),
        (0.1, 30, "leaves no patch of 30 x 30 pixels to learn from"),
        (0.1, 50, "use holdout=0 or a smaller patch_size"),
        (0.1, 0, "patch_size must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(holdout: float, size: int, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        pretraining_pixels((40, 36), size, holdout=holdout, seed=0)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_squares_without_a_patch_of_data_are_not_drawn(size: int) -> None:
    shape = 60, 80
    valid = np.zeros(shape, dtype=bool)
    valid[20:45, 5:38] = True  # a sixth of the scene
    valid[::9, ::9] = True  # and single pixels, which hold no patch
    valid[30, ::3] = False
    for seed in range(20):
        learned, measured = pretraining_pixels(shape, size, seed=seed, valid=valid)
        assert len(measured)
        assert valid.ravel()[learned].all()
        assert valid.ravel()[measured].all()
        held = seen(measured, shape, size)
        assert not held & seen(learned, shape, size)
        # as large a share of what holds data, but for what is left over of whole squares
        assert len(held) == pytest.approx(max(0.05 * valid.sum(), size**2), rel=0.5)
        patches = [seen(one, shape, size) for one in measured[:, None]]
        assert any(valid.ravel()[list(patch)].all() for patch in patches)


def test_a_pretraining_on_a_part_of_its_scene_has_a_validation(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).normal(size=(40, 60, 3))
    cube[:, 15:] = np.nan
    np.save(tmp_path / "a.npy", cube)
    for seed in range(5):
        data = CustomSceneDataModule(tmp_path / "a.npy", task="pretrain", patch_size=5, seed=seed)
        data.setup()
        _, expected = pretraining_pixels((40, 60), 5, seed=seed, valid=data.valid)
        loader = data.val_dataloader()
        assert [int(one) for batch in loader for one in batch["index"]] == expected.tolist()


def test_a_scene_without_holes_is_drawn_as_ever() -> None:
    whole = np.ones((60, 80), dtype=bool)
    for size in (1, 4, 7):
        found = pretraining_pixels(whole.shape, size, seed=3, valid=whole)
        for part, expected in zip(found, pretraining_pixels((60, 80), size, seed=3), strict=True):
            np.testing.assert_array_equal(part, expected)
    learned, measured = pretraining_pixels((60, 80), 4, seed=3)
    assert (len(learned), len(measured), int(measured[0]), int(learned.sum())) == (
        4399,
        146,
        18,
        11_040_387,
    )
    few = np.arange(4800).reshape(60, 80) < 9
    assert pretraining_pixels(few.shape, 4, holdout=0, seed=0, valid=few)[0].tolist() == [*range(9)]
    with pytest.raises(ConfigurationError, match="60 x 80, 9 of them with data; use holdout=0"):
        pretraining_pixels(few.shape, 4, seed=0, valid=few)
