"""The published 3-D U-Net once more, as one straight line over a state dict.

Written from the layer facts of the paper alone, slow and plain: what `UNet3D` is compared with.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hsi_diffusion.denoisers import UNet3D


def lively(network: UNet3D) -> UNet3D:
    """In eval mode, in float64, and with norms that do something, some with negative scale."""
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.uniform_(-0.5, 0.5, generator=random)
            module.running_var.uniform_(0.5, 2.0, generator=random)
            nn.init.uniform_(module.weight, -1.5, 1.5, generator=random)
            nn.init.uniform_(module.bias, -0.5, 0.5, generator=random)
    return network.eval().double()


def run(
    weights: Mapping[str, Tensor], x: Tensor, t: Tensor, *, training: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Output (B, S, H, W) and the inputs of the up blocks (B, C, S_i, H, W); S must fit."""
    depth = sum(name.startswith("downs.") and name.endswith("conv1.bias") for name in weights)
    size = weights["time_mlp.1.weight"].shape[1]
    embedding = torch.zeros(len(t), size, dtype=x.dtype)
    for row, step in enumerate(t.tolist()):
        for i in range(size // 2):
            angle = step * math.exp(-i * math.log(10_000) / (size // 2 - 1))
            embedding[row, i] = math.sin(angle)
            embedding[row, size // 2 + i] = math.cos(angle)
    time = F.linear(embedding, weights["time_mlp.1.weight"], weights["time_mlp.1.bias"]).relu()

    h = F.conv3d(x[:, None], weights["conv0.weight"], weights["conv0.bias"], padding=1)
    skips = []
    for i in range(depth):
        h = block(weights, f"downs.{i}.", h, time, up=False, training=training)
        skips.append(h)
    levels = []
    for i in range(depth):
        h = torch.cat([h, skips[depth - 1 - i]], dim=1)
        levels.append(h)
        h = block(weights, f"ups.{i}.", h, time, up=True, training=training)
    return F.conv3d(h, weights["output.weight"], weights["output.bias"])[:, 0], levels


def block(
    weights: Mapping[str, Tensor], name: str, h: Tensor, time: Tensor, *, up: bool, training: bool
) -> Tensor:
    """One down or up block."""

    def convolve(h: Tensor, layer: str) -> Tensor:
        h = F.conv3d(h, weights[f"{name}conv{layer}.weight"], weights[f"{name}conv{layer}.bias"],
                     padding=1).relu()  # fmt: skip
        norm = f"{name}bnorm{layer}."
        if training:
            mean, variance = h.mean((0, 2, 3, 4)), h.var((0, 2, 3, 4), unbiased=False)
        else:
            mean, variance = weights[norm + "running_mean"], weights[norm + "running_var"]
        scale = weights[norm + "weight"] / (variance + 1e-5).sqrt()
        shift = weights[norm + "bias"] - mean * scale
        return h * scale[:, None, None, None] + shift[:, None, None, None]

    h = convolve(h, "1")
    added = F.linear(time, weights[f"{name}time_mlp.weight"], weights[f"{name}time_mlp.bias"])
    h = convolve(h + added.relu()[:, :, None, None, None], "2")
    transform = F.conv_transpose3d if up else F.conv3d
    return transform(
        h,
        weights[f"{name}transform.weight"],
        weights[f"{name}transform.bias"],
        stride=(2, 1, 1),
        padding=(1, 2, 2),
    )
