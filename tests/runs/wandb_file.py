"""Reads back what W&B wrote offline, from the ``.wandb`` files themselves."""

from __future__ import annotations

import json
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb.proto import wandb_internal_pb2

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 32768


@dataclass
class Written:
    """What stands in one ``.wandb`` file."""

    id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, tuple[str, set[str]]] = field(default_factory=dict)

    def curve(self, name: str, axis: str) -> list[tuple[float, float]]:
        """(Step, value) of each row of the history that holds both."""
        return [(row[axis], row[name]) for row in self.history if name in row and axis in row]


def read_parts(folder: Path) -> list[Written]:
    """All offline parts in a run's folder that were finished, in the order of their beginning."""
    return [read_finished(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]


def read_finished(path: Path) -> Written:
    """W&B's service closes the file a moment after the run is finished."""
    for _ in range(300):
        written = read_wandb(path)
        if written.exit_code is not None:
            return written
        time.sleep(0.1)
    raise AssertionError(f"{path} is not finished")


def read_wandb(path: Path) -> Written:
    """One ``.wandb`` file: records in LevelDB's log format behind a header of 7 bytes."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    written = Written()
    place, part = 7, b""
    while place + 7 <= len(data):
        rest = BLOCK - place % BLOCK
        if rest < 7:  # no header fits: the block is filled with zeros
            place += rest
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if place > len(data):  # cut short
            break
        if kind in {1, 4}:  # whole, or the last part
            _take(written, wandb_internal_pb2.Record.FromString(part))  # type: ignore[attr-defined]
            part = b""
    return written


def _take(written: Written, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run = record.run
        written.id, written.name = run.run_id, run.display_name
        written.group, written.project = run.run_group, run.project
        written.config |= _items(run.config.update)
    elif kind == "config":
        written.config |= _items(record.config.update)
    elif kind == "history":
        written.history.append(_items(record.history.item))
    elif kind == "summary":
        written.summary |= _items(record.summary.update)
    elif kind == "metric":
        written.axes[record.metric.glob_name or record.metric.name] = record.metric.step_metric
    elif kind == "artifact":
        files = {entry.path for entry in record.artifact.manifest.contents}
        written.artifacts[record.artifact.name] = (record.artifact.type, files)
    elif kind == "exit":
        written.exit_code = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    """Values by name; parts of a nested one have names joined by dots."""
    return {
        ".".join(item.nested_key) if item.nested_key else item.key: json.loads(item.value_json)
        for item in items
    }
