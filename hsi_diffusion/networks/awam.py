"""Adding up the features of several timesteps with weights that depend on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


class WeightedMean(nn.Module):
    """The plain mean over timesteps, or the mean under given weights: AWAM's control."""

    def forward(self, tokens: Tensor, log_weights: Tensor | None = None) -> Tensor:
        """Merge the timesteps.

        Args:
            tokens: Shape (B, N, T, C).
            log_weights: Logarithms of weights with sum 1 over T, shape (B, N, T); None = equal.

        Returns:
            Shape (B, N, C).
        """
        if log_weights is None:
            return tokens.mean(dim=2)
        return _weighed(tokens, log_weights.exp())


class AWAM(nn.Module):
    """Adaptive weighted addition module: input-dependent weights over timesteps, then a sum.

    The name and the task are DiffCRN's (Zhu and Xu, arXiv 2502.19699, abstract); what is inside is
    our reading. A pixel's features at a timestep, and their mean over the patch at that timestep,
    are each mapped to a hidden vector; the sum of both gives a score; a softmax over the timesteps
    gives the weights. It starts with equal weights.

    Args:
        dim: Channels C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = max(dim // 4, 1)
        self.norm = nn.LayerNorm(dim)
        self.of_pixel = nn.Linear(dim, hidden)
        self.of_patch = nn.Linear(dim, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)  # one bias for all would change nothing
        nn.init.zeros_(self.score.weight)

    def weights(self, tokens: Tensor, log_weights: Tensor | None = None) -> Tensor:
        """The weights by which :meth:`forward` adds up, float32, shape (B, N, T), of sum 1."""
        normed = self.norm(tokens)
        hidden = self.of_pixel(normed) + self.of_patch(normed.mean(dim=1, keepdim=True))
        scores: Tensor = self.score(F.gelu(hidden))[..., 0].float()
        if log_weights is not None:
            scores = scores + log_weights
        return scores.softmax(dim=2)

    def forward(self, tokens: Tensor, log_weights: Tensor | None = None) -> Tensor:
        """Merge the timesteps.

        Args:
            tokens: Shape (B, N, T, C): N pixels of a patch at T timesteps.
            log_weights: Logarithms of prior weights, shape (B, N, T), which the module's own
                weights are multiplied by; -inf leaves a timestep out of the pixel's sum. None =
                equal. The patch's mean at a timestep is over all pixels, whatever they leave out.

        Returns:
            Shape (B, N, C).
        """
        return _weighed(tokens, self.weights(tokens, log_weights))


def _weighed(tokens: Tensor, weights: Tensor) -> Tensor:
    """Sum over T of (B, N, T, C) times float32 weights (B, N, T), in the dtype of the tokens."""
    total = (tokens * weights[..., None]).sum(dim=2)
    # layers that were cast to half precision take nothing wider
    return total.to(tokens.dtype)
