"""One run of a benchmark: how it is set, told from others, and started."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import digest_of, write_text
from hsi_diffusion.patches import kind_of
from hsi_diffusion.recipes import SECTIONS, merge, preset_for, read_yaml, to_plain
from hsi_diffusion.runs import RunSettings, SimulatedSettings, pretrain_alone, process_rank, run
from hsi_diffusion.runs.folder import FOLLOWED
from hsi_diffusion.runs.settings import OWN

if TYPE_CHECKING:
    from collections.abc import Iterable

GUARD = 6
"""Pixels that a split into blocks keeps between training and test for every method alike: enough
for patches of up to 13 x 13. What a blur or a denoiser sees beyond a patch, without labels, may
reach farther."""

SIMULATED = tuple(field.name for field in fields(SimulatedSettings))
"""Settings of a column's scene that describe a simulated one."""

WHERE = (
    *("scene", "root", "download", "cube", *OWN, "simulated"),
    *("split", "train_mask", "test_mask", "guard", "val_fraction"),
)
"""Settings that say what a run measures on."""

GIVEN = (*WHERE, "seed", "logger", "group", "figures", "method", "preset", *SECTIONS)
"""Settings that a benchmark or its columns give, the same for all methods."""

OF_COLUMN = {
    "scene: {name: custom, cube: field.tif, labels: labels.tif}": ("cube", *OWN),
    "scene: {name: simulated, height: 64, width: 64}": (
        "simulated",
        *(name for name in SIMULATED if name != "seed"),
    ),
    "split: {kind: blocks, guard: 8}": ("guard", "val_fraction"),
    "split: {kind: fixed, train_mask: train.tif, test_mask: test.tif}": ("train_mask", "test_mask"),
}
"""Settings that a column's scene and split give, with an example of how."""

ELSEWHERE = (
    *("logger", "group", "figures", "accelerator", "deterministic", "method", "preset"),
    *("root", "download"),
)
"""Settings that are names, or say where files lie, a run is followed, and how a card computes."""

FILES = ("cube", "labels", "split", "train_mask", "test_mask", "pretrained")
"""Settings that may hold a file, whose folder is another one on another machine."""


LETTERS = 200
"""Bytes that a folder's name keeps of row, column and seed: file systems take 255 in all."""


