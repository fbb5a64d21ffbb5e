"""Tasks that depend on each other: here in order, or on the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Client, Future

DEATHS = 1
"""Workers that may die under a task before it counts as failed."""

ALLOCATION = {"MALLOC_TRIM_THRESHOLD_": 2**27, "MALLOC_MMAP_THRESHOLD_": 2**25}
"""What glibc comes to by itself. Dask's own 64 KiB give every array's memory back at once, and
the kernel clears it again for the next: computing took twice as long."""

_one_at_a_time = threading.Lock()
"""Seeds and the working directory belong to a process, so that it does one task at a time, also
where a worker has several threads."""


@dataclass(frozen=True)
class Task:
    """A piece of work.

    Attributes:
        key: Its name, one of its own.
        work: Does it, and says why it failed, or None. What it finds done already it leaves as it
            is, and what it finds half done it goes on with: a task whose worker died is done again.
            On a cluster it travels to another process, so it must be picklable.
        after: Key of a task before this one in the list that must have succeeded; None: of none.
        title: What to say of it; None: nothing.
    """

    key: str
    work: Callable[[], str | None]
    after: str | None = None
    title: str | None = None


def run_tasks(
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, str | None]:
    """Do every task; a failure is reported, and only what depends on it is skipped.

    A worker that dies loses its task and no other: the task goes to another worker, and is given up
    when :data:`DEATHS` more workers died with it, the last of them with nothing else to do.

    Args:
        tasks: What to do; a task stands behind the one that it depends on.
        workers: Processes to start on this machine, which share its cores and are forked where the
            system can; None: work in this process, in order.
        scheduler: Address of the scheduler of a Dask cluster, such as "tcp://node1:8786", whose
            workers see the same files under the same paths; None: none.
        say: Called with a line of text for every task that has a title.

    Returns:
        For every key why the task failed, or None.

    Raises:
        ConfigurationError: ``workers`` is below 1, both are given, or no scheduler answers.
        HsiDiffusionError: The cluster went away.
    """
    if workers is not None and scheduler is not None:
        raise ConfigurationError(
            "workers and scheduler must not both be given (--workers starts a cluster on this "
            "machine, --scheduler uses one that runs): leave one out"
        )
    if workers is not None and workers < 1:
        raise ConfigurationError(f"workers must be at least 1, got {workers}")
    report = _reporter(sum(task.title is not None for task in tasks), say)
    if not tasks or (workers is None and scheduler is None):
        return _run_here(tasks, report)
    with _client(tasks, workers, scheduler) as client:
        say(f"Dask workers: {len(client.nthreads())}")
        threads = None if workers is None else max(1, (os.cpu_count() or 1) // workers)
        return _run_there(tasks, client, threads, report)


def _reporter(total: int, say: Callable[[str], None]) -> Callable[..., None]:
    """Make a function that says which of ``total`` tasks this is, or why it failed."""
    numbers, start = itertools.count(1), time.monotonic()

    def report(task: Task, error: str | None = None) -> None:
        passed = (time.monotonic() - start) / 60
        if task.title is not None and error is not None:
            say(f"  failed and skipped: {error}")
        elif task.title is not None:
            say(f"[{next(numbers)}/{total}, {passed:.1f} min] {task.title}")

    return report


def _run_here(tasks: Sequence[Task], report: Callable[..., None]) -> dict[str, str | None]:
    errors: dict[str, str | None] = {}
    for task in tasks:
        report(task)
        error = None if task.after is None else errors[task.after]
        errors[task.key] = error = task.work() if error is None else error
        if error is not None:
            report(task, error)
    return errors


def _run_there(
    tasks: Sequence[Task], client: Client, threads: int | None, report: Callable[..., None]
) -> dict[str, str | None]:
    # a second to load, for those who use them
    from distributed import CancelledError, KilledWorker, as_completed  # noqa: PLC0415

    futures: dict[str, Future[Any]] = {}
    errors: dict[str, str | None] = {}

    def submit(task: Task) -> Future[Any]:
        before = None if task.after is None else futures[task.after]
        given = (task.work, Path.cwd(), threads, before)
        # pure=False: a name of its own, for Dask takes a name that it knows for work that is done
        futures[task.key] = client.submit(_work_there, *given, pure=False)
        return futures[task.key]

    def finish(task: Task, future: Future[Any]) -> None:
        error = future.exception()
        errors[task.key] = future.result() if error is None else f"{type(error).__name__}: {error}"
        report(task)
        if errors[task.key] is not None:
            report(task, errors[task.key])

    task_of = {submit(task): task for task in tasks}
    killed = []
    try:
        for future in as_completed(list(task_of)):
            if isinstance(future.exception(), KilledWorker):
                killed.append(task_of[future])
            else:
                finish(task_of[future], future)
        # a worker that dies takes along what waits there, so that Dask may blame a task that
        # killed none: once more, each by itself
        for task in sorted(killed, key=tasks.index):
            finish(task, submit(task))
    except CancelledError as error:
        raise HsiDiffusionError(
            "the Dask cluster is gone; start one again, and the same command goes on"
        ) from error
    return errors


def _work_there(
    work: Callable[[], str | None], folder: Path, threads: int | None, before: str | None
) -> str | None:
    """Do a task on a worker, in the folder where the command was started, with so many threads."""
    if before is not None:
        return before
    with _one_at_a_time, contextlib.chdir(folder), threadpool_limits(limits=threads):
        return work()


@contextlib.contextmanager
def _client(tasks: Sequence[Task], workers: int | None, scheduler: str | None) -> Iterator[Client]:
    """Connect to a cluster; one of this machine lives as long as the block."""
    import dask  # noqa: PLC0415  (a second to load, for those who use it)
    from distributed import Client, LocalCluster  # noqa: PLC0415
    from distributed.utils import get_mp_context  # noqa: PLC0415

    if scheduler is not None:
        try:
            client = Client(scheduler)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"scheduler must be the address of a running Dask scheduler, such as "
                f"tcp://node1:8786, but none answers at {scheduler!r}: {error}"
            ) from error
        with client:
            yield client
        return
    settings: dict[str, Any] = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.nanny.pre-spawn-environ": ALLOCATION,
    }
    if "forkserver" in multiprocessing.get_all_start_methods():
        settings["distributed.worker.multiprocessing-method"] = "forkserver"
    with dask.config.set(settings):
        # workers are forked from a process that has imported what the tasks need: that takes many
        # times as long as a fork, and its memory is shared (Dask sets a list of its own once)
        get_mp_context().set_forkserver_preload(["distributed", *_modules(tasks)])
        local = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            # no limit of memory: a task may need more than its part, and Dask would kill its worker
            memory_limit=None,
            dashboard_address=None,
            silence_logs="ERROR",
            # as it is now: the process that they are forked from may be older
            env=dict(os.environ),
        )
        with local as cluster, Client(cluster) as client:
            yield client


def _modules(tasks: Sequence[Task]) -> list[str]:
    """Where the tasks' work stands."""
    works = [task.work for task in tasks]
    return sorted({getattr(work, "func", work).__module__ for work in works} - {"__main__"})
