"""Two views: where their pixels come from, and what both share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches import TwoViews, build_two_views
from hsi_diffusion.patches.augment import BandNoise, Compose, Dihedral, Gain
from hsi_diffusion.seeding import generator


def numbered(number: int, side: int) -> Tensor:
    """Patches whose values say where they stand: 100 * row + column, and the patch's number."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    place = (100 * rows + columns).expand(number, side, side)
    which = torch.arange(number)[:, None, None].expand(number, side, side)
    return torch.stack((place, which), dim=1).float()


@pytest.mark.parametrize("shift", [1, 3, 6])
def test_crops_are_squares_at_offsets_of_their_own(shift: int) -> None:
    number, side = 400, 7
    images = numbered(number, side)
    before = images.clone()
    corners = []
    for view in TwoViews(shift)(images, generator(0)):
        assert view.shape == (number, 2, side - shift, side - shift)
        corner = view[:, 0, 0, 0].long()
        rows, columns = corner // 100, corner % 100
        for n in range(0, number, 7):
            y, x, size = int(rows[n]), int(columns[n]), side - shift
            assert torch.equal(view[n], images[n, :, y : y + size, x : x + size])
        corners += [rows, columns]
    assert torch.equal(images, before)
    for offsets in corners:  # each from 0 to shift, equally often
        counts = torch.bincount(offsets, minlength=shift + 1) / number
        assert len(counts) == shift + 1
        assert ((counts - 1 / (shift + 1)).abs() < 0.09).all()
    correlation = torch.corrcoef(torch.stack(corners).double()) - torch.eye(4)
    assert correlation.abs().max() < 0.2


def test_both_are_turned_alike_and_changed_apart() -> None:
    images = torch.randn(50, 3, 6, 6, generator=generator(1))
    turn = build_two_views({"dihedral": 1.0})
    first, second = turn(images, generator(0))
    assert torch.equal(first, second)
    assert not torch.equal(first, images)
    assert torch.equal(first, Dihedral()(images, generator(0)))

    first, second = build_two_views({"gain": 0.2})(images, generator(0))
    factors = (first / images)[:, 0, 0, 0], (second / images)[:, 0, 0, 0]
    assert abs(torch.corrcoef(torch.stack(factors))[0, 1]) < 0.4
    random = generator(0)
    assert torch.equal(first, Gain(0.2)(images, random))
    assert torch.equal(second, Gain(0.2)(images, random))


def test_generator_alone_decides() -> None:
    images = torch.randn(8, 3, 6, 6, generator=generator(1))
    make = build_two_views({"dihedral": 1.0, "band_noise": 0.1}, shift=2)
    state = torch.get_rng_state()
    random = generator(3)
    first, again, other = make(images, generator(3)), make(images, random), make(images, random)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_names_say_what_is_shared() -> None:
    strengths = {"gain": 0.1, "band_noise": 0.2, "dihedral": 0.5}
    views = build_two_views(strengths, shift=1)
    assert views == TwoViews(1, Compose((Dihedral(0.5),)), Compose((Gain(0.1), BandNoise(0.2))))
    assert build_two_views({}) == TwoViews()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match="shift must be at least 0, got -1"):
        TwoViews(-1)
    with pytest.raises(ConfigurationError, match="got 5 for patches of 5 x 5"):
        TwoViews(5)(torch.zeros(1, 1, 5, 5), generator(0))
    with pytest.raises(ConfigurationError, match="got blur"):
        build_two_views({"blur": 1.0})
