"""What README shows is what works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hsi_diffusion.options import PRESETS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


def test_the_first_two_commands_set_up_run_and_test(readme: str) -> None:
    commands = re.findall(r"^pip install .*$", readme, flags=re.MULTILINE)
    assert commands[:2] == [
        "pip install -e . && python experiments/run.py",
        'pip install -e ".[dev]" && pytest',
    ]


def test_the_example_pretrains_and_classifies(readme: str, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[:1]
    assert len(code.splitlines()) <= 25
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = re.search(r"test/overall_accuracy\W+([\d.]+)", done.stdout)
    assert found is not None
    assert float(found.group(1)) > 0.6


def test_pictures_and_files_exist(readme: str, repository: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", readme)
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert [link for link in local if not (repository / link).exists()] == []


def test_presets_take_the_time_that_the_table_says(readme: str, repository: Path) -> None:
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in readme.splitlines()]
    times, method = {}, ""
    for row in rows:
        if len(row) == 5 and row[1] in PRESETS:
            method = row[0] or method
            times[method, row[1]] = row[4].removesuffix(" min")
    assert len(times) >= 3 * len(PRESETS)
    claims = []
    for file in (repository / "experiments" / "configs").glob("*/*.yaml"):
        header = re.match(r"(#.*\n)*", file.read_text(encoding="utf-8"))
        assert header is not None
        claims += [
            ((file.parent.name, file.stem), claim)
            for claim in re.findall(r"([\d.]+) minutes", header[0])
        ]
    script = (repository / "experiments" / "run.py").read_text(encoding="utf-8")
    claims += [
        (("spectraldiff", "quick"), re.findall(r"\(([\d.]+) minutes on 2 cores\)", script)[0])
    ]
    assert len(claims) >= 4
    assert [claim for claim in claims if times[claim[0]] != claim[1]] == []


def test_every_command_line_is_understood(readme: str, repository: Path) -> None:
    lines = re.findall(r"^python (experiments/\w+\.py.*?)$", readme, flags=re.MULTILINE)
    assert lines
    for line in lines:
        script, *given = shlex.split(line.rstrip("\\"))
        shown = subprocess.run(
            [sys.executable, script, "--help"],
            check=True,
            capture_output=True,
            text=True,
            cwd=repository,
        ).stdout
        for argument in given:
            if argument.startswith("--"):
                assert argument.partition("=")[0] in shown, f"{argument} of: {line}"
