"""A recipe means the same on any number of processes."""

from __future__ import annotations

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.models.pretraining import share_of_step
from hsi_diffusion.recipes import PretrainSettings


@pytest.mark.parametrize(
    ("batch", "micro", "processes", "expected"),
    [
        (256, None, 1, (256, 1)),
        (256, None, 2, (128, 1)),
        (256, 128, 1, (128, 2)),
        (256, 128, 2, (128, 1)),
        (256, 128, 4, (64, 1)),
        (256, 100, 1, (64, 4)),
        (12, 5, 2, (3, 2)),
        (7, 3, 1, (1, 7)),
        (4, 100, 1, (4, 1)),
    ],
)
def test_a_step_is_shared_out_evenly(
    batch: int, micro: int | None, processes: int, expected: tuple[int, int]
) -> None:
    settings = PretrainSettings(batch_size=batch, micro_batch_size=micro)
    share = share_of_step(settings, processes)
    assert share == expected
    assert share.batch_size * share.parts * processes == batch


@pytest.mark.parametrize(("batch", "message"), [(10, "of 3, got 10; give 12"), (2, "give 3")])
def test_what_cannot_be_shared_out_is_named(batch: int, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        share_of_step(PretrainSettings(batch_size=batch), 3)
