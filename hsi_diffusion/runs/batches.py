"""How the patches of a pretraining step are shared out: among processes, and one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from hsi_diffusion.runs.settings import PretrainSettings


class Share(NamedTuple):
    """What one process does of an optimiser step.

    Attributes:
        batch_size: Patches that it computes at once.
        parts: So many times, with one optimiser step for all of them (gradient accumulation).
    """

    batch_size: int
    parts: int


def share_of_step(settings: PretrainSettings, processes: int) -> Share:
    """The share of each process, so that a recipe is the same on any number of them.

    Args:
        settings: With the patches of a step, and how many of them fit into a card at once.
        processes: How many pretrain together.

    Returns:
        As few parts of equal size as ``micro_batch_size`` allows.

    Raises:
        ConfigurationError: A size is below 1, or the patches can't be shared out evenly.
    """
    for name in ("batch_size", "micro_batch_size"):
        size = getattr(settings, name)
        if size is not None and size < 1:
            raise ConfigurationError(f"pretrain.{name} must be at least 1, got {size}")
    own, left_over = divmod(settings.batch_size, processes)
    if left_over:
        raise ConfigurationError(
            f"pretrain.batch_size counts the patches of all {processes} processes together and "
            f"must be a multiple of {processes}, got {settings.batch_size}; give "
            f"{processes * (own + 1)}, or other --devices"
        )
    largest = min(own, settings.micro_batch_size or own)
    parts = next(n for n in range(1, own + 1) if own % n == 0 and own // n <= largest)
    return Share(own // parts, parts)
