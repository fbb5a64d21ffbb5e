"""Feature cubes on disk, each under a digest of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch

from hsi_diffusion.features.reduce import FittedReduction, Reduction
from hsi_diffusion.files import atomic_path, digest_of
from hsi_diffusion.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.features.request import FeatureSettings
    from hsi_diffusion.types import PredictionKind

FORMAT = 2
"""Part of every key: raised when the same request gives other features than before."""


@dataclass(frozen=True, eq=False)
class FeatureCube:
    """Features of every pixel of a scene.

    Attributes:
        array: float32, shape (H, W, D), channels timestep by timestep.
        description: Plain data. ``timesteps``; ``levels``, their names; ``noise``; ``channels``,
            widths of the parts that D is made of: one for each (timestep, level), or one for each
            separate reduction; ``reduction``, its settings or None; ``explained_variance``, the
            share of the variance that each separate reduction kept; ``angles``, whether the last
            channels are spectral angles, one per timestep.
        reduction: What made the channels of those that the denoiser gave; None: nothing.
    """

    array: NDArray[np.float32]
    description: dict[str, Any]
    reduction: FittedReduction | None = None

    @property
    def angles(self) -> bool:
        """Whether the last channels are spectral angles, one per timestep."""
        return bool(self.description.get("angles", False))

    @property
    def timesteps(self) -> int:
        """In how many equal groups, one after the other, the features lie: T, or 1 if mixed."""
        timesteps = len(self.description["timesteps"])
        return 1 if len(self.description["channels"]) % timesteps else timesteps

    def parts(self) -> tuple[NDArray[np.float32], ...]:
        """The features of each (timestep, level), or of each separate reduction, without angles.

        Returns:
            Views of shape (H, W, d), in the order of the channels.
        """
        stops = np.cumsum(self.description["channels"])
        return tuple(np.split(self.array[:, :, : stops[-1]], stops[:-1], axis=2))


class FeatureStore:
    """A folder of HDF5 files, one for each feature cube.

    A file holds the array ``features``, (H, W, D) float32 with a checksum per row, and as
    attributes the readable ``key`` and the ``description`` in JSON. Files appear whole or not at
    all. A file that can't be read, or that fails its checksum, is reported by a warning and then
    treated as absent, so that it is computed again and replaced.

    Several processes may use one folder; those that ask for the same cube at the same time each
    compute it.

    Args:
        folder: Where the files are; made when the first is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, key: Mapping[str, Any]) -> Path:
        """Where the cube of ``key`` is kept."""
        return self.folder / f"features-{digest_of(key)[:20]}.h5"

    def load(self, key: Mapping[str, Any]) -> FeatureCube | None:
        """The cube of ``key``, or None where there is no such, or no readable, file."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with h5py.File(path) as file:
                if json.loads(file.attrs["key"]) != key:
                    raise ValueError("it holds the features of another key")
                description = json.loads(file.attrs["description"])
                reduction = None
                if (settings := description.get("reduction")) is not None:
                    reduction = FittedReduction.from_tensors(
                        Reduction(**settings),
                        {name: torch.from_numpy(d[()]) for name, d in file["reduction"].items()},
                    )
                return FeatureCube(file["features"][:], description, reduction)
        except (OSError, KeyError, ValueError, TypeError) as error:
            warnings.warn(
                f"{path} can't be used ({error}); its features are computed again",
                RuntimeWarning,
                stacklevel=2,
            )
            return None

    def save(self, key: Mapping[str, Any], cube: FeatureCube) -> Path:
        """Write ``cube`` under ``key``, and give the file's path."""
        path = self.path(key)
        with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
            file.create_dataset(
                "features", data=cube.array, chunks=(1, *cube.array.shape[1:]), fletcher32=True
            )
            if cube.reduction is not None:
                statistics = file.create_group("reduction")
                for name, value in cube.reduction.tensors().items():
                    statistics.create_dataset(name, data=value.numpy(), fletcher32=value.ndim > 0)
            file.attrs["key"] = json.dumps(key)
            file.attrs["description"] = json.dumps(cube.description)
        return path

    def remove(self, *, but: Collection[Path | None] = ()) -> None:
        """Remove the files of all cubes, and what killed processes left.

        Only for a folder into which nobody else writes at the moment.

        Args:
            but: Files that stay.
        """
        for path in self.folder.glob("features-*.h5"):
            if path not in but:
                path.unlink(missing_ok=True)  # gone is gone, whoever removed it
        self.remove_leftovers()
        if not but:
            shutil.rmtree(self.folder, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Remove what killed processes left: features on their way, and half-written files.

        Only for a folder into which nobody else writes at the moment.
        """
        for path in self.folder.glob(".spool-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".features-*.h5"):
            path.unlink(missing_ok=True)

    @contextmanager
    def spool(self, shape: tuple[int, int, int], tile: int) -> Iterator[Any]:
        """A float32 array on disk for features on their way, gone afterwards.

        Args:
            shape: (H, W, D).
            tile: Height and width of the tiles in which it will be written and read.

        Yields:
            An h5py dataset.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        chunks = (1, min(tile, shape[1]), shape[2])
        with (
            tempfile.TemporaryDirectory(prefix=".spool-", dir=self.folder) as folder,
            h5py.File(Path(folder) / "raw.h5", "w") as file,
        ):
            yield file.create_dataset("raw", shape, dtype=np.float32, chunks=chunks)


def feature_key(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    cube: Tensor,
    settings: FeatureSettings,
    reduction: Reduction | FittedReduction | None = None,
    *,
    angles: PredictionKind | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Everything on which a feature cube depends, as plain data.

    The digest of the cube as the denoiser sees it stands for the scene and its band transform, and
    the signal shares at the asked timesteps for the schedule.
    """
    key: dict[str, Any] = {
        "format": FORMAT,
        "denoiser": weights_digest(denoiser),
        "alpha_bar": [schedule.alpha_bar(timestep) for timestep in settings.timesteps],
        "cube": _sha256(cube),
        "shape": list(cube.shape),
        "dtype": str(cube.dtype),
        "features": settings.identity(),
        "reduction": asdict(reduction) if isinstance(reduction, Reduction) else None,
    }
    if isinstance(reduction, FittedReduction):
        fitted = _sha256(*reduction.tensors().values())
        key["reduction"] = {**asdict(reduction.settings), "fitted": fitted}
    if valid is not None and isinstance(reduction, Reduction):
        key["valid"] = hashlib.sha256(np.packbits(valid).tobytes()).hexdigest()
    return key if angles is None else {**key, "angles": angles}


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a network: its class, its attributes, its parameters and buffers.

    Two networks with the same digest compute the same in evaluation mode, as long as their code is
    the same, and as far as their attributes are plain data, arrays, tensors, dataclasses, functions
    and classes; of other objects only the class counts.
    """
    digest = hashlib.sha256()
    for name, part in module.named_modules():
        settings = {
            key: _attribute(value) for key, value in sorted(vars(part).items()) if key not in USUAL
        }
        digest.update(json.dumps([name, type(part).__qualname__, settings]).encode())
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


USUAL = frozenset(vars(torch.nn.Module()))
"""Attributes of every network: its parts, which count themselves, its hooks, and its mode."""


def _attribute(value: Any) -> Any:
    """What an attribute of a network adds to its digest, the same in every process."""
    if isinstance(value, str | int | float | None):
        return repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [_attribute(item) for item in value]
    if isinstance(value, dict):
        return {repr(key): _attribute(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor | np.ndarray):
        tensor = as_tensor(value)
        return [str(tensor.dtype), list(tensor.shape), _sha256(tensor)]
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> memoryview:
    values = tensor.detach().cpu().contiguous().reshape(-1)
    return values.view(torch.uint8).numpy().data  # NumPy doesn't know every dtype of torch
