from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from hsi_diffusion.seeding import generator, seeded_layers, stable_seed


def test_seeds_are_the_same_in_every_process() -> None:
    code = "from hsi_diffusion.seeding import stable_seed; print(stable_seed('a', 1, 2))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": number},
        ).stdout.strip()
        for number in ("1", "2")
    }
    assert found == {str(stable_seed("a", 1, 2))}
    assert 0 <= stable_seed("a", 1, 2) < 2**63


def test_places_are_told_apart() -> None:
    places = [("a", 1, 2), ("a", 12), ("a", "1", 2), ("a", 2, 1), ("b", 1, 2), ("a1", 2), ()]
    assert len({stable_seed(*place) for place in places}) == len(places)


def test_generators_of_one_place_draw_the_same() -> None:
    first, second = (torch.randn(5, generator=generator("a", 3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.randn(5, generator=generator("a", 4)))


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_layers_draw_from_the_named_place_and_leave_no_trace(device: str | torch.device) -> None:
    dropout = torch.nn.Dropout(0.5)
    before = torch.get_rng_state()
    outputs = []
    for place in (1, 1, 2):
        with seeded_layers("test", place, device=device):
            outputs.append(dropout(torch.ones(64)))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(place)  # what the global generator holds must not matter
        before = torch.get_rng_state()
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_a_number_of_numpy_is_the_same_seed() -> None:
    assert stable_seed("a", np.int64(3), np.uint8(0)) == stable_seed("a", 3, 0)
    assert stable_seed("a", True) != stable_seed("a", 1)
