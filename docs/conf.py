"""The site: ``sphinx-build -W -n docs site``, with ``pip install -e ".[docs]"``."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from docutils.nodes import reference

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import made  # noqa: E402  (beside this file)

import hsi_diffusion  # noqa: E402

project = "hsi_diffusion"
author = copyright = "The hsi_diffusion authors"  # noqa: A001  (Sphinx's name)
release = hsi_diffusion.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"hsi_diffusion {release}"
html_theme_options = {"light_css_variables": {"code-font-size": "78%"}}  # 95 columns fit
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests run the notebooks, and their outputs are kept
napoleon_use_ivar = True  # dataclasses name their fields twice otherwise
napoleon_custom_sections = [("Keys", "params_style")]
autodoc_typehints_format = "short"
suppress_warnings = ["ref.python"]  # words such as shape are no references
# references to other libraries are written as code; ours are checked
nitpick_ignore_regex = [(r"py:.*", r"(?!hsi_diffusion\b).*")]


def links(app: Any, name: str, source: list[str]) -> None:
    """Make README the first page, and the repository's links those of the site."""
    text = source[0]
    if name == "index":
        readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
        readme = re.sub(r"\]\((?!https?:|docs/)", "](../", readme).replace("](docs/", "](")
        # a page of the site is named by its title
        text = re.sub(r"\[docs/\w+\.md\]\(", "[](", readme) + text
    text = text.replace("](../notebooks/", "](_made/notebooks/")
    # pages of the repository that are none of the site
    source[0] = re.sub(r"\[([^]]+)\]\(\.\./([^)]+\.md)\)", r"\1 (`\2`)", text)


def plain_text(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are read as text: no bar and no underscore there is markup."""
    lines[:] = [
        line if "`" in line else re.sub(r"(?<!\\)\||(?<=\w)_(?=\W|$)", r"\\\g<0>", line)
        for line in lines
    ]


def is_left_out(
    app: Any, what: str, name: str, value: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out what scikit-learn puts into every estimator."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def our_own(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Find one of our names by its last part; what is ours and on no page is written as code."""
    target = node.get("reftarget", "")
    objects = env.domains.python_domain.objects
    last = target.split(".")[-1]
    found = [name for name in objects if name == target or name.endswith(f".{last}")]
    if len(found) == 1 and node.get("refdomain") == "py":
        entry = objects[found[0]]
        place = app.builder.get_relative_uri(node.get("refdoc"), entry.docname)
        return reference("", "", content, internal=True, refuri=f"{place}#{entry.node_id}")
    return content if target.startswith("hsi_diffusion.") and exists(target) else None


def exists(name: str) -> bool:
    """Whether a dotted name can be imported."""
    module, *rest = name.split(".")
    value = importlib.import_module(module)
    for part in rest:
        module = f"{module}.{part}"
        try:
            value = getattr(value, part, None) or importlib.import_module(module)
        except ImportError:
            # an attribute that only instances have
            return part in getattr(value, "__annotations__", {})
    return True


def setup(app: Any) -> None:
    """Write what is made from the code, and connect the functions above."""
    made.write(DOCS / "_made")
    app.connect("source-read", links)
    app.connect("autodoc-process-docstring", plain_text, priority=600)
    app.connect("autodoc-skip-member", is_left_out)
    app.connect("missing-reference", our_own)
