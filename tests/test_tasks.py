"""Tasks that depend on each other, here and on the workers of a Dask cluster."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from distributed import LocalCluster
from threadpoolctl import threadpool_info

from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError
from hsi_diffusion.tasks import Task, run_tasks


def done(file: Path) -> None:
    """Count how often it was done."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{os.getpid()}\n")


def fail(file: Path) -> str:
    done(file)
    return "no reason"


def break_down(file: Path) -> None:
    raise ZeroDivisionError(file.name)


def die_once(file: Path) -> None:
    """Kill the process, as a system does that is out of memory, unless it was here before."""
    first = not file.exists()
    done(file)
    if first:
        os.kill(os.getpid(), signal.SIGKILL)


def die(file: Path) -> None:
    done(file)
    os.kill(os.getpid(), signal.SIGKILL)


def note_threads(file: Path) -> None:
    file.write_text(str(max(pool["num_threads"] for pool in threadpool_info())))


def graph(folder: Path) -> list[Task]:
    return [
        Task("first", partial(done, folder / "first")),
        Task("a", partial(done, folder / "a"), "first", "A"),
        Task("wrong", partial(fail, folder / "wrong")),
        Task("b", partial(done, folder / "b"), "wrong", "B"),
        Task("c", partial(done, folder / "c"), None, "C"),
    ]


EXPECTED = {"first": None, "a": None, "wrong": "no reason", "b": "no reason", "c": None}


def test_here_they_are_done_in_order(tmp_path: Path) -> None:
    said: list[str] = []
    assert run_tasks(graph(tmp_path), say=said.append) == EXPECTED
    assert [line.rsplit("] ", maxsplit=1)[-1] for line in said] == [
        "A",
        "B",
        "  failed and skipped: no reason",
        "C",
    ]
    assert said[0].startswith("[1/3, 0.0 min]")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "c", "first", "wrong"]
    assert (tmp_path / "a").read_text(encoding="utf-8") == f"{os.getpid()}\n"


def test_workers_do_the_same_and_work_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    tasks = [
        *graph(Path()),
        Task("broken", partial(break_down, Path("x")), None, "broken"),
        Task("threads", partial(note_threads, Path("threads"))),
    ]
    errors = run_tasks(tasks, workers=2, say=said.append)
    assert errors == {**EXPECTED, "broken": "ZeroDivisionError: x", "threads": None}
    assert "  failed and skipped: ZeroDivisionError: x" in said
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["a", "c", "first", "threads", "wrong"]
    assert (tmp_path / "a").read_text(encoding="utf-8") != f"{os.getpid()}\n"
    assert int(Path("threads").read_text()) <= max(1, (os.cpu_count() or 1) // 2)


def test_a_worker_that_dies_loses_its_task_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsi_diffusion.tasks.DEATHS", 0)  # Dask gives up at once
    tasks = [
        Task("first", partial(die_once, tmp_path / "first")),
        *(Task(f"{n}", partial(done, tmp_path / f"{n}"), "first", f"{n}") for n in range(6)),
        Task("deadly", partial(die, tmp_path / "deadly"), None, "deadly"),
        *(Task(f"{n}", partial(done, tmp_path / f"{n}"), "first", f"{n}") for n in range(6, 9)),
    ]
    errors = run_tasks(tasks, workers=2, say=lambda _: None)
    assert str(errors.pop("deadly")).startswith("KilledWorker")
    assert set(errors.values()) == {None}
    assert len((tmp_path / "first").read_text(encoding="utf-8").splitlines()) >= 2


def test_any_dask_cluster_will_do(tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        assert run_tasks(graph(tmp_path), scheduler=address, say=lambda _: None) == EXPECTED


def test_a_cluster_that_goes_away_is_reported(tmp_path: Path) -> None:
    cluster = LocalCluster(n_workers=1, processes=False, dashboard_address=None)
    tasks = [Task("slow", partial(time.sleep, 2.0), None, "slow")]
    threading.Timer(0.5, cluster.close).start()
    with pytest.raises(HsiDiffusionError, match="the Dask cluster is gone"):
        run_tasks(tasks, scheduler=cluster.scheduler_address, say=lambda _: None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "must not both be given"),
        ({"scheduler": "nowhere"}, "scheduler must be the address of a running Dask scheduler"),
    ],
)
def test_what_is_no_cluster_is_refused(
    tmp_path: Path, given: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run_tasks(graph(tmp_path), **given)  # type: ignore[arg-type]  # checked at the border
