"""A small share of what the scripts beside this file try; the rest runs by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz.files import FORMATS, fuzz
from tests.fuzz.inputs import cases, fault, write_files

if TYPE_CHECKING:
    from pathlib import Path

SHARE = 31


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    found = fuzz(name, 100, tmp_path, seed=1)
    assert found["read"]
    assert found["refused"]
    assert not found["foreign exception"]
    assert not found["slow"]


@pytest.mark.filterwarnings("ignore")
def test_bad_input_is_refused_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files()
    every = list(cases())
    assert len(every) > 300
    assert {case: found for case in every[::SHARE] if (found := fault(case))} == {}
