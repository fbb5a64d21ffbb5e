"""Draws of validation: a function of the pixel, kept as long as there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hsi_diffusion.modules.draws import FixedDraws
from hsi_diffusion.seeding import generator

if TYPE_CHECKING:
    import pytest


def test_a_draw_is_that_of_its_pixel() -> None:
    draws = FixedDraws(3, 50)
    index = torch.tensor([7, 400, 12])
    images = torch.zeros(3, 2, 5, 5)
    t, noise = draws(index, images)
    assert (t.dtype, noise.dtype) == (torch.int64, torch.float32)
    for pixel, step, field in zip(index.tolist(), t, noise, strict=True):
        random = generator("pretrain-validation", 3, pixel)
        assert int(step) == int(torch.randint(50, (), generator=random))
        assert torch.equal(field, torch.randn(2, 5, 5, generator=random))
    # other batches, as other processes have them
    alone = draws(index[1:2], images[1:2])
    assert torch.equal(alone[0], t[1:2])
    assert torch.equal(alone[1], noise[1:2])
    other = FixedDraws(4, 50)(index, images)
    assert not torch.equal(other[1], noise)


def test_what_comes_again_is_kept() -> None:
    draws = FixedDraws(0, 50)
    index, images = torch.tensor([1, 2]), torch.zeros(2, 3, 4, 4)
    t, noise = draws(index, images)
    again = draws(index.clone(), images + 1)
    assert again[0] is t
    assert again[1] is noise
    # the same pixels, but other patches
    assert draws(index, images[:, :, :3, :3])[1].shape == (2, 3, 3, 3)
    assert draws(index, images.double())[1].dtype == torch.float64


def test_no_more_is_kept_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(2, 3, 4, 4)
    monkeypatch.setattr("hsi_diffusion.modules.draws.MAX_BYTES", images.nbytes + 10)
    draws = FixedDraws(0, 50)
    first = [draws(torch.tensor([n, n + 1]), images) for n in range(3)]
    second = [draws(torch.tensor([n, n + 1]), images) for n in range(3)]
    assert [a[1] is b[1] for a, b in zip(first, second, strict=True)] == [True, False, False]
    assert all(torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))
