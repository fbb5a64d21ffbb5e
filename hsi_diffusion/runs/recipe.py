"""What decides a measurement, as a digest that other machines and later versions give too."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from hsi_diffusion.files import digest_of
from hsi_diffusion.runs.plain import changed

if TYPE_CHECKING:
    from hsi_diffusion.runs.grid import Cell

ELSEWHERE = ("logger", "group", "accelerator", "deterministic", "method", "preset")
"""Settings that are names, or say where a run is followed and how a card computes it."""

LEFT_OUT = ("root", "download", "keep")
"""Settings of sections that say where files lie, and which are kept."""

FILES = {
    "scene": ("cube", "labels"),
    "split": ("kind", "train_mask", "test_mask"),
    "pretrain": ("checkpoint",),
    "features": (),
}
"""Sections that name places, and those of their settings that may hold a file, whose folder is
another one on another machine."""


def recipe(cell: Cell, *, control: bool = False) -> str:
    """Digest of what decides the figures of a cell, or of its control.

    It is made of what differs from the defaults, so that settings which later versions add leave it
    as it is; folders and hardware play no part.

    Args:
        cell: The cell.
        control: Of the same classifier on raw bands, which owes nothing to the pretraining.

    Returns:
        Eight hexadecimal digits.
    """
    plain = {key: value for key, value in changed(cell.settings).items() if key not in ELSEWHERE}
    for section, names in FILES.items():
        if isinstance(plain.get(section), dict):  # a baseline's pretraining is None
            part = {
                key: PurePath(value).name if key in names else value
                for key, value in plain.pop(section).items()
                if key not in LEFT_OUT
            }
            plain |= {section: part} if part else {}
    if control:
        unused: tuple[str, ...] = ("pretrain", "features")
    elif cell.settings.pretrain is None:  # the raw bands are then the method itself
        unused = ("features",)
    else:
        plain["pretraining_seed"] = cell.pretraining.seed
        unused = ("raw_bands",)
    decisive: dict[str, Any] = {key: plain[key] for key in plain if key not in unused}
    return digest_of(decisive)[:8]
