"""How far colours are apart, for protanopes, deuteranopes and everybody else."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from skimage.color import rgb2lab

if TYPE_CHECKING:
    from collections.abc import Sequence

SEEN = {
    "trichromat": np.eye(3),
    # Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009: severity 1.0, on linear RGB
    "protanope": np.array([
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ]),
    "deuteranope": np.array([
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ]),
}  # fmt: skip


def smallest_distance(colours: Sequence[tuple[int, int, int]], vision: str) -> float:
    """Smallest distance in CIE Lab of any two colours (sRGB, 0..255); 2.3 is just noticeable."""
    encoded = np.array(colours) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SEEN[vision].T, 0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(encoded[:, None])[:, 0]
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(lab, 2))
