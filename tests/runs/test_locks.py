"""One process at a time, also where the other one is killed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from unittest.mock import Mock

from hsi_diffusion.runs.locks import only_one

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

OTHER = """
import sys, time
from pathlib import Path
from hsi_diffusion.runs.locks import only_one
with only_one(Path(sys.argv[1])) as alone:
    print(alone, flush=True)
    time.sleep(60)
"""


def test_another_process_is_kept_away_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cell.lock"
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    with other.stdout:
        assert other.stdout.readline() == "True\n"
        with only_one(path, wait=False) as alone:
            assert not alone
        other.kill()
        other.wait()
    with only_one(path) as alone:
        assert alone
    with only_one(path, wait=False) as alone:
        assert alone


def test_a_file_system_without_locks_keeps_nobody_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filelock.FileLock.acquire", Mock(side_effect=NotImplementedError))
    with only_one(tmp_path / "cell.lock") as alone:
        assert alone
