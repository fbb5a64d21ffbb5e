"""Random numbers from named places: (seed, step, batch), (seed, timestep, draw), ...

Nothing draws from a global generator. Every draw names where it stands, so a run can be repeated,
resumed or spread over processes and sees the same numbers.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from operator import index
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor


def stable_seed(*parts: SupportsIndex | str) -> int:
    """Mix ``parts`` into one seed of 63 bits, the same in every process and Python version.

    Args:
        *parts: What the draw depends on, such as ``("pretrain-noise", seed, step, rank)``.

    Returns:
        An integer from 0 to 2**63 - 1.
    """
    # one of NumPy's is the same seed as Python's
    plain = [part if isinstance(part, str | bool) else index(part) for part in parts]
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in plain)
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator that starts at the place that ``parts`` name (see :func:`stable_seed`)."""
    import torch  # noqa: PLC0415  (the scenes are NumPy only and must not pay for torch)

    return torch.Generator(device=device).manual_seed(stable_seed(*parts))


def joint_batch(images: Tensor, rank: int, processes: int) -> Tensor:
    """The batch of all processes together, in which this process knows its own patches only.

    What is drawn for it does not depend on how many processes share a step: the samplers deal the
    items of a batch out one by one, so that row ``i`` of a process is row ``i * processes + rank``.

    Args:
        images: Patches of this process, shape (B, ...).
        rank: Number of this process.
        processes: How many there are.

    Returns:
        Shape (B * processes, ...), 0 where another process has the patch; see :func:`own_rows`.
    """
    if processes == 1:
        return images
    joint = images.new_zeros((len(images), processes, *images.shape[1:]))
    joint[:, rank] = images
    return joint.flatten(0, 1)


def own_rows(values: Tensor, rank: int, processes: int) -> Tensor:
    """This process's rows of what was drawn for a :func:`joint_batch`, or for several in a row."""
    return values[rank::processes]


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
