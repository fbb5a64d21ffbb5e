"""The version stands in one place."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from typing import TYPE_CHECKING

import hsi_diffusion

if TYPE_CHECKING:
    from pathlib import Path


def test_the_package_is_installed_under_its_own_version(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    source = project["tool"]["setuptools"]["dynamic"]["version"]
    assert source == {"attr": "hsi_diffusion.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", hsi_diffusion.__version__)
    assert version("hsi-diffusion") == hsi_diffusion.__version__
