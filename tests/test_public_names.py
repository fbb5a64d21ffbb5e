"""The names that ``hsi_diffusion`` exports."""

from __future__ import annotations

import hsi_diffusion


def test_every_public_name_can_be_imported() -> None:
    assert len(hsi_diffusion.__all__) > 30
    for name in hsi_diffusion.__all__:
        assert getattr(hsi_diffusion, name).__name__ == name
