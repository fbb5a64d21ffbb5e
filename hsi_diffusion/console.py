"""What people see while a script runs."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent

_format_others = warnings.formatwarning


def quieten() -> None:
    """Keep what a reader of the console can't use from between the lines that matter.

    For scripts, not for libraries: it changes the filters of the whole process. Called after the
    import of Lightning, which sets its own level.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*is deprecated",  # Lightning's own, once per training
        "The number of training batches",
        "Checkpoint directory .* exists and is not empty",
        "Found .* module.* in eval mode",  # the average of the weights is never in training mode
        ".*does not have many workers",  # gathering patches needs none
    ):
        warnings.filterwarnings("ignore", message)
    warnings.formatwarning = _format_warning


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """What the library warns of as a line for its user; other warnings as ever."""
    if Path(filename).is_relative_to(PACKAGE):
        return f"warning: {message}\n"
    return _format_others(message, category, filename, lineno, line)
