from __future__ import annotations

import pytest
import torch

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import PatchClassifier
from hsi_diffusion.networks.base import centre_pixel, check_channels


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


@pytest.mark.parametrize("channels", [(), [8, 0], [8, 1.5], [True], 8, "88"])
def test_channels_are_whole_numbers(channels: object) -> None:
    check_channels([8, 16])
    with pytest.raises(ConfigurationError, match=r"channels must be a list of whole numbers from"):
        check_channels(channels)  # type: ignore[arg-type]
