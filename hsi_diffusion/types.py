"""The shapes of what travels between the parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from torch import Tensor

Padding = Literal["reflect", "zeros"]
"""What stands outside the scene where a patch reaches over its border."""

TrainingTask = Literal["pretrain", "classify"]
"""What training batches are for: learning the scene, or its classes."""

PredictionKind = Literal["noise", "x0", "v"]
"""What a denoiser's output means."""

DISJOINT = ("blocks", "fields", "polygons", "images")
"""Kinds of splits that test land which lies apart from all that is labelled."""


class PatchBatch(TypedDict):
    """One batch of patches.

    Keys:
        image: float32, shape (B, C, P, P).
        index: int64, shape (B,), flat pixel number (row * width + column) of each patch's centre;
            -1 marks an item that only fills the last batch.
        label: int64, shape (B,), class of the centre pixel from 0 to K - 1; -1 = unlabelled.
            Absent where patches carry no labels.
    """

    image: Tensor
    index: Tensor
    label: NotRequired[Tensor]
