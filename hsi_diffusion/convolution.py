"""3-D convolutions whose gradients can be trusted in bfloat16 on a CPU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, cast

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

Sides = int | tuple[int, int, int]
"""A number for all three axes (bands, rows, columns), or one for each."""

ROOM: Final = 0.8 * 2**20
"""Bytes of rows that torch's kernel for AMX keeps at once: 80 % of half of a core's second cache.

It is the least of the processors that have AMX: 2 MiB, shared by two threads."""


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Sides = 1,
    padding: Sides = 0,
) -> Tensor:
    """``F.conv3d``, in float32 where the gradient of its weights would be nonsense in bfloat16.

    On a CPU in bfloat16, under autocast and with cast weights, oneDNN 3.12 (torch 2.13) computes
    that gradient wrongly in two cases; the result comes in the dtype that it would have had.

    - Over exactly 2 bands without AMX (seen with AVX-512), with stride 1, it reads memory that
      nobody has written: noise, now and then nan. All of the convolution is computed in float32.
    - With AMX, where an image has more rows than fit into :data:`ROOM`, it is wrong by 5 to 70 % or
      nan, for the fewer bands the likelier, and memory of others is overwritten, so that the
      program may crash. The gradient of the weights alone is computed in float32, without AMX too:
      what a processor has is not asked.

    Args:
        x: Shape (B, C, S, H, W), S the bands.
        weight: Shape (D, C, kernel bands, kernel rows, kernel columns).
        bias: Shape (D,), or None.
        stride: Step of the kernel.
        padding: Zeros on both sides of an axis.

    Returns:
        Shape (B, D, S', H', W').
    """
    if not _learns_in_bfloat16(x):
        return F.conv3d(x, weight, bias, stride, padding)
    if x.shape[2] == 2 and weight.shape[2] > 1 and _each(stride)[0] == 1:
        with torch.autocast("cpu", enabled=False):  # it would cast back to bfloat16
            bias = None if bias is None else bias.float()
            found = F.conv3d(x.float(), weight.float(), bias, stride, padding)
        return found.bfloat16()
    wide = [side + 2 * zeros for side, zeros in zip(x.shape[3:], _each(padding)[1:], strict=True)]
    kernel, steps = weight.shape[3:], _each(stride)[1:]
    rows, columns = (
        (side - inner) // step + 1 for side, inner, step in zip(wide, kernel, steps, strict=True)
    )
    if _fits((x.shape[1], wide[1]), (weight.shape[0], columns), rows, kernel[0]):
        return F.conv3d(x, weight, bias, stride, padding)
    return _convolve(x, weight, bias, stride, padding, transposed=False)


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` by :func:`conv3d`: without groups, dilation and padding by name."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, in_channels, S, H, W); the result's axes 2 to 4 follow from the padding."""
        stride, padding = cast("Sides", self.stride), cast("Sides", self.padding)
        return conv3d(x, self.weight, self.bias, stride=stride, padding=padding)


class ConvTranspose3d(nn.ConvTranspose3d):
    """``nn.ConvTranspose3d`` whose gradients are as right as those of :func:`conv3d`.

    Without groups, dilation and output padding.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve (B, in_channels, S, H, W); ``output_size`` as in ``nn.ConvTranspose3d``."""
        if output_size is not None or not _learns_in_bfloat16(x):
            return super().forward(x, output_size)
        # its weights learn as those of the convolution that goes back from its output
        stride, padding = cast("Sides", self.stride), cast("Sides", self.padding)
        columns = (x.shape[4] - 1) * self.stride[2] + self.weight.shape[4]
        before, after = (self.out_channels, columns), (self.in_channels, x.shape[4])
        if _fits(before, after, x.shape[3], self.weight.shape[3]):
            return super().forward(x)
        return _convolve(x, self.weight, self.bias, stride, padding, transposed=True)


class _WideWeightGradient(torch.autograd.Function):
    """A convolution in bfloat16 whose weights, and bias, get their gradient in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.options, ctx.biases = options, None if bias is None else [len(bias)]
        return torch.convolution(x, weight, bias, *options)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        inner, outer = ctx.needs_input_grad[0], list(ctx.needs_input_grad[1:3])
        back = torch.ops.aten.convolution_backward
        of_x = back(gradient, x, weight, ctx.biases, *ctx.options, [inner, False, False])[0]
        wide = (one.float() for one in (gradient, x, weight))
        _, of_weight, of_bias = back(*wide, ctx.biases, *ctx.options, [False, *outer])
        halves = (None if one is None else one.bfloat16() for one in (of_weight, of_bias))
        return of_x, *halves, *(None for _ in ctx.options)


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sides,
    padding: Sides,
    *,
    transposed: bool,
) -> Tensor:
    """A convolution in bfloat16, with the gradient of its weights in float32."""
    half = None if bias is None else bias.bfloat16()
    steps, zeros = list(_each(stride)), list(_each(padding))
    options = (steps, zeros, [1, 1, 1], transposed, [0, 0, 0], 1)
    found: Tensor = _WideWeightGradient.apply(  # type: ignore[no-untyped-call]
        x.bfloat16(), weight.bfloat16(), half, *options
    )
    return found


def _learns_in_bfloat16(x: Tensor) -> bool:
    """Whether a convolution over ``x`` is computed in bfloat16 on a CPU, with gradients."""
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:  # which it leaves alone
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.dtype == torch.bfloat16


def _fits(before: tuple[int, int], after: tuple[int, int], rows: int, kernel_rows: int) -> bool:
    """Whether oneDNN works on all rows at once; its own sums, never below them.

    Args:
        before: Channels, and columns with the zeros on both sides, of what is convolved.
        after: Channels and columns of the result.
        rows: Rows of the result.
        kernel_rows: Rows of the kernel.
    """
    # a row as it came, and transposed, of 2 bytes each
    source, target = (4 * _up(channels, 16) * _up(width, 32) for channels, width in (before, after))
    return rows * (source + target) + kernel_rows * source <= ROOM


def _up(number: int, step: int) -> int:
    """The next multiple of ``step``."""
    return math.ceil(number / step) * step


def _each(sides: Sides) -> tuple[int, int, int]:
    return (sides, sides, sides) if isinstance(sides, int) else sides
