"""Typed settings of a run: a recipe, a scene, a split, and the hardware."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import write_text
from hsi_diffusion.options import check_at_least, check_choice
from hsi_diffusion.recipes import Recipe, from_plain, to_plain
from hsi_diffusion.scenes import CATALOGUE, parse_location, scene_info

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN = (
    *("labels", "label_attribute", "nodata", "axes", "wavelengths", "class_names"),
    *("resample", "sample"),
)
"""Settings that describe a user's own scene."""

LoggerName = Literal["csv", "wandb", "none"]


@dataclass(frozen=True, kw_only=True)
class SimulatedSettings:
    """Size and name of a simulated scene.

    Attributes:
        height: Rows.
        width: Columns.
        bands: Spectral bands.
        num_classes: Number of classes.
        seed: Seed of the scene: another number makes another scene.
    """

    height: int = 145
    width: int = 145
    bands: int = 200
    num_classes: int = 16
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class RunSettings(Recipe):
    """A whole run.

    Attributes:
        method: Name of a method, or a folder with recipes of your own.
        preset: Name of the preset.
        scene: A scene of the catalogue, ``"simulated"``, or ``"custom"`` with ``cube``; None: the
            simulated one, or that of ``cube``.
        root: Folder of a catalogue scene's files.
        download: Fetch missing files of a catalogue scene, and check their checksums.
        cube: Your own scene, ``"FILE[:key]"``; .mat (v5, v7.3), HDF5, .npy, TIFF and ENVI are read.
            Several images of one sensor may be given, and are learned together.
        labels: Label map of your own scene, ``"FILE[:key]"``; 0 = unlabelled, gaps in the class ids
            are fine. Or polygons and points: GeoPackage, GeoJSON, shapefile, CSV. Without it,
            train_mask and test_mask may hold the classes. For several images as many, in their
            order, or one file of polygons.
        label_attribute: For polygons and points: the column that holds the class.
        nodata: Value of your own scene that means "no data here", if its file doesn't say it.
        axes: Order of its axes, such as CHW where the bands come first; None: HWC.
        wavelengths: Text file with its band centres in nm or micrometres, if its file has none.
        class_names: Names of its classes, if the label file has none.
        sample: Learn windows of so many pixels, most of them with labels, of an image that is too
            large for memory; None: the whole image.
        resample: Resample the bands of further images to the wavelengths of the first.
        simulated: Size and name of a simulated scene.
        split: Training and validation pixels together: 0.1 = fraction of each class; 10 = pixels of
            each class, and up to 30 of them the preset's few_shot section applies; blocks =
            spatially disjoint blocks; fields = 0.4 of the fields (connected areas of a class),
            fields:0.2 = a fifth; polygons = whole polygons of the labels, likewise polygons:0.2;
            images = the last of several images is tested, images:NAME = those that are named; for
            these four the preset's disjoint section applies; fixed = the split published with the
            scene, or the masks; FILE.npz = a stored split. None: the scene's usual one.
        train_mask: Fixed split, ``"FILE[:key]"``: non-zero = training pixel.
        test_mask: Fixed split, ``"FILE[:key]"``: non-zero = test pixel.
        guard: Pixels between the training and test pixels of blocks; None: the radius of the
            classifier's patches.
        val_fraction: Fraction of each class's training budget that becomes validation pixels.
        seed: Seed of everything random except the simulated scene.
        pretrained: ``checkpoints/pretrain.ckpt`` of an earlier run, used with its band transform
            instead of a new pretraining.
        logger: Logger: ``"csv"``, ``"wandb"`` or ``"none"``.
        group: Name of the group of runs in W&B; None: no group.
        figures: Draw maps, spectra, the confusion matrix and what the denoiser restores. Without
            figures a run leaves its numbers, its report, the map as an array, and the model.
        accelerator: auto, cpu, gpu, ... as in Lightning.
        devices: Processes per machine that pretrain together (DDP); everything else runs on one.
        nodes: Machines that pretrain together, started by torchrun or a cluster manager.
        deterministic: Use PyTorch's deterministic algorithms on graphics cards, so that a run can
            be repeated, with a warning where there is none. Otherwise a card may be faster.

    Raises:
        ConfigurationError: Settings contradict each other, or are outside what is allowed.
    """

    method: str = "spectraldiff"
    preset: str = "quick"
    scene: str | None = None
    root: str = "data"
    download: bool = False
    cube: str | tuple[str, ...] | None = None
    labels: str | tuple[str, ...] | None = None
    label_attribute: str | None = None
    nodata: float | None = None
    axes: str | None = None
    wavelengths: str | None = None
    class_names: tuple[str, ...] | None = None
    resample: bool = False
    sample: int | None = None
    simulated: SimulatedSettings = field(default_factory=SimulatedSettings)
    split: str | int | float | None = None
    train_mask: str | None = None
    test_mask: str | None = None
    guard: int | None = None
    val_fraction: float = 0.2
    seed: int = 0
    pretrained: str | None = None
    logger: LoggerName = "csv"
    group: str | None = None
    figures: bool = True
    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    deterministic: bool = True

    def __post_init__(self) -> None:
        """Fill in what follows from other settings, and refuse what contradicts them."""
        super().__post_init__()
        check_at_least(1, devices=self.devices, nodes=self.nodes)
        if self.cube is not None and self.scene not in (None, "custom"):
            raise ConfigurationError("give either scene (--scene) or cube (--cube), not both")
        own = [name for name in OWN if getattr(self, name) not in (None, False)]
        if self.cube is None and (own or self.scene == "custom"):
            raise ConfigurationError(
                f"{own[0] if own else 'scene=custom'} belongs to your own scene: give its cube as "
                "well (--cube FILE[:key])"
            )
        scene = self.scene or ("simulated" if self.cube is None else "custom")
        if scene != "custom":
            check_choice((*CATALOGUE, "simulated"), scene=scene)
        if self.download and scene not in CATALOGUE:
            raise ConfigurationError(
                "download belongs to a scene of the catalogue: name it with scene (--scene)"
            )
        masks = self.train_mask is not None or self.test_mask is not None
        if masks and self.split not in (None, "fixed"):
            raise ConfigurationError(
                f"train_mask and test_mask are a split of their own; leave out split={self.split}"
            )
        usual = scene_info(scene).default_split if scene in CATALOGUE else "0.1"
        split = "fixed" if masks else usual if self.split is None else str(self.split)
        if self.pretrained is not None and not self.pretrains:
            raise ConfigurationError(
                f"{self.method} learns from raw bands and has no denoiser: leave out pretrained"
            )
        object.__setattr__(self, "scene", scene)
        object.__setattr__(self, "split", split)

    def without_pretraining(self) -> Self:
        """The control: the same classifier on raw bands, without any denoiser."""
        # at once: one without the other is refused
        return replace(self, pretrained=None, pretrain=replace(self.pretrain, denoiser=None))

    @property
    def split_kind(self) -> str:
        """The split as text."""
        return str(self.split)

    @property
    def scene_name(self) -> str:
        """Name of the scene, that of the cube's file for your own."""
        if self.cube is not None:
            first, *others = [parse_location(cube)[0].stem for cube in _all(self.cube)]
            return f"{first}+{len(others)}" if others else first
        return str(self.scene)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build settings from plain data.

        Raises:
            ConfigurationError: A key is unknown or a value has the wrong type.
        """
        return from_plain(cls, data)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: dicts, lists, numbers, strings."""
        return to_plain(self)

    def to_yaml(self) -> str:
        """The settings as YAML, which repeats the run."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    def save(self, path: str | Path) -> None:
        """Write the settings as YAML."""
        write_text(path, self.to_yaml())

    def inputs(self) -> list[Path]:
        """The files and folders that the run reads."""
        located = (self.cube, self.labels, self.wavelengths, self.train_mask, self.test_mask)
        paths = [parse_location(text)[0] for some in located for text in _all(some)]
        stored = self.split_kind if self.split_kind.endswith(".npz") else None
        paths += [Path(text) for text in (stored, self.pretrained) if text is not None]
        return [*paths, Path(self.root)] if self.scene in CATALOGUE else paths


def _all(texts: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else texts or ()


def default_folder(settings: RunSettings) -> Path:
    """Default folder of a run: ``runs/SCENE-METHOD-SPLIT-seedN``."""
    split = settings.split_kind
    split = Path(split).stem if split.endswith(".npz") else split
    method = Path(settings.method).name
    parts = (settings.scene_name, method, split, f"seed{settings.seed}")
    return Path("runs") / "-".join(parts)
