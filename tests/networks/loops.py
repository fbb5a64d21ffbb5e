"""The formulas as plain loops, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def attend(
    query: Tensor, key: Tensor, value: Tensor, *, heads: int, bias: Tensor | None = None
) -> Tensor:
    """softmax(q k / sqrt(d) + bias) v, head by head: (N, C), (M, C), (M, C), (M,) to (N, C)."""
    query, key, value = query.detach(), key.detach(), value.detach()
    width = query.shape[1] // heads
    out = torch.zeros(len(query), query.shape[1])
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(query)):
            scores = [float(query[i, part] @ key[j, part]) / width**0.5 for j in range(len(key))]
            if bias is not None:
                scores = [score + float(b) for score, b in zip(scores, bias, strict=True)]
            weights = torch.tensor(scores).softmax(dim=0)
            for j in range(len(key)):
                out[i, part] += weights[j] * value[j, part]
    return out


def convolved(image: Tensor, layer: nn.Module, norm: nn.Module) -> NDArray[np.float64]:
    """ReLU(BatchNorm(convolution)) of one zero-padded image, with any number of axes.

    A sum of correlations by SciPy, one per pair of channels; the BatchNorm is that of evaluation.
    """
    arrays = {
        f"{name}.{key}": value.detach().double().numpy()
        for name, module in (("layer", layer), ("norm", norm))
        for key, value in module.state_dict().items()
    }
    pixels = image.detach().double().numpy()
    out = np.stack(
        [
            sum(
                (
                    ndimage.correlate(band, kernel, mode="constant")
                    for band, kernel in zip(pixels, filters, strict=True)
                ),
                np.zeros(pixels.shape[1:]),
            )
            for filters in arrays["layer.weight"]
        ]
    )
    columns = [-1] + [1] * (out.ndim - 1)
    mean, variance, scale, shift = (
        arrays[f"norm.{name}"].reshape(columns)
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    out = (out - mean) / np.sqrt(variance + 1e-5) * scale + shift
    rectified: NDArray[np.float64] = np.maximum(out, 0)
    return rectified


def settle(network: nn.Module, seed: int = 0) -> nn.Module:
    """Evaluation mode, with statistics and scales of BatchNorm that are no longer 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if key.endswith("running_mean"):
            value.uniform_(-0.3, 0.3, generator=generator)
        elif key.endswith("running_var"):
            value.uniform_(0.1, 0.4, generator=generator)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
    return network.eval()
