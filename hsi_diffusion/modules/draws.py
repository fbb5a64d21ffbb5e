"""Noise and timesteps of validation, which never change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hsi_diffusion.seeding import generator

if TYPE_CHECKING:
    from torch import Tensor


def fixed_draws(seed: int, timesteps: int, index: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """A timestep and noise per pixel number, the same in every epoch and on every process.

    Each pixel's draw is named by (seed, pixel) and made on the CPU, so it depends on nothing else.

    Args:
        seed: Names the draws.
        timesteps: Number of steps T.
        index: Flat pixel numbers, int64, shape (B,).
        images: Their patches, shape (B, C, P, P).

    Returns:
        Timesteps, int64, shape (B,), and standard normal noise like ``images``.
    """
    steps, fields = [], []
    for pixel in index.tolist():
        random = generator("pretrain-validation", seed, pixel)
        steps.append(torch.randint(timesteps, (), generator=random))
        # a Trainer with precision "bf16-true" changes the dtype that is usual, and so the draws
        fields.append(torch.randn(images.shape[1:], generator=random, dtype=torch.float32))
    return torch.stack(steps).to(images.device), torch.stack(fields).to(images)
