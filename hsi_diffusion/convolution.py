"""3-D convolutions whose gradients can be trusted in bfloat16 on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


def conv3d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: int = 0) -> Tensor:
    """``F.conv3d``, in float32 where the gradient of its weights would be nonsense in bfloat16.

    Over exactly 2 bands, in bfloat16 on a CPU (seen with torch 2.13 and AVX-512, under autocast and
    with cast weights), the gradient of a 3x3x3 kernel reads memory that nobody has written: noise,
    now and then nan. The result comes in the dtype that it would have had.

    Args:
        x: Shape (B, C, S, H, W), S the bands.
        weight: Shape (D, C, kernel bands, kernel rows, kernel columns).
        bias: Shape (D,), or None.
        padding: Zeros on each side of all three axes.

    Returns:
        Shape (B, D, S', H', W').
    """
    if not _wrong_gradients(x):
        return F.conv3d(x, weight, bias, padding=padding)
    with torch.autocast("cpu", enabled=False):  # it would cast back to bfloat16
        wide = F.conv3d(
            x.float(), weight.float(), None if bias is None else bias.float(), padding=padding
        )
    return wide.bfloat16()


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` of stride 1 by :func:`conv3d`, with the same names and initial weights.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel_size: Side of the kernel along all three axes.
        padding: Zeros on each side of all three axes.
        bias: Add a learned number to every channel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding, bias=bias)
        self.zeros = padding

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in_channels, S, H, W); the result's axes 2 to 4 follow from the padding."""
        return conv3d(x, self.weight, self.bias, padding=self.zeros)


def _wrong_gradients(x: Tensor) -> bool:
    """Whether the weights of a convolution over ``x`` would learn nonsense here."""
    if x.device.type != "cpu" or x.shape[2] != 2 or not torch.is_grad_enabled():
        return False
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:  # which it leaves alone
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.dtype == torch.bfloat16
