"""Draws of validation: a function of the pixel."""

from __future__ import annotations

import torch

from hsi_diffusion.modules.draws import fixed_draws
from hsi_diffusion.seeding import generator
from tests.usual import usual_dtype


def test_a_draw_is_that_of_its_pixel() -> None:
    index = torch.tensor([7, 400, 12])
    images = torch.zeros(3, 2, 5, 5)
    t, noise = fixed_draws(3, 50, index, images)
    assert (t.dtype, noise.dtype) == (torch.int64, torch.float32)
    for pixel, step, field in zip(index.tolist(), t, noise, strict=True):
        random = generator("pretrain-validation", 3, pixel)
        assert int(step) == int(torch.randint(50, (), generator=random))
        assert torch.equal(field, torch.randn(2, 5, 5, generator=random))
    # other batches, as other processes have them
    alone = fixed_draws(3, 50, index[1:2], images[1:2])
    assert torch.equal(alone[0], t[1:2])
    assert torch.equal(alone[1], noise[1:2])
    other = fixed_draws(4, 50, index, images)
    assert not torch.equal(other[1], noise)


def test_noise_is_like_the_images() -> None:
    index, images = torch.tensor([1, 2]), torch.zeros(2, 3, 4, 4)
    _, noise = fixed_draws(0, 50, index, images)
    _, wide = fixed_draws(0, 50, index, images.double())
    assert torch.equal(wide, noise.double())


def test_draws_do_not_follow_the_usual_dtype() -> None:
    index, images = torch.tensor([1, 2]), torch.zeros(2, 3, 4, 4)
    _, expected = fixed_draws(0, 50, index, images)
    with usual_dtype(torch.bfloat16):
        assert torch.equal(fixed_draws(0, 50, index, images)[1], expected)
