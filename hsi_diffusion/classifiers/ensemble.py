"""Several networks that answer as one."""

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

    With a handful of labels, what a network makes of a scene depends on its initial weights; the
    mean of several depends on them less (deep ensembles, Lakshminarayanan et al. 2017). Every
    member learns by itself from :meth:`member_logits`. Ours; no method of the three has it.

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
        """Logarithm of the mean probabilities, shape (B, K): logits like those of one network."""
        logs = self.member_logits(image).float().log_softmax(dim=2)
        return logs.logsumexp(dim=0) - math.log(len(self.members))
