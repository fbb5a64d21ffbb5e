"""Several networks whose probabilities are averaged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class Ensemble(nn.Module):
    """Networks of one kind with other initial weights, whose probabilities are averaged.

    With few labels, the map of a network depends on its initial weights; the
    mean of several depends on them less (deep ensembles, Lakshminarayanan et al. 2017). In training
    every member has a loss of its own, from :meth:`member_logits`, and no gradient passes from one
    to another; but they see the same batches, and as one optimiser trains the mean of their losses,
    a gradient that is clipped by its norm is clipped by the norm over all members. Ours; no method
    of the three has it.

    Args:
        members: The networks, each (B, C, P, P) -> logits (B, K).
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def member_logits(self, image: Tensor) -> Tensor:
        """Logits of every member, shape (members, B, K)."""
        return torch.stack([member(image) for member in self.members])

    def forward(self, image: Tensor) -> Tensor:
        """Logarithm of the mean probabilities, shape (B, K): logits like those of one network.

        It computes in float32 at least and never leaves the logarithms, so that classes whose
        probabilities are too small for a float stay finite.
        """
        logits = self.member_logits(image)
        logs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=2)
        return logs.logsumexp(dim=0) - math.log(len(logits))
