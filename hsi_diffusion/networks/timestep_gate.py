"""Which timesteps to trust at which pixel, from the spectral angles of the restored spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn
from torch.nn import functional as F

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class CumulativeNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d(channels, momentum=None, affine=False)`` without a look at the device.

    Its statistics are the means over all batches so far: moving ones would start from a variance of
    1, beside which that of milliradians is nothing for a hundred steps. PyTorch reads the number of
    batches back in every step, for which a CPU has to wait, and where a compiled graph breaks;
    here it stays a tensor. Names in a state dict are the same. The statistics keep float32 when the
    module is cast to half precision, in which a batch would soon be too little to change them.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels, eps=eps, momentum=None, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise (B, C, H, W) of at least float32, in training by its own statistics."""
        if not self.training:
            mean, var = self.running_mean.to(x.dtype), self.running_var.to(x.dtype)
            return F.batch_norm(x, mean, var, eps=self.eps)
        # a momentum of 1 leaves the statistics of this batch alone there
        mean, var = x.new_zeros(self.num_features), x.new_zeros(self.num_features)
        standardised = F.batch_norm(x, mean, var, training=True, momentum=1.0, eps=self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            share = self.num_batches_tracked.to(self.running_mean.dtype).reciprocal()
            self.running_mean.lerp_(mean.to(self.running_mean), share)
            self.running_var.lerp_(var.to(self.running_var), share)
        return standardised

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, table in before.items():
            moved = self._buffers[name]
            if table is not None and moved is not None and moved.element_size() < 4:
                self._buffers[name] = table.to(moved.device)
        return self


class TimestepGate(nn.Module):
    """Weights over the timesteps at every pixel, from the pixel's vector of spectral angles.

    That DiffCRN chooses timesteps adaptively and learnably from pixel-level spectral angles is
    public (Zhu and Xu, arXiv 2502.19699, abstract); how is not, and this is our design: a small
    perceptron on each pixel's angles (1x1 convolutions), trained with the classifier by its loss.
    It starts with equal weights.

    The angles are standardised inside, per timestep, by a BatchNorm without parameters of its own:
    in training by the batch, in evaluation by the mean of the statistics of all batches so far.
    Angles that vary by milliradians count as much as larger ones: nothing of their size is added to
    the variance, no initial value stays in the statistics, and all this is float32 under autocast.

    In evaluation the ``keep`` heaviest timesteps of each pixel are kept and share the whole weight.
    In training one half of the patches, drawn at random, is seen like that, so that a network knows
    what it will be shown; in the other all timesteps take part (softmax), from which the gate
    learns which to keep.

    Args:
        timesteps: Number of timesteps T.
        keep: How many timesteps a pixel keeps, from 1 to T; None keeps all.
        hidden: Width of the perceptron.

    Raises:
        ConfigurationError: A size is below 1, or ``keep`` is not from 1 to T.
    """

    def __init__(self, timesteps: int, *, keep: int | None = None, hidden: int = 32) -> None:
        super().__init__()
        check_at_least(1, timesteps=timesteps, hidden=hidden)
        if keep is not None and not 1 <= keep <= timesteps:
            raise ConfigurationError(
                f"keep must be from 1 to timesteps={timesteps}, or None for all, got {keep}"
            )
        self.timesteps = timesteps
        self.keep = timesteps if keep is None else keep
        self.standardise = CumulativeNorm2d(
            timesteps,
            eps=1e-12,  # of angles squared: far below a milliradian
        )
        last = nn.Conv2d(hidden, timesteps, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.score = nn.Sequential(nn.Conv2d(timesteps, hidden, 1), nn.GELU(), last)

    def forward(self, angles: Tensor) -> Tensor:
        """Weigh the timesteps.

        Every pixel is judged by itself, so in evaluation the weights of a whole scene may be had in
        one call.

        Args:
            angles: Radians, shape (B, T, H, W).

        Returns:
            Weights, float32, shape (B, T, H, W), of sum 1 over T; 0 where a timestep is not kept.
        """
        return self.log_weights(angles).exp()

    def log_weights(self, angles: Tensor) -> Tensor:
        """Logarithms of the weights, as attention and softmax take them; -inf where not kept."""
        if angles.ndim != 4 or angles.shape[1] != self.timesteps:
            raise ConfigurationError(
                f"angles must have shape (B, {self.timesteps}, H, W), one channel per timestep, "
                f"got {tuple(angles.shape)}"
            )
        # in half precision, angles that differ by a milliradian may be the same number
        with torch.autocast(angles.device.type, enabled=False):
            wide = angles.to(torch.promote_types(angles.dtype, torch.float32))
            standardised = self.standardise(wide)
        of_layers = next(self.score.parameters()).dtype
        scores: Tensor = self.score(standardised.to(of_layers)).float()
        if self.keep < self.timesteps:
            kept = scores.topk(self.keep, dim=1).indices
            few = scores.new_full(scores.shape, float("-inf")).scatter(
                1, kept, scores.gather(1, kept)
            )
            if self.training:
                drawn = torch.rand(len(scores), 1, 1, 1, device=scores.device) < 0.5
                few = torch.where(drawn, few, scores)
            scores = few
        return scores.log_softmax(dim=1)