@dataclass(frozen=True)
class Cell:
    """One run of a benchmark.

    Attributes:
        row: What it is compared as, such as "no contrast"; cells of one row and one column differ
            by their seed only.
        column: On what, such as "10 per class".
        settings: Everything that decides it, but for the next.
        pretraining_seed: Seed of the pretraining that it shares with other cells; None: its own.
    """

    row: str
    column: str
    settings: RunSettings
    pretraining_seed: int | None = None

    @property
    def seed(self) -> int:
        """Rules split, pretraining and classifiers."""
        return self.settings.seed

    @property
    def key(self) -> tuple[str, str, int]:
        """Row, column and seed: what tells the measurements of a benchmark apart."""
        return self.row, self.column, self.seed

    @property
    def name(self) -> str:
        """Name of its folder: readable, and another one for other settings and changed files."""
        text = f"{self.row}-{self.column}-seed{self.seed}"
        readable = "".join(letter if letter.isalnum() else "-" for letter in text)
        readable = readable.encode()[:LETTERS].decode(errors="ignore")
        plain = self.settings.to_dict()
        decisive = {key: value for key, value in plain.items() if key not in FOLLOWED}
        if files := self._files():
            decisive["files"] = files
        if self.pretraining_seed is not None:
            decisive["pretraining_seed"] = self.pretraining_seed
        return f"{readable}-{digest_of(decisive)[:8]}"

    @property
    def has_one_split(self) -> bool:
        """Whether all seeds learn and test the same pixels."""
        kind = self.settings.split_kind.strip()
        return kind.endswith(".npz") or kind_of(kind) in ("fixed", "images")

    @property
    def is_baseline(self) -> bool:
        """Whether it learns from raw bands and has no pretraining."""
        return not self.settings.pretrains

    @property
    def has_control(self) -> bool:
        """Whether the same classifier on raw bands is measured beside it."""
        return self.settings.pretrains and len(self.settings.raw_bands) > 0

    @property
    def draws(self) -> bool:
        """Whether it draws figures: only for W&B.

        They may take longer than all the rest, and nobody looks through hundreds of folders.
        """
        return self.settings.logger == "wandb"

    @property
    def pretraining(self) -> RunSettings:
        """Settings of the run that pretrains for it."""
        if self.pretraining_seed is None:
            return self.settings
        return replace(self.settings, seed=self.pretraining_seed)

    def pretraining_folder(self, pretrained: Path) -> Path | None:
        """Folder of its pretraining among all of them, the same for all cells that can share it.

        It may not exist yet; None where the cell pretrains nothing.
        """
        if not self.settings.pretrains or self.settings.pretrained is not None:
            return None
        plain = self.pretraining.to_dict()
        scene = ("scene", "root", "cube", "labels", "simulated")
        names = (*scene, "pretrain", "seed", "devices", "nodes")
        own = [key for key in OWN if plain[key] not in (None, False)]
        decisive = {key: plain[key] for key in (*names, *own)}
        if files := self._files():
            decisive["files"] = files
        return pretrained / digest_of(decisive)[:16]

    def _files(self) -> list[tuple[str, int, int]]:
        """Name, size and time of the files it reads: what was changed is computed again."""
        files = [path for path in self.settings.inputs() if path.is_file()]
        return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]

    def pretrain(self, folder: Path, *, progress: bool = False) -> None:
        """Pretrain for it, and for all that share the pretraining, unless that is done.

        A pretraining that was stopped goes on from its last checkpoint. ``seconds.json`` in the
        folder says that it is finished, and how long it took where one session did all of it.
        """
        done = folder / "seconds.json"
        if done.is_file():
            return
        resumed = (folder / "checkpoints").exists()  # how long it took before is not known
        start = time.monotonic()
        settings = replace(self.pretraining, figures=self.draws)
        pretrain_alone(settings, folder, progress=progress)
        seconds = None if resumed else round(time.monotonic() - start, 2)
        write_text(done, json.dumps({"pretraining": seconds}))

    def run(self, folder: Path, pretrained: Path, *, progress: bool = False) -> None:
        """Do its run, go on with one that was stopped, or begin it again where nothing is of use.

        Its pretraining is finished, in the folder of all of them. ``metrics.json`` in the run's own
        folder says that the run is.
        """
        if (folder / "metrics.json").is_file():
            return
        settings = self.settings
        place = self.pretraining_folder(pretrained)
        if place is not None:
            checkpoint = str(place / "checkpoints" / "pretrain.ckpt")
            settings = replace(settings, pretrained=checkpoint)
        # the features of many cells would fill a disk; they can be had again from the denoiser
        features = replace(settings.features, keep="none")
        settings = replace(settings, features=features, figures=self.draws)
        begun = (folder / "config.yaml").is_file()
        if not begun:  # a process that was killed may have left the beginning of a file
            shutil.rmtree(folder, ignore_errors=True)
        # a pretraining that lies elsewhere now may be another one
        resume = begun and _resolved(settings.pretrained) == _resolved(
            read_yaml(folder / "config.yaml").get("pretrained")
        )
        run(
            settings,
            folder,
            overwrite=begun,
            resume=resume,
            progress=progress,
            say=lambda _: None,
        )

    def digest(self, *, control: bool = False) -> str:
        """Digest of what decides its figures, or its control's, in eight hexadecimal digits.

        It is the same on other machines and in later versions: made of what differs from the
        defaults, so that settings which later versions add leave it as it is; folders and hardware
        play no part.
        """
        plain = to_plain(self.settings, changed=True)
        plain = {
            key: _names(value) if key in FILES else value
            for key, value in plain.items()
            if key not in ELSEWHERE
        }
        features = {key: item for key, item in plain.pop("features", {}).items() if key != "keep"}
        plain |= {"features": features} if features else {}
        if control:
            unused: tuple[str, ...] = ("pretrain", "pretrained", "features")
        elif self.is_baseline:  # the raw bands are then the method itself
            unused = ("features",)
        else:
            plain["pretraining_seed"] = self.pretraining.seed
            unused = ("raw_bands",)
        return digest_of({key: plain[key] for key in plain if key not in unused})[:8]


