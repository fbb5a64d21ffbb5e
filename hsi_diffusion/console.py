"""What people see while a program runs, and how it ends."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from hsi_diffusion.errors import HsiDiffusionError

if TYPE_CHECKING:
    from collections.abc import Callable

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


def find_own_parts() -> None:
    """Let settings name classes in files of the current folder, as ``python -m`` does.

    It is looked through last, so that no file there hides a package; not at all where Python was
    told to leave it out (``python -P``, ``PYTHONSAFEPATH``).
    """
    folder = str(Path.cwd())
    if not sys.flags.safe_path and folder not in sys.path:
        sys.path.append(folder)


def guarded(work: Callable[[], int], *, stopped: str = "stopped") -> int:
    """Turn the library's errors, and those of files, into one line and an exit code.

    Args:
        work: What to do.
        stopped: Message when the user stops it.
    """
    try:
        return work()
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or error}{where}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:  # torch says it with a RuntimeError
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        print(
            "error: there is not enough memory; take smaller batches (micro_batch_size), tiles or "
            f"windows, fewer components or bands, or a smaller scene ({str(error)[:200]})",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # Lightning makes a SystemExit out of it
        print(stopped, file=sys.stderr)
        return 130


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
