"""What PyTorch does by default, changed for a while."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def usual_dtype(dtype: torch.dtype) -> Iterator[None]:
    """As a Trainer with precision "bf16-true" or "64-true" has it while it computes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
