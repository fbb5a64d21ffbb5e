"""Finding a scene's arrays on disk: by the published file names first, else by their shape."""

from __future__ import annotations

import re
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from hsi_diffusion.errors import FileFormatError, SceneError
from hsi_diffusion.scenes.download import is_official
from hsi_diffusion.scenes.readers import (
    Shape,
    describe_arrays,
    file_format,
    list_arrays,
    reading,
)
from hsi_diffusion.scenes.scene import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hsi_diffusion.scenes.info import FileRole, SceneInfo

T = TypeVar("T")


class Location(NamedTuple):
    """Where an array stands: a file, and the array's key in it."""

    path: Path
    key: str

    def __str__(self) -> str:
        return f"{self.path}:{self.key}" if self.key else str(self.path)


def joined(locations: Iterable[Location]) -> str:
    """The places of a label map for a message."""
    return " + ".join(map(str, locations))


class SceneFiles:
    """The files below ``root`` that may hold a scene.

    Searched are the folders of ``root`` (and their folders) that bear one of the scene's names,
    then ``root`` itself.

    Args:
        info: The scene.
        root: The data folder, or the scene's own folder.

    Raises:
        SceneError: If ``root`` is not a folder.
    """

    def __init__(self, info: SceneInfo, root: Path) -> None:
        if not root.is_dir():
            raise SceneError(
                f"root must be the folder that holds the scenes, got {root}, which is "
                + (
                    "not a folder"
                    if root.exists()
                    else "not there; name the right one, or let download=True (--download) make it"
                )
            )
        self.info = info
        own = _own_folders(info, root)
        inner = [path for folder in own for path in _own_folders(info, folder)]
        self.folders = [*own, *inner, root]

    @property
    def home(self) -> Path:
        """The folder that new files of the scene go to."""
        first = self.folders[0]
        return first if _is_own(self.info, first.resolve().name) else first / self.info.name

    def official(self, role: FileRole) -> Path | None:
        """The file that bears the published name of ``role``, if there is one."""
        for file in self.info.files_of(role):
            for folder in self.folders:
                if (folder / file.name).is_file():
                    return folder / file.name
        return None

    def cube(self) -> Location:
        """Where the cube stands.

        Raises:
            SceneError: If there is none, or more than one.
        """
        shape = self.info.shape
        if (path := self.official("cube")) is not None:
            return self._in_file(path, shape, self.info.cube_keys)
        found = self._with_shape(shape)
        if not found:
            others = [
                f"{place} {other}" for place, other in self._arrays.items() if len(other) == 3
            ]
            raise self._missing(f"cube of shape {shape}", "cube", others)
        path = _only({location.path for location in found}, found, f"cube of {self.info.name!r}")
        location = self._in_file(path, shape, self.info.cube_keys)
        self._warn("cube", str(location))
        return location

    def labels(self, cube: Location) -> tuple[Location, ...]:
        """Where the label map stands: whole, or as the two maps (train, test) of a fixed split.

        Args:
            cube: Where the cube stands; of several label maps, the one beside it is meant.

        Raises:
            SceneError: If there is none, or more than one.
        """
        train, test = self.official("train_labels"), self.official("test_labels")
        whole = self.official("labels")
        official = [train, test] if train and test else [whole]
        shape = self.info.shape[:2]
        maps = [self._in_file(path, shape, self.info.label_keys) for path in official if path]
        if maps:
            return tuple(maps)
        found = self._packed_labels()
        if not found and "train_labels" in self.info.roles:
            # a lone map must not pass for the whole of a scene that is published as a split
            role: FileRole = "train_labels" if train is None else "test_labels"
            raise self._missing("test pixels" if train else "training pixels", role)
        if not found:
            found = [(location,) for location in self._with_shape(shape)]
        if not found:
            raise self._missing(f"label map of shape {shape}", "labels")
        beside = [maps for maps in found if maps[0].path == cube.path]
        choice = _only(beside or found, map(joined, found), f"label map of {self.info.name!r}")
        self._warn("label map", joined(choice))
        return choice

    @cached_property
    def _arrays(self) -> dict[Location, Shape]:
        """The arrays of every readable file in the folders, and their shapes."""
        arrays: dict[Location, Shape] = {}
        for folder in self.folders:
            for path in sorted(folder.iterdir()):
                if path.name.startswith(".") or not path.is_file():
                    continue
                try:
                    with reading(path):
                        known = file_format(path) is not None
                    for key, shape in (list_arrays(path) if known else {}).items():
                        arrays[Location(path, key)] = shape
                except FileFormatError as error:
                    warnings.warn(f"{path} is left aside: {error}", stacklevel=3)
        return arrays

    def _with_shape(self, shape: Shape) -> list[Location]:
        return [place for place, found in self._arrays.items() if found == shape]

    def _packed_labels(self) -> list[tuple[Location, ...]]:
        """Label maps under the names that the widespread packings of the scene give them."""
        names = [*self.info.split_keys, *((key,) for key in self.info.label_keys)]
        paths = dict.fromkeys(place.path for place in self._arrays)
        packings = [tuple(Location(path, key) for key in keys) for path in paths for keys in names]
        flat = set(self._with_shape(self.info.shape[:2]))
        return [places for places in packings if flat.issuperset(places)]

    def _in_file(self, path: Path, shape: Shape, keys: Iterable[str]) -> Location:
        """The array of ``shape`` in one file; of several, the one with a known key."""
        arrays = list_arrays(path)
        fitting = [key for key, found in arrays.items() if found == shape]
        known = [key for key in fitting if key in keys]
        if len(known) == 1 or len(fitting) == 1:
            return Location(path, (known or fitting)[0])
        raise SceneError(
            f"{path} must hold one array of shape {shape} for scene {self.info.name!r}, "
            f"got {describe_arrays(path, arrays) or 'no arrays'}"
        )

    def _missing(self, what: str, role: FileRole, others: Sequence[str] = ()) -> SceneError:
        """The error where nothing fits; ``others`` are arrays there that are something else."""
        names = " or ".join(file.name for file in self.info.files_of(role))
        official = f"; the published file is {names}" if names else ""
        searched = ", ".join(map(str, self.folders))
        there = f" What is there has another shape: {shorten(others)}." if others else ""
        return SceneError(
            f"found no {what} for scene {self.info.name!r} in {searched}{official}.{there} Try "
            f"download=True (--download), or get it by hand from "
            f"{self.info.homepage or 'its provider'} and put it into {self.home}"
        )

    def _warn(self, what: str, location: str) -> None:
        warnings.warn(
            f"scene {self.info.name!r}: the {what} is taken from {location}, which is not the "
            f"published file; its values, classes or orientation may differ",
            stacklevel=4,
        )

    def warn_if_altered(self, path: Path) -> None:
        """Warn of a file with a published name and another content."""
        for file in self.info.files:
            if file.name == path.name and not is_official(path, file):
                warnings.warn(
                    f"scene {self.info.name!r}: {path} has the name of the published file, but "
                    f"not its checksum; its values may differ",
                    stacklevel=3,
                )


def _own_folders(info: SceneInfo, folder: Path) -> list[Path]:
    """The folders in ``folder`` that bear one of the scene's names, the short name first."""
    own = (path for path in folder.iterdir() if path.is_dir() and _is_own(info, path.name))
    return sorted(own, key=lambda path: (_plain(path.name) != _plain(info.name), path))


def _is_own(info: SceneInfo, folder: str) -> bool:
    return _plain(folder) in {_plain(name) for name in (info.name, *info.folders)}


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]", "", name).lower()


def _only(choices: Iterable[T], found: Iterable[object], what: str) -> T:
    several = list(choices)
    if len(several) == 1:
        return several[0]
    raise SceneError(
        f"which {what} is meant? Found {', '.join(map(str, found))}; leave one of them in the "
        f"folder, or name the files with load_custom_scene"
    )
