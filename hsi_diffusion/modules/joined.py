"""Logging of figures that all processes know already."""

from __future__ import annotations

from typing import Any, Final

JOINED: Final[dict[str, Any]] = {"sync_dist": True, "reduce_fx": "max"}
"""Arguments of ``LightningModule.log`` for a figure that is the same on every process.

What torchmetrics computes at the end of an epoch is. Without ``sync_dist`` Lightning warns all the
same; its mean over the processes could differ from the figure in the last bit, the largest of equal
numbers does not.
"""
