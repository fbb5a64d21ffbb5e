"""The site is built without a warning, and holds every public name once."""

from __future__ import annotations

import zlib
from collections import Counter
from typing import TYPE_CHECKING

import hsi_diffusion
from tests.processes import run_python

if TYPE_CHECKING:
    from pathlib import Path


def test_built_without_a_warning_with_every_public_name_once(tmp_path: Path) -> None:
    strict = ["-W", "-n", "--keep-going", "-q"]
    quick = ["-b", "json"]  # pages without a theme, which takes its time for each
    folders = ["docs", str(tmp_path / "site"), "-d", str(tmp_path / "trees")]
    done = run_python(["-m", "sphinx", *strict, *quick, *folders])
    assert done.returncode == 0, done.stderr[-3000:]
    raw = (tmp_path / "site" / "objects.inv").read_bytes()
    lines = zlib.decompress(raw.split(b"\n", 4)[4]).decode().splitlines()
    objects = [line.split()[0] for line in lines if " py:" in line]
    found = Counter(name.split(".")[-1] for name in objects if name.count(".") == 2)
    assert {name: found[name] for name in hsi_diffusion.__all__ if found[name] != 1} == {}
    page = (tmp_path / "site" / "_made" / "settings.fjson").read_text(encoding="utf-8")
    assert all(name in page for name in ("pretrain.contrast.instance", "classifier.estimator"))
