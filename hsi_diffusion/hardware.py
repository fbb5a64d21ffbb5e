"""What machine a run stands on, and which number format is fast there."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Precision = Literal["float32", "bfloat16"]
"""Number format of a computation."""

AnyPrecision = Literal["auto", "float32", "bfloat16"]
"""``"auto"`` is bfloat16 where the hardware computes it, float32 elsewhere."""


PROCESSORS = Path("/proc/cpuinfo")
"""What Linux knows of the processors."""


def describe_hardware() -> str:
    """One line for reports: processor, cores, graphics cards, versions."""
    processor = _cpu_says("model name") or platform.processor() or platform.machine()
    parts = [f"{processor}, {torch.get_num_threads()} threads"]
    parts += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{'; '.join(parts)}; {versions}, lightning {version('lightning')}"


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed by the hardware, and so faster than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # oneDNN emulates bfloat16 on older processors, slower than float32; torch names no public
        # function for that question
        flags = _cpu_says("flags").split()
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False


def resolve_precision(precision: AnyPrecision, device: torch.device) -> Precision:
    """``"auto"`` as ``"bfloat16"`` or ``"float32"``, whichever is faster on ``device``."""
    if precision != "auto":
        return precision
    return "bfloat16" if fast_bfloat16(device) else "float32"


def one_blas_thread() -> AbstractContextManager[object]:
    """Let NumPy and SciPy multiply matrices with one thread in a ``with`` block.

    The threads of their OpenBLAS are no others' (OpenMP's, as PyTorch has them), and both wait for
    the next product by spinning. Where both are used in turn, each takes the cores from the other.
    """
    limits: AbstractContextManager[object] = (
        ThreadpoolController().select(threading_layer="pthreads").limit(limits=1)
    )
    return limits


def _cpu_says(name: str) -> str:
    """What is known of the first processor by this name; empty: nothing."""
    text = PROCESSORS.read_text(encoding="utf-8") if PROCESSORS.is_file() else ""
    said = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(name))
    return next(said, "")
