"""Arrays of a user's, whatever their layout, as tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def as_tensor(values: Tensor | NDArray[Any]) -> Tensor:
    """A tensor of the same memory, where torch can take it.

    It takes no numbers of foreign byte order and no views that run backwards: of these it gets
    copies.
    """
    if isinstance(values, torch.Tensor):
        return values
    array = np.asarray(values)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.as_tensor(array)


def check_valid(valid: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> None:
    """Raise a ConfigurationError unless ``valid``, if given, holds booleans in ``shape``."""
    if valid is not None and (valid.dtype != bool or valid.shape != tuple(shape)):
        raise ConfigurationError(
            f"valid must hold booleans in shape {tuple(shape)}, got {valid.dtype} in shape "
            f"{valid.shape}"
        )
