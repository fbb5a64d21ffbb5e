"""One process at a time, where several share a folder."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def only_one(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Keep others away from what a file stands for, as long as this process lives.

    A process that is killed lets go of it. On a file system without locks nobody is kept away.

    Args:
        path: The file; it is made, and stays.
        wait: Until another process is done with it; False: give up at once.

    Yields:
        Whether nobody else is at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    except NotImplementedError:  # such as of a cluster that was mounted without them
        yield True
        return
    try:
        yield True
    finally:
        lock.release()
