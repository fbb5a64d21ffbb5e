"""What a release is made of: addresses, files, and the lowest versions that are claimed."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_readme_and_project_get_the_addresses_of_the_repository(tmp_path: Path) -> None:
    for name in ("README.md", "pyproject.toml"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    script = REPOSITORY / ".github" / "addresses.py"
    subprocess.run([sys.executable, script, "some/where", "v1.2.3"], check=True, cwd=tmp_path)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]+)\)", readme)
    assert all(target.startswith("https://") for target in targets)
    before = re.findall(r"\]\(([^)]+)\)", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    for relative, full in zip(before, targets, strict=True):
        if not relative.startswith("https://"):
            assert full.endswith(f"some/where/{'blob/' * ('raw.' not in full)}v1.2.3/{relative}")
            assert (REPOSITORY / relative).exists()
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"]["Issues"] == "https://github.com/some/where/issues"


def test_the_sdist_holds_what_the_tests_need(tmp_path: Path) -> None:
    code = "import setuptools.build_meta as it, sys; print(it.build_sdist(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=True, cwd=REPOSITORY, capture_output=True
    )
    (file,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(
        ["git", "ls-files"], check=False, capture_output=True, text=True, cwd=REPOSITORY
    ).stdout.split()
    kept = [
        name for name in listed if not name.startswith(".git") and name != ".pre-commit-config.yaml"
    ]
    assert [name for name in kept if name not in held] == []
    assert not [name for name in held if "__pycache__" in name or name.startswith("docs/_made")]


def test_the_lowest_versions_are_those_that_are_claimed() -> None:
    extras = PROJECT["optional-dependencies"]
    claimed = {}
    for text in [*PROJECT["dependencies"], *extras["geo"], *extras["hub"]]:
        requirement = Requirement(text)
        (low,) = [one.version for one in requirement.specifier if one.operator == ">="]
        claimed[requirement.name] = low
    lines = (REPOSITORY / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    listed = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert listed == claimed
