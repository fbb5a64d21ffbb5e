"""Augmentations: what each may change, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.patches.augment import (
    Augmentation,
    BandDropout,
    BandNoise,
    Compose,
    Dihedral,
    Gain,
    build_augmentation,
)
from hsi_diffusion.seeding import generator
from tests.usual import usual_dtype

ALL: list[Augmentation] = [
    Dihedral(),
    Dihedral(0.5),
    Gain(0.2),
    BandNoise(0.3),
    BandDropout(0.4),
    Compose((Dihedral(), Gain(), BandNoise())),
]
every_augmentation = pytest.mark.parametrize("augmentation", ALL)


def make_images(number: int = 40, bands: int = 6, size: int = 5) -> Tensor:
    return torch.randn(number, bands, size, size, generator=generator("images"))


@every_augmentation
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_shape_and_dtype_are_kept_and_the_input_too(
    augmentation: Augmentation, dtype: torch.dtype
) -> None:
    images = make_images().to(dtype)
    before = images.clone()
    result = augmentation(images, generator(0))
    assert result.shape == images.shape
    assert result.dtype == dtype
    assert torch.equal(images, before)
    assert not torch.equal(result, images)


@every_augmentation
def test_generator_alone_decides(augmentation: Augmentation) -> None:
    images = make_images()
    state = torch.get_rng_state()
    random = generator(1)
    first, second = augmentation(images, random), augmentation(images, random)
    assert not torch.equal(first, second)  # two views
    assert torch.equal(augmentation(images, generator(1)), first)
    with usual_dtype(torch.bfloat16):  # as in a Trainer with precision "bf16-true"
        assert torch.equal(augmentation(images, generator(1)), first)
    assert torch.equal(torch.get_rng_state(), state)


@every_augmentation
def test_an_empty_batch_stays_empty(augmentation: Augmentation) -> None:
    assert augmentation(torch.zeros(0, 3, 5, 5), generator(0)).shape == (0, 3, 5, 5)


@every_augmentation
def test_gradients_pass(augmentation: Augmentation) -> None:
    images = make_images().requires_grad_()
    (gradient,) = torch.autograd.grad(augmentation(images, generator(0)).sum(), images)
    assert gradient.abs().sum() > 0


def test_dihedral_draws_the_eight_symmetries_evenly() -> None:
    image = torch.arange(2 * 9.0).reshape(1, 2, 3, 3)
    turned = Dihedral()(image.expand(4000, -1, -1, -1), generator(0))
    symmetries = [
        np.rot90(mirrored, turns, axes=(1, 2))
        for mirrored in (image[0].numpy(), image[0].numpy()[:, :, ::-1])
        for turns in range(4)
    ]
    shares = [(turned.numpy() == symmetry).all(axis=(1, 2, 3)).mean() for symmetry in symmetries]
    assert sum(shares) == pytest.approx(1)
    assert all(abs(share - 1 / 8) < 0.03 for share in shares)


def test_dihedral_spares_the_others() -> None:
    images = torch.arange(25.0).reshape(1, 1, 5, 5).expand(4000, -1, -1, -1)
    same = (Dihedral(0.4)(images, generator(0)) == images).all(dim=(1, 2, 3))
    assert same.double().mean() == pytest.approx(0.6 + 0.4 / 8, abs=0.03)
    assert torch.equal(Dihedral(0)(images, generator(0)), images)


def test_gain_is_one_factor_per_patch() -> None:
    images = make_images(3000, 2, 3)
    factors = Gain(0.1)(images, generator(0)) / images
    per_patch = factors[:, 0, 0, 0]
    torch.testing.assert_close(factors, per_patch[:, None, None, None].expand_as(factors))
    assert per_patch.mean() == pytest.approx(1, abs=0.01)
    assert per_patch.std() == pytest.approx(0.1, rel=0.1)


def test_band_noise_is_independent() -> None:
    images = torch.ones(300, 4, 5, 5)
    noise = (BandNoise(0.5)(images, generator(0)) - images).flatten(1)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    covariance = np.cov(noise.numpy())
    assert np.diag(covariance).mean() == pytest.approx(0.25, rel=0.05)
    values = noise.flatten().numpy()
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.03


def test_band_dropout_takes_whole_bands() -> None:
    images = make_images(500, 8, 3) + 10
    result = BandDropout(0.3)(images, generator(0))
    gone = (result == 0).all(dim=(2, 3))
    assert torch.equal(result == 0, gone[:, :, None, None].expand_as(result))
    assert torch.equal(result[~gone], images[~gone])
    assert gone.double().mean() == pytest.approx(0.3, abs=0.03)


def test_compose_is_one_after_the_other() -> None:
    images = make_images()
    random = generator(0)
    expected = BandNoise()(Gain()(images, random), random)
    assert torch.equal(Compose((Gain(), BandNoise()))(images, generator(0)), expected)
    assert Compose()(images, generator(0)) is images


def test_names_give_augmentations_in_a_fixed_order() -> None:
    strengths = {
        "gain": 0.2,
        "dihedral": 1,
        "band_noise": 0,
        "band_dropout": 0.3,
    }
    steps = (Dihedral(1), Gain(0.2), BandDropout(0.3))
    assert build_augmentation(strengths) == Compose(steps)
    assert build_augmentation({}) == Compose()
    assert build_augmentation({"band_noise": 0.4}) == Compose((BandNoise(0.4),))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"must name dihedral, gain, .*, got blur, turn"):
        build_augmentation({"turn": 1, "gain": 0.1, "blur": 2})
    with pytest.raises(ConfigurationError, match=r"share must be from 0 to 1, got 1\.1"):
        build_augmentation({"dihedral": 1.1})
    for strength in (-0.1, float("inf"), float("nan")):
        with pytest.raises(ConfigurationError, match="deviation must be at least 0 and finite"):
            build_augmentation({"gain": strength})
        with pytest.raises(ConfigurationError, match="deviation must be at least 0 and finite"):
            build_augmentation({"band_noise": strength})
        with pytest.raises(ConfigurationError, match="probability must be from 0 to 1"):
            build_augmentation({"band_dropout": strength})
    with pytest.raises(ConfigurationError, match="dihedral needs square patches, got 3 x 5"):
        Dihedral()(torch.zeros(1, 1, 3, 5), generator(0))
