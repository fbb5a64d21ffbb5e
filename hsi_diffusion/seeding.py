"""Random numbers from named places: (seed, step, rank), (seed, timestep, draw), ...

Nothing draws from a global generator. Every draw names where it stands, so a run can be repeated,
resumed or spread over processes and sees the same numbers.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


def stable_seed(*parts: int | str) -> int:
    """Mix ``parts`` into one seed of 63 bits, the same in every process and Python version.

    Args:
        *parts: What the draw depends on, such as ``("pretrain-noise", seed, step, rank)``.

    Returns:
        An integer from 0 to 2**63 - 1.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator that starts at the place that ``parts`` name (see :func:`stable_seed`)."""
    import torch  # noqa: PLC0415  (the scenes are NumPy only and must not pay for torch)

    return torch.Generator(device=device).manual_seed(stable_seed(*parts))


@contextmanager
def seeded_layers(*parts: int | str, device: str | torch.device = "cpu") -> Iterator[None]:
    """Let layers that draw from the global generator (dropout) draw from the named place.

    The global generators of the CPU and of ``device`` are as before when the block ends.

    Args:
        *parts: What the draw depends on, see :func:`stable_seed`.
        device: Where the layers run.
    """
    import torch  # noqa: PLC0415

    device = torch.device(device)
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        torch.default_generator.manual_seed(stable_seed(*parts))
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(stable_seed(*parts))
        elif device.type != "cpu":  # otherwise every step would start from the state put back
            torch.get_device_module(device).manual_seed(stable_seed(*parts))
        yield
