"""Write the repository's address into README and pyproject.toml, before a release is built.

In the repository links are relative, so that they work in a fork and on a branch; on PyPI only
absolute ones work. Usage: ``python .github/addresses.py OWNER/NAME TAG``
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def absolute(readme: str, repository: str, tag: str) -> str:
    """README with the addresses of files and pictures."""
    github = f"https://github.com/{repository}/blob/{tag}/"
    pictures = f"https://raw.githubusercontent.com/{repository}/{tag}/"
    readme = re.sub(r"(!\[[^]]*\]\()(?!https?:|#)", rf"\g<1>{pictures}", readme)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)", rf"\g<1>{github}", readme)


def addresses(repository: str) -> str:
    """The table of addresses in pyproject.toml."""
    owner, name = repository.split("/")
    here = f"https://github.com/{repository}"
    return (
        f'[project.urls]\nDocumentation = "https://{owner}.github.io/{name}/"\n'
        f'Repository = "{here}"\nIssues = "{here}/issues"\n'
        f'Changelog = "{here}/blob/main/CHANGELOG.md"\n\n'
    )


def main(repository: str, tag: str) -> None:
    """Rewrite both files."""
    readme, project = Path("README.md"), Path("pyproject.toml")
    text = absolute(readme.read_text(encoding="utf-8"), repository, tag)
    readme.write_text(text, encoding="utf-8")
    text = project.read_text(encoding="utf-8")
    scripts = "[project.scripts]"
    project.write_text(text.replace(scripts, addresses(repository) + scripts), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
