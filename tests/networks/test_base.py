from __future__ import annotations

import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import (
    CTSSFM,
    CrossLayerTransformer,
    FusionClassifier,
    MiniGCN,
    PatchClassifier,
    SpectralFormer,
    SpectralTransformer,
    WeightedMean,
    build_network,
)
from hsi_diffusion.networks.base import centre_pixel


class Bare(PatchClassifier):
    """Nothing but what all of them share."""

    def _logits(self, image: torch.Tensor) -> torch.Tensor:
        return self.centre_spectrum(image)


@pytest.mark.parametrize(("side", "expected"), [(1, 0), (3, 4), (4, 10), (5, 12)])
def test_centre_pixel_is_row_and_column_p_over_2(side: int, expected: int) -> None:
    assert centre_pixel(side) == expected
    image = torch.randn(2, 3, side, side)
    found = Bare(3, 2, side).centre_spectrum(image)
    assert torch.equal(found, image.flatten(2)[:, :, expected])


@pytest.mark.parametrize("shape", [(2, 4, 5, 7), (2, 3, 5, 5), (4, 5, 5), (2, 4, 5, 5, 1)])
def test_wrong_patches_are_named(shape: tuple[int, ...]) -> None:
    network = Bare(4, 2, 5)
    network.check_image(torch.zeros(0, 4, 5, 5))
    with pytest.raises(ConfigurationError, match=r"image must have shape \(B, 4, 5, 5\), got \("):
        network(torch.zeros(shape))


@pytest.mark.parametrize("name", ["in_channels", "num_classes", "patch_size", "width"])
def test_sizes_below_1_are_named(name: str) -> None:
    sizes = {"in_channels": 1, "num_classes": 1, "patch_size": 1, "width": 1, name: 0}
    with pytest.raises(ConfigurationError, match=f"{name} must be at least 1, got 0"):
        Bare(**sizes)


@pytest.mark.parametrize("sizes", [(5, 2, 5), (4, 3, 5), (4, 2, 7)])
def test_a_network_made_for_other_sizes_is_named(sizes: tuple[int, int, int]) -> None:
    build_network(Bare(4, 2, 5), 4, 2, 5)
    for given in (Bare(4, 2, 5), lambda *_: Bare(4, 2, 5)):
        with pytest.raises(
            ConfigurationError, match=r"classifier must be made for \w+=[537], got one for [425]"
        ):
            build_network(given, *sizes)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize(
    "network", [CrossLayerTransformer, FusionClassifier, MiniGCN, SpectralFormer,
                SpectralTransformer],
)  # fmt: skip
def test_dropout_that_leaves_nothing_is_named(network: type[PatchClassifier], rate: float) -> None:
    with pytest.raises(ConfigurationError, match="dropout must be at least 0 and below 1, got"):
        network(6, 2, 3, dropout=rate)  # type: ignore[arg-type]
    if network not in (MiniGCN, SpectralFormer):
        with pytest.raises(ConfigurationError, match="head_dropout must be at least 0 and below 1"):
            network(6, 2, 3, head_dropout=rate)  # type: ignore[arg-type]


def test_dropout_of_the_fusion_is_checked_too() -> None:
    with pytest.raises(ConfigurationError, match=r"at least 0 and below 1, got 1\.5"):
        CTSSFM(8, 3, WeightedMean(), dropout=1.5)
