"""Read foreign files in a process of its own, with limits of time and memory.

The C libraries behind MATLAB, HDF5 and TIFF files trust what they read: one changed byte ends in a
segmentation fault, an endless loop or a request for petabytes. In a process of its own that is an
error like any other. It starts with the first file, in about half a second, and serves all others.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from hsi_diffusion.errors import FileFormatError, HsiDiffusionError
from hsi_diffusion.scenes.messages import receive, send

if sys.platform != "win32":  # where processes have no limits
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

SECONDS = 60
"""Computing time for a file of no size; one second more for each MB."""

MEMORY = 2 << 30
"""Bytes for a file of no size; four more for each byte of the file and of its array."""

DENSEST: Final = 2048
"""More than any compression in use packs (deflate: 1032)."""


def isolated(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function that reads a file run in the process for foreign files.

    Args:
        function: A function of a module whose first argument is the file. Arguments, result and
            errors travel between the processes: see :func:`hsi_diffusion.scenes.messages.send`.

    Returns:
        The same function, which raises FileFormatError where reading crashes, hangs or asks for too
        much memory. Within the process for foreign files it calls ``function`` itself.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _serving:
            return function(*args, **kwargs)
        result: R = _call((function.__module__, function.__qualname__), args, kwargs)
        return result

    return call


def check_claim(path: Path, nbytes: int, *, compressed: bool) -> None:
    """Refuse an array that its file can't hold, before memory is asked for; else allow that memory.

    Args:
        path: The file.
        nbytes: Size of the array by the file's header.
        compressed: Whether the array may take less space in the file. Up to 1 GiB is always
            allowed then: an empty map takes no space at all.

    Raises:
        FileFormatError: If the array is larger than the file can hold, or than all memory.
    """
    size = path.stat().st_size
    held = max(size * DENSEST, 1 << 30) if compressed else size
    if not 0 <= nbytes <= held:
        raise FileFormatError(
            f"can't read {path}: its header claims an array of {nbytes} bytes, which a file of "
            f"{size} bytes can't hold; it is damaged or cut short, get it again"
        )
    allow_memory(nbytes, size)


def allow_memory(nbytes: int, size: int = 0) -> None:
    """Raise the limits of the process for foreign files for an array, and for a file."""
    if _serving:
        _limit(size, nbytes)


def serve() -> None:
    """Answer calls from standard input until it ends; the process for foreign files runs this."""
    global _serving  # noqa: PLW0603
    _serving = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's
    # parsers print: nothing of it may get between the replies
    calls, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 0)
    os.dup2(silent, 1)
    while True:
        try:
            call = receive(calls)
        except EOFError:
            return
        good, value, warned = _answer(call)
        try:
            send(replies, (good, value, warned))
        except TypeError as error:  # what was read is no plain data
            send(replies, (False, error, warned))
        del value  # before the next call allocates


def _answer(call: Any) -> tuple[bool, Any, list[Any]]:
    """Whether a function could do its work, its result or error, and its warnings."""
    global SECONDS, MEMORY  # the limits are the caller's
    (module, name), args, kwargs, folder, SECONDS, MEMORY = call
    good = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            os.chdir(folder)
            path = Path(args[0])
            _limit(path.stat().st_size if path.is_file() else 0, 0)
            value = getattr(importlib.import_module(module), name)(*args, **kwargs)
            good = True
        except MemoryError:
            value = FileFormatError(
                f"can't read {args[0]}: it asks for more memory than its size explains, or than "
                "there is; the file may be damaged, get it again"
            )
        except Exception as error:  # raised again by the caller
            if not isinstance(error, HsiDiffusionError):
                error.add_note(traceback.format_exc())
            value = error
    return good, value, [warning.message for warning in caught]


class _Process:
    """The process for foreign files."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.calls = 0
        paths = os.pathsep.join(sys.path)  # the same packages as here
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each takes memory
        self.process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads, "PYTHONPATH": paths},
        )
        self.stdin, self.stdout = (
            cast("IO[bytes]", pipe) for pipe in (self.process.stdin, self.process.stdout)
        )

    def close(self, patience: float = 10) -> int:
        """End the process, which has ``patience`` seconds to end by itself.

        Returns:
            Its exit code, negative where a signal ended it.
        """
        for pipe in (self.stdin, self.stdout):
            with suppress(OSError, ValueError):
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(patience)
        self.process.kill()
        return self.process.wait()


_serving = False
_process: _Process | None = None
_lock = threading.Lock()


def _call(function: tuple[str, str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function in the process for foreign files, which is started where needed."""
    global _process  # noqa: PLW0603 - one for all files
    call = (function, args, kwargs, str(Path.cwd()), SECONDS, MEMORY)
    with _lock:
        while True:
            if _process is None or _process.owner != os.getpid():  # a fork has none of its own
                _process = _Process()
            current = _process
            try:
                current.calls += 1
                send(current.stdin, call)
                good, value, warned = receive(current.stdout)
                break
            except (EOFError, OSError, ValueError):
                _process = None
                code = current.close(patience=30)  # a busy machine takes its time to bury it
                # it may have been damaged by an earlier file; what hangs would hang again
                if current.calls == 1 or code == -getattr(signal, "SIGXCPU", 0):
                    raise FileFormatError(_told(args[0], code)) from None
            except BaseException:  # such as Ctrl-C: what it is at is of no use any more
                _process = None
                current.close(patience=0)
                raise
    for warning in warned:
        known = isinstance(warning, Warning)
        warnings.warn(warning if known else str(warning), stacklevel=4)
    if not good:
        raise value
    return value


def _told(path: object, code: int) -> str:
    if code == -getattr(signal, "SIGXCPU", 0):
        reason = f"was stopped after {SECONDS} s of computing, and 1 s more for each MB"
    elif code < 0:
        reason = f"ended in a crash of its parser ({signal.Signals(-code).name})"
    else:
        reason = f"ended with exit code {code}"
    return f"can't read {path}: reading it {reason}; the file may be damaged, get it again"


def _limit(size: int, nbytes: int) -> None:
    """Set the limits of this process for a file of ``size`` bytes and an array of ``nbytes``."""
    if sys.platform == "win32":
        return
    seconds = int(time.process_time() + SECONDS + (size + nbytes) / 1e6) + 1
    memory = MEMORY + 4 * (size + nbytes)
    for kind, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory)):
        hard = resource.getrlimit(kind)[1]
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS knows no limit of the address space
            resource.setrlimit(kind, (soft, hard))


def _end() -> None:
    if _process is not None and _process.owner == os.getpid():
        _process.close()


atexit.register(_end)
