"""Noise and timesteps of validation, which never change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hsi_diffusion.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor

Draw = tuple["Tensor", "Tensor"]

MAX_BYTES = 256 * 2**20
"""How much is kept; batches beyond are drawn each time. The 512 patches of ``pretraining_pixels``
with 200 bands of 24 x 24 pixels fit."""


class FixedDraws:
    """A timestep and noise per pixel number, the same in every epoch and on every process.

    Each pixel's draw is named by (seed, pixel) and made on the CPU, so it depends on nothing else.
    Drawing costs about 5 ns a value: the draws of a batch are therefore kept, up to a bound, for
    the next time that the same batch comes. They stay on the CPU, for a card's memory is dear.

    Args:
        seed: Names the draws.
        timesteps: Number of steps T.
    """

    def __init__(self, seed: int, timesteps: int) -> None:
        self.seed = seed
        self.timesteps = timesteps
        self._kept: dict[tuple[object, ...], Draw] = {}

    def __call__(self, index: Tensor, images: Tensor) -> Draw:
        """Timesteps and noise of a batch.

        Args:
            index: Flat pixel numbers, int64, shape (B,).
            images: Their patches, shape (B, C, P, P).

        Returns:
            Timesteps, int64, shape (B,), and standard normal noise like ``images``.
        """
        pixels = tuple(index.tolist())
        key = (images.shape[1:], pixels)
        if key not in self._kept:
            steps, fields = [], []
            for pixel in pixels:
                random = generator("pretrain-validation", self.seed, pixel)
                steps.append(torch.randint(self.timesteps, (), generator=random))
                fields.append(torch.randn(images.shape[1:], generator=random))
            draw = torch.stack(steps), torch.stack(fields)
            if sum(noise.nbytes for _, noise in self._kept.values()) + draw[1].nbytes > MAX_BYTES:
                return draw[0].to(images.device), draw[1].to(images)
            self._kept[key] = draw
        kept_steps, noise = self._kept[key]
        return kept_steps.to(images.device), noise.to(images)
