"""Writing files so that a crash leaves either the old or the new one, and what names them."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import HsiDiffusionError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is renamed to ``path``.

    The temporary name keeps the suffix, because many writers decide the format by it. Whatever
    happens inside the block, no partly written ``path`` and no temporary file stays behind.

    Args:
        path: The file to write. Missing parent folders are made.

    Yields:
        The path to write to.

    Raises:
        OutputError: It can't be written, such as on a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    # not mkstemp, whose files are private: the umask that widens them again belongs to all threads
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:  # a full disk names no file
        if error.filename is not None or isinstance(error, HsiDiffusionError):
            raise
        reason = (error.strerror or str(error)).splitlines()[0]  # HDF5 takes several
        raise OutputError(
            f"can't write {path}: {reason}; free some space, or write elsewhere"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def written_name(name: str) -> str:
    """The name of the file that a temporary of :func:`atomic_path` is for; others as they are."""
    temporary = re.fullmatch(r"\.(.+)-[0-9a-f]{16}(\.\w+)?", name)
    return name if temporary is None else temporary[1] + (temporary[2] or "")


def remove_temporaries(path: str | Path) -> None:
    """Remove what killed processes were writing; for where nobody else is writing.

    Args:
        path: The file that they were writing, or a folder with everything below it.
    """
    path = Path(path)
    near = path.rglob(".*") if path.is_dir() else path.parent.glob(f".{glob.escape(path.stem)}-*")
    for one in [one for one in near if written_name(one.name) != one.name]:
        if one.is_dir():  # of a model
            shutil.rmtree(one)
        else:
            one.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest_of(plain: Mapping[str, Any]) -> str:
    """SHA-256 of plain data in hexadecimal digits, whatever the order of its keys.

    Args:
        plain: What JSON can say. Tuples count as lists.
    """
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def plain_data(value: Any) -> Any:
    """A value as strict JSON knows it.

    Numbers and arrays of NumPy become plain ones, NaN and infinity None, and objects what they
    print.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else repr(value)
