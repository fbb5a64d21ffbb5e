"""The files of a saved model: JSON, safetensors, and estimators in a format without pickles."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from hsi_diffusion.errors import CheckpointError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

FORMAT = 1
"""Raised when a model of an older library can't be read any more."""

PLAIN = "model.json"
WEIGHTS = "model.safetensors"


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder for the files of a model, which then takes the place of ``folder``.

    Whatever happens inside the block, there is a whole model afterwards or the one before.

    Raises:
        OutputExistsError: There is something else than a model.
    """
    folder = folder.resolve()  # where a link leads
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(8)}")
    temporary.mkdir()
    try:
        yield temporary
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_files(folder: Path, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write plain data and tensors into a model's folder."""
    # safetensors wants memory of its own for every tensor
    own = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    # not save_file, whose files are for their owner only
    (folder / WEIGHTS).write_bytes(save(own))
    text = json.dumps({"format": FORMAT, **plain}, indent=2)
    (folder / PLAIN).write_text(text, encoding="utf-8")


def read_files(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Plain data and tensors of a model's folder.

    Raises:
        CheckpointError: It is no such folder, is damaged, or is one of a newer library.
    """
    try:
        plain = json.loads((folder / PLAIN).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder} is no saved model: there is no {Path(error.filename or PLAIN).name}; give "
            "the folder model/ of a run, or one that SceneClassifier.save wrote"
        ) from error
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"the saved model in {folder} is damaged: {error}") from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        found = plain.get("format") if isinstance(plain, dict) else plain
        raise CheckpointError(
            f"{folder / PLAIN} must say format {FORMAT}, got {found!r}; use the version of the "
            "library that wrote it"
        )
    return plain, tensors


def _check_replaceable(folder: Path) -> None:
    """Refuse what holds anything but a model."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputExistsError(f"{folder} is a file; name a folder for the model")
    found = {path.name for path in folder.iterdir()}
    others = sorted(name for name in found if not _OURS.fullmatch(name))
    if others:
        raise OutputExistsError(
            f"{folder} holds {others[0]}, which is no part of a saved model; name another folder"
        )
    if found and PLAIN not in found:
        raise OutputExistsError(
            f"{folder} holds files, but no {PLAIN}, so it is no saved model; name another folder"
        )


_OURS = re.compile(rf"{re.escape(PLAIN)}|{re.escape(WEIGHTS)}|estimator-\d+\.skops")


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a whole folder to its place; the earlier one goes when the new one is there."""
    earlier = temporary.with_name(f"{temporary.name}-earlier")
    if folder.exists():
        folder.replace(earlier)
    try:
        temporary.replace(folder)
    except BaseException:
        if earlier.exists():
            earlier.replace(folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
