"""Weights of the public SpectralDiff release, read into our U-Net."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hsi_diffusion.denoisers.unet3d import BandPadding, UNet3D
from hsi_diffusion.errors import CheckpointError, reason

if TYPE_CHECKING:
    from pathlib import Path

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the weights beside other things."""

PREFIXES = r"^(module\.|_orig_mod\.)+"
"""What ``DataParallel`` and ``torch.compile(net)`` put before every name."""


def load_published_unet3d(
    path: str | Path, num_bands: int, *, band_padding: BandPadding = "repeat"
) -> UNet3D:
    """Read weights of the public SpectralDiff release, or of a network of its shape.

    Width, depth and time embedding follow from the weights. The bands don't: a 3-D convolution
    fits any number of them.

    Args:
        path: A file of ``torch.save`` that holds a state dict, or a dict with one inside under
            "state_dict", "model_state_dict" or "model". It is read with ``weights_only=True``.
        num_bands: Bands of the images that the network will see.
        band_padding: How they are filled up, see :class:`UNet3D`.

    Returns:
        The network, on the CPU and in eval mode.

    Raises:
        CheckpointError: The file holds something else, or weights that don't fit together; the
            message names them.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file makes almost anything of itself
        raise CheckpointError(
            f"{path} can't be read as a file of weights (with weights_only=True); save the "
            f"network's state_dict() alone with torch.save and try again. The reason: "
            f"{reason(error)}"
        ) from error
    try:
        state = _state_dict(content)
        network = _network_of_shape(state, num_bands, band_padding)
        network.load_state_dict(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except RuntimeError as error:
        text = textwrap.shorten(str(error), 300)  # it names every weight
        raise CheckpointError(f"{path}: the weights don't fit the 3-D U-Net ({text})") from error
    return network.eval()


def _state_dict(content: object) -> dict[str, Tensor]:
    """The state dict inside what a training script saved, with our names."""
    while isinstance(content, Mapping) and (found := [key for key in WRAPPERS if key in content]):
        content = content[found[0]]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"expected a state dict (names to tensors), got {type(content).__name__}"
            f"{' without entries' if isinstance(content, Mapping) else ''}"
        )
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            "expected a state dict (names to tensors), or one under "
            f"{', '.join(WRAPPERS)}; but these entries are no tensors: "
            f"{textwrap.shorten(', '.join(map(str, others)), 300)}"
        )
    return {re.sub(PREFIXES, "", str(name)): value for name, value in content.items()}


def _network_of_shape(
    state: Mapping[str, Tensor], num_bands: int, band_padding: BandPadding
) -> UNet3D:
    """A fresh network with the width, depth and time embedding that the weights show."""
    needed = ("conv0.weight", "time_mlp.1.weight", "downs.0.conv1.weight")
    missing = [name for name in needed if name not in state]
    if missing:
        raise CheckpointError(
            f"these are no weights of the 3-D U-Net: {', '.join(missing)} missing among "
            f"{len(state)} entries, which are {textwrap.shorten(', '.join(state), 300)}"
        )
    return UNet3D(
        num_bands,
        base_channels=state["conv0.weight"].shape[0],
        depth=len({name.split(".")[1] for name in state if name.startswith("downs.")}),
        time_channels=state["time_mlp.1.weight"].shape[0],
        band_padding=band_padding,
    )
