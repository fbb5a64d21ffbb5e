"""Parts of a user's own, in a file outside the repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from hsi_diffusion import Denoiser, FeatureLevel


class MyDenoiser(Denoiser):
    def __init__(self, num_bands, width=4):
        levels = [FeatureLevel("low", width, radius=1), FeatureLevel("high", width, radius=2)]
        super().__init__(num_bands, feature_info=levels, radius=3)
        self.layers = nn.ModuleList(
            nn.Conv2d(inside, outside, 3, padding=1)
            for inside, outside in ((num_bands, width), (width, width), (width, num_bands))
        )

    def forward_levels(self, x_t, t, indices, *, output):
        first, second, last = self.layers
        low = first(x_t).relu()
        high = second(low).relu()
        return last(high) if output else None, [(low, high)[i] for i in indices]


class MyNet(nn.Module):
    def __init__(self, channels, classes, patch_size, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * patch_size**2, width),
            nn.ReLU(),
            nn.Linear(width, classes),
        )

    def forward(self, x):
        return self.layers(x)


class MyOptimiser(torch.optim.SGD):
    def __init__(self, params, lr=0.05):
        super().__init__(params, lr=lr)


class MyNeighbours(KNeighborsClassifier):
    def __init__(self, n_neighbors=1):
        super().__init__(n_neighbors)


def make_denoiser(num_bands: int) -> Denoiser:
    return MyDenoiser(num_bands, width=3)


def not_annotated(num_bands):
    return MyDenoiser(num_bands)
"""


def write_own_parts(folder: Path, name: str) -> None:
    """Write the module ``name``; each test takes another one, since Python imports it only once."""
    (folder / f"{name}.py").write_text(SOURCE, encoding="utf-8")
