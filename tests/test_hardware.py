from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest
import torch
from threadpoolctl import threadpool_info

from hsi_diffusion import hardware
from hsi_diffusion.hardware import (
    describe_hardware,
    fast_bfloat16,
    one_blas_thread,
    resolve_precision,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Pretends to be a processor with these flags."""

    def pretend(*flags: str, name: str = "Abacus 3000") -> None:
        lines = ["processor\t: 0", f"model name\t: {name}", f"flags\t\t: fpu sse {' '.join(flags)}"]
        file = tmp_path / "cpuinfo"
        file.write_text("\n".join(lines), encoding="utf-8")
        monkeypatch.setattr(hardware, "PROCESSORS", file)

    return pretend


@pytest.mark.parametrize(
    ("flags", "fast"),
    [(("avx512_bf16",), True), (("amx_tile", "amx_bf16"), True), (("avx512f", "avx2"), False)],
)
def test_bfloat16_needs_a_processor_that_computes_it(
    processor: Callable[..., None], flags: tuple[str, ...], fast: bool
) -> None:
    processor(*flags)
    assert fast_bfloat16(CPU) is fast
    assert resolve_precision("auto", CPU) == ("bfloat16" if fast else "float32")


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_on_graphics_cards_since_ampere(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], fast: bool
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert fast_bfloat16(CUDA) is fast


def test_other_hardware_computes_in_float32() -> None:
    assert resolve_precision("auto", torch.device("mps")) == "float32"


def test_a_precision_that_is_named_stays(processor: Callable[..., None]) -> None:
    processor("avx512_bf16")
    assert resolve_precision("float32", CPU) == "float32"
    processor()
    assert resolve_precision("bfloat16", CPU) == "bfloat16"


def test_one_line_says_what_it_ran_on(
    processor: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    processor()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda i: f"Card {i}")
    line = describe_hardware()
    assert line.startswith(f"Abacus 3000, {torch.get_num_threads()} threads; Card 0; Card 1; ")
    assert f"Python {platform.python_version()}, torch {torch.__version__}, lightning" in line


def test_without_a_list_of_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hardware, "PROCESSORS", tmp_path / "nothing")
    assert fast_bfloat16(CPU) is False
    expected = platform.processor() or platform.machine()
    assert describe_hardware().startswith(f"{expected}, ")


def test_numpys_threads_stay_out_of_pytorchs_way_while_a_function_works() -> None:
    def threads() -> dict[str, int]:
        found = threadpool_info()
        return {
            one["filepath"]: one["num_threads"]
            for one in found
            if one.get("threading_layer") == "pthreads"
        }

    before = threads(), torch.get_num_threads()
    with one_blas_thread():
        during = threads()
        assert set(during) == set(before[0])
        assert set(during.values()) <= {1}
        assert torch.get_num_threads() == before[1]
    with pytest.raises(ValueError, match="it failed"), one_blas_thread():
        raise ValueError("it failed")
    assert (threads(), torch.get_num_threads()) == before
