"""The folder of a run: made for a new one, emptied of an earlier one only where that is safe."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hsi_diffusion.errors import ConfigurationError, OutputError, OutputExistsError
from hsi_diffusion.files import written_name
from hsi_diffusion.recipes import read_yaml
from hsi_diffusion.reports import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hsi_diffusion.runs.settings import RunSettings

BEGUN: Final = frozenset({"config.yaml", "logs", "wandb"})
"""What a run writes before it has computed anything."""

CONTENT: Final = BEGUN | {
    "checkpoints",
    "features",
    "model",
    "metrics.json",
    "report.md",
    "split.npz",
    "classification_map.npy",
    "control_map.npy",
    *IMAGES.values(),
    *(str(Path(name).with_suffix(".pdf")) for name in IMAGES.values()),
}
"""Everything that a run writes, but for the maps of several images."""

FOLLOWED: Final = frozenset({"logger", "group", "figures"})
"""Settings of what is logged and drawn, which do not change results."""


def check_output(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output folder that would mix a run into other files, or lose any.

    Nothing is written or removed.

    Args:
        folder: Where the run's files shall go.
        overwrite: An earlier run there may be replaced.
        inputs: Files and folders that the new run reads.

    Raises:
        OutputExistsError: The folder holds files that must stay.
        OutputError: It can't be written.
    """
    check_writable(folder)
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not there or there == {"wandb"}:
        return
    if not overwrite:
        unfinished = "config.yaml" in there and "metrics.json" not in there
        kept = f", or go on with the run there, which did not finish, with --resume {folder}"
        raise OutputExistsError(
            f"the output folder {folder} is not empty; name another one with --out, or replace "
            f"the run in it with --overwrite{kept if unfinished else ''}"
        )
    if "config.yaml" not in there:
        raise OutputExistsError(
            f"the output folder {folder} holds files but no config.yaml, so it is not that of "
            "a run; --overwrite replaces only runs: name another folder with --out"
        )
    if foreign := sorted(name for name in there if not _is_content(name)):
        raise OutputExistsError(
            f"the output folder {folder} holds what no run writes ({', '.join(foreign[:5])}), and "
            "--overwrite replaces only runs: move it away, or name another folder with --out"
        )
    for path in inputs:
        if path.resolve().is_relative_to(folder.resolve()):
            raise OutputExistsError(
                f"{path} lies in the output folder {folder}, and --overwrite would remove it "
                "before it is used: name another folder with --out"
            )


def check_writable(folder: Path) -> None:
    """Refuse an output folder that is a file, or can't be made or written.

    Raises:
        OutputExistsError: It is a file.
        OutputError: It can't be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"the output folder {folder} is a file; name a folder (--out)")
    above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        why = "is closed (you may not write there)" if above.is_dir() else "is not a folder"
        raise OutputError(
            f"can't make the output folder {folder}: {above} {why}; name another one with --out"
        )


def check_resumable(folder: Path, settings: RunSettings) -> None:
    """Refuse to go on with a run that is finished, is none, or had other settings.

    Raises:
        OutputError: There is nothing to go on with.
        ConfigurationError: The run there had other settings. A checkpoint may be spelled in another
            way, as long as it is the same file, and the run may be followed elsewhere.
    """
    config = folder / "config.yaml"
    if not config.is_file():
        raise OutputError(f"{folder} holds no config.yaml, so there is no run to go on with")
    if (folder / "metrics.json").is_file():
        raise OutputError(
            f"the run in {folder} is finished; to repeat it, give --config {config} and another "
            "--out"
        )
    before, now = _resolved(read_yaml(config)), _resolved(settings.to_dict())
    if changed := list(_differences(before, now)):
        raise ConfigurationError(
            f"the run in {folder} had other settings ({', '.join(changed)}); go on with it as it "
            "is, or start another one in another folder"
        )


def prepare_output(folder: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Make the output folder, and remove an earlier run there if :func:`check_output` allows it.

    What W&B measured stays, for it may not have been synchronised yet; the new run is another one
    there.
    """
    check_output(folder, overwrite=overwrite, inputs=inputs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "wandb" / "run.id").unlink(missing_ok=True)
        for path in folder.iterdir():  # the folder itself may be a link
            if path.name == "wandb":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise OutputError(
            f"can't make the output folder {folder}: {error.strerror or error}; name another one "
            "with --out"
        ) from error


def remove_if_only_begun(folder: Path) -> None:
    """Remove the folder of this run, which failed before it had computed anything.

    Only for a folder that :func:`prepare_output` has made or emptied: what is in it is the run's.
    Runs of W&B stay: they may be those of an earlier run that this one has replaced.
    """
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if "config.yaml" not in there or not there <= BEGUN:
        return
    if not any(folder.glob("wandb/*run-*")):
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path.is_dir() and path.name != "wandb":
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file():
            path.unlink()


def _resolved(plain: dict[str, Any]) -> dict[str, Any]:
    """What decides a run's result, with the checkpoint's one absolute path for any spelling."""
    plain = {key: value for key, value in plain.items() if key not in FOLLOWED}
    if plain.get("pretrained") is None:
        return plain
    return {**plain, "pretrained": str(Path(plain["pretrained"]).resolve())}


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Dotted names of the settings that differ, such as "pretrain.steps", sorted."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        if before != now:
            yield name
        return
    for key in sorted(before.keys() | now.keys()):
        inner = f"{name}.{key}" if name else key
        if key in before and key in now:
            yield from _differences(before[key], now[key], inner)
        else:
            yield inner


def _is_content(name: str) -> bool:
    """Whether a run writes ``name``, or left it behind when it was killed while writing."""
    whole = written_name(name)
    return whole in CONTENT or re.fullmatch(r"classification_map-.+\.npy", whole) is not None
