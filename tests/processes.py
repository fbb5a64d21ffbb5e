"""Python in processes of its own, forked from one that has imported the library.

The imports take ten seconds of computing, a fork none. What a fresh interpreter does, such as what
it imports, is tested with ``subprocess``.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from threadpoolctl import threadpool_limits

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.context import ForkServerProcess

CONTEXT = multiprocessing.get_context("forkserver")
IMPORTED = [
    "distributed",
    "hsi_diffusion.benchmarks.grid",
    "hsi_diffusion.models.mapping",
    "hsi_diffusion.cli",
]


def start(
    work: Callable[..., object], *given: Any, environ: Mapping[str, str] | None = None
) -> ForkServerProcess:
    """Call a function of a module in a process; its exit code is 0 if it returns None.

    Args:
        work: The function.
        *given: Its arguments.
        environ: Variables beside those of this process.
    """
    CONTEXT.set_forkserver_preload(IMPORTED)
    with patch.dict(os.environ):
        # a forked process ends without telling coverage what it ran, so nothing counts there
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
        known = {**os.environ, **(environ or {})}
        process = CONTEXT.Process(target=_call, args=(work, given, known))
        process.start()
    return process


def environments(count: int) -> list[dict[str, str]]:
    """What torchrun would tell each of so many processes, by a port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    return [{**shared, "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)} for rank in range(count)]


def together(work: Callable[..., object], count: int, *given: Any) -> None:
    """Call a function with rank and arguments in so many processes, which all must end well.

    They find what torchrun would tell them in their environment.
    """
    running = [
        start(work, rank, *given, environ=told) for rank, told in enumerate(environments(count))
    ]
    try:
        for process in running:
            process.join(timeout=240)
        assert [process.exitcode for process in running] == [0] * count
    finally:
        for process in running:
            process.kill()


def start_python(
    arguments: Sequence[str], *, cwd: Path = REPOSITORY, out: Path | None = None
) -> ForkServerProcess:
    """As ``python ARGUMENTS``: ``-c CODE``, ``-m MODULE`` or a script, with its own arguments.

    Args:
        arguments: What stands behind ``python``.
        cwd: Where it works.
        out: A folder that takes its ``stdout`` and ``stderr``.
    """
    return start(_python, [os.fspath(one) for one in arguments], cwd, out)


def run_python(
    arguments: Sequence[str], *, cwd: Path = REPOSITORY, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """The same to its end, with what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        process = start_python(arguments, cwd=cwd, out=Path(folder))
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{arguments} took more than {timeout} s")
        said = [Path(folder, name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def _call(work: Callable[..., object], given: Any, environ: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        sys.exit(work(*given))  # type: ignore[arg-type]


def _python(arguments: list[str], cwd: Path, out: Path | None) -> None:
    os.chdir(cwd)
    if out is not None:
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(out / name, os.O_WRONLY | os.O_CREAT), number)
    match arguments:
        case "-c", code, *rest:
            sys.argv = ["-c", *rest]
            exec(code, {"__name__": "__main__"})
        case "-m", module, *rest:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case script, *rest:
            sys.argv = [script, *rest]
            runpy.run_path(script, run_name="__main__")