def build_cell(
    row: str,
    column: str,
    preset: Mapping[str, Any],
    changes: Iterable[Mapping[str, Any]],
    given: Mapping[str, Any],
    *,
    control: bool = True,
    pretraining_seed: int | None = None,
) -> Cell:
    """Make a cell of a method's preset.

    The changes are laid over the preset, one after the other. What is ``given`` is taken whole,
    whatever the preset says: the scene, the split, the names of method and preset, and others of
    :data:`GIVEN`.

    Raises:
        ConfigurationError: A setting is unknown, changes what no cell may, or the patches are too
            large for the distance that the split keeps.
    """
    where = _where(given["scene"], given["split"])
    plain = preset_for(preset, scene=str(where["scene"]), split=kind_of(str(where["split"])))
    baseline = plain.get("pretrain", {}).get("denoiser", "") is None
    for change in changes:
        features = change.get("features")
        if isinstance(features, Mapping) and "keep" in features:
            raise ConfigurationError(
                f"{row} must not change features.keep: a benchmark keeps no feature files (they "
                "would fill a disk); hsi-diffusion run does"
            )
        plain = merge(plain, change)
    if baseline:  # what is set for all methods may be meant for a pretraining
        plain["pretrain"] = {"denoiser": None}
        plain.pop("pretrained", None)
    elif not control:
        plain["raw_bands"] = []
    others = {key: value for key, value in given.items() if key not in ("scene", "split", "seed")}
    place = _read(where | others)
    names = (*WHERE, "logger", "group")
    plain |= {"method": place.method, "preset": place.preset}  # which errors name
    settings = replace(
        _read(plain), seed=given["seed"], **{name: getattr(place, name) for name in names}
    )
    guard, classifier = settings.guard, settings.classifier
    if guard is not None and classifier.estimator is None and classifier.patch_size // 2 > guard:
        raise ConfigurationError(
            f"{row} sees {classifier.patch_size // 2} pixels to each side, but the split of "
            f"{column} keeps {guard} pixels between training and test: give the column a "
            f"split of {{kind: blocks, guard: {classifier.patch_size // 2}}} in the file"
        )
    return Cell(row, column, settings, None if baseline else pretraining_seed)


def _read(plain: Mapping[str, Any]) -> RunSettings:
    """Settings from plain data; what many cells have in common is read once."""
    return _read_text(json.dumps(plain, sort_keys=True))


@functools.lru_cache(maxsize=1000)
def _read_text(text: str) -> RunSettings:
    return RunSettings.from_dict(json.loads(text))


def _where(scene: Mapping[str, Any], split: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that a column's scene and split mean."""
    named = {"name": "scene", "kind": "split"}
    simulated = {key: scene[key] for key in scene if key in SIMULATED}
    plain = {key: value for key, value in scene.items() if key not in SIMULATED}
    found = {named.get(key, key): value for key, value in (plain | dict(split)).items()}
    if found["split"] == "blocks":
        found = {"guard": GUARD, **found}
    if found["scene"] == "simulated":
        found.pop("root", None)
    return found | ({"simulated": simulated} if simulated else {})


def check_alone(cells: Iterable[Cell]) -> None:
    """Refuse what a benchmark can't share out: runs on several devices, or several processes.

    Raises:
        ConfigurationError: A cell asks for several devices, or this is one of several processes of
            torchrun or a cluster, of which only the first one would run anything.
    """
    if process_rank():
        raise ConfigurationError(
            "a benchmark must be started once, not with torchrun or srun on several processes; "
            "workers on other cards or machines belong to a Dask cluster: give its address as "
            "scheduler (--scheduler tcp://HOST:PORT)"
        )
    for cell in cells:
        if cell.settings.devices * cell.settings.nodes > 1:
            raise ConfigurationError(
                f"devices and nodes must be 1 in a benchmark, which {cell.row} changes; pretrain "
                "on several devices with hsi-diffusion run --devices N, and give its "
                "checkpoints/pretrain.ckpt as pretrained"
            )


def _resolved(file: str | None) -> Path | None:
    """A file's one absolute path, however it is spelled."""
    return None if file is None else Path(file).resolve()


def _names(files: Any) -> Any:
    """Files without their folders."""
    if isinstance(files, list | tuple):
        return [_names(file) for file in files]
    return PurePath(str(files)).name
