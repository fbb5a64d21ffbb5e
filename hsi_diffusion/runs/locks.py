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

    The lock is the file system's, so that a process which is killed lets go of it. Where there are
    none, newer versions of filelock keep a marker file with the number of the process instead, and
    older ones keep nobody away.

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
    except NotImplementedError:  # filelock's word for a file system that has none
        yield True
        return
    try:
        yield True
    finally:
        lock.release()
