"""The facts of a scene, as one frozen value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hsi_diffusion.errors import SceneError

if TYPE_CHECKING:
    from collections.abc import Sequence

FileRole = Literal["cube", "labels", "train_labels", "test_labels", "archive"]
"""What a published file holds; an archive holds other files."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One published file of a scene.

    Attributes:
        name: File name on disk.
        urls: Where it can be downloaded, tried in this order. Empty where it comes out of an
            archive or may only be fetched by hand.
        sha256: Checksum in lower-case hexadecimal, or None where it is not known.
        size: Bytes, or None where it is not known.
        role: What the file holds.
        archive: Name of the archive that holds it, another file of the same scene.
        member: Path inside that archive.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None
    size: int | None
    role: FileRole
    archive: str | None = None
    member: str | None = None

    def __post_init__(self) -> None:
        """Refuse half-given archives and checksums of the wrong form."""
        if (self.archive is None) != (self.member is None):
            raise SceneError(f"file {self.name!r}: give archive and member together, or neither")
        if self.sha256 is not None and (
            len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef")
        ):
            raise SceneError(
                f"file {self.name!r}: sha256 must be 64 lower-case hexadecimal digits, "
                f"got {self.sha256!r}"
            )


@dataclass(frozen=True, slots=True)
class SceneInfo:
    """What is known of a scene without looking at its pixels.

    Attributes:
        name: Short name, as in ``load_scene("indian_pines", ...)``.
        title: Name for people, as in figures.
        height: Rows.
        width: Columns.
        bands: Spectral bands of the cube.
        wavelengths: Band centres in nm, one per band, in the cube's band order (which need not
            be ascending: neighbouring spectrometers overlap); None where unknown.
        class_names: Names of the K classes, in the order of the classes 1..K.
        class_ids: The value of each class in the published label map; may have gaps.
        palette: One (red, green, blue) in 0..255 per class. Unlabelled pixels are black.
        rgb_bands: Bands (from 0) shown as red, green and blue in a false-colour image.
        sensor: Instrument.
        ground_sampling_distance: Size of a pixel on the ground in metres, or None.
        cube_keys: Names under which the cube is found in .mat and HDF5 files.
        label_keys: Names under which the label map is found.
        split_keys: Pairs of names (train, test) under which files hold the map as a fixed split.
        folders: Folder names under which the scene is usually stored; case and ``_ - .`` and
            spaces don't matter.
        files: The published files.
        licence: Terms of use, as far as they are known.
        citation: What a paper that uses the scene cites.
        homepage: Where people get the files by hand.
        split_class_order: Where the widespread fixed split numbers the classes in its own
            order: the class (1..K) that each of its values means. None: the usual order.
        default_split: The split that is meant where none is named: ``"fixed"`` for a scene that
            is published with one, else a tenth of each class.
        fwhm: Full widths of the bands at half maximum in nm; None where unknown.
    """

    name: str
    title: str
    height: int
    width: int
    bands: int
    wavelengths: tuple[float, ...] | None
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    palette: tuple[tuple[int, int, int], ...]
    rgb_bands: tuple[int, int, int]
    sensor: str = ""
    ground_sampling_distance: float | None = None
    cube_keys: tuple[str, ...] = ()
    label_keys: tuple[str, ...] = ()
    split_keys: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()
    licence: str = ""
    citation: str = ""
    homepage: str = ""
    split_class_order: tuple[int, ...] | None = None
    default_split: str = "0.1"
    fwhm: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse facts that contradict each other."""
        for size in ("height", "width", "bands"):
            if getattr(self, size) < 1:
                raise SceneError(
                    f"scene {self.name!r}: {size} must be at least 1, got {getattr(self, size)}"
                )
        self._check_length("wavelengths", self.wavelengths, self.bands, "one per band")
        self._check_length("fwhm", self.fwhm, self.bands, "one per band")
        self._check_length("class_ids", self.class_ids, self.num_classes, "one per class name")
        self._check_length("palette", self.palette, self.num_classes, "one per class name")
        self._check_length("rgb_bands", self.rgb_bands, 3, "red, green and blue")
        if twice := [name for name, times in Counter(self.class_names).items() if times > 1]:
            raise SceneError(
                f"scene {self.name!r}: class_names must differ from one another, got "
                f"{', '.join(map(repr, twice))} more than once; give each class a name of its own "
                "(class_names, --class_names), or one value to pixels that are one class"
            )
        ids = list(self.class_ids)
        if ids != sorted(set(ids)) or min(ids, default=1) < 1:
            raise SceneError(
                f"scene {self.name!r}: class_ids must be ascending, without repeats and at least "
                f"1 (0 means unlabelled), got {self.class_ids}"
            )
        widths = {len(colour) for colour in self.palette} | {3}
        if widths != {3} or not all(_in_range(colour, 256) for colour in self.palette):
            raise SceneError(
                f"scene {self.name!r}: palette must hold (red, green, blue) in 0..255, "
                f"got {self.palette}"
            )
        if not _in_range(self.rgb_bands, self.bands):
            raise SceneError(
                f"scene {self.name!r}: rgb_bands must be bands from 0 to {self.bands - 1}, "
                f"got {self.rgb_bands}"
            )
        order = self.split_class_order
        if order is not None and sorted(order) != list(range(1, self.num_classes + 1)):
            raise SceneError(
                f"scene {self.name!r}: split_class_order must hold each class from 1 to "
                f"{self.num_classes} once, got {order}"
            )

        names = {file.name for file in self.files}
        for file in self.files:
            if file.archive is not None and file.archive not in names:
                raise SceneError(
                    f"scene {self.name!r}: file {file.name!r} comes in the archive "
                    f"{file.archive!r}, which must be one of the scene's files"
                )

    def _check_length(
        self, field: str, values: Sequence[object] | None, expected: int, of: str
    ) -> None:
        if values is not None and len(values) != expected:
            raise SceneError(
                f"scene {self.name!r}: {field} must have {expected} entries ({of}), "
                f"got {len(values)}"
            )

    @property
    def num_classes(self) -> int:
        """How many classes the scene has (K)."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, bands) of the cube."""
        return self.height, self.width, self.bands

    @property
    def roles(self) -> tuple[FileRole, ...]:
        """What the published files hold, archives left aside."""
        return tuple(dict.fromkeys(file.role for file in self.files if file.role != "archive"))

    def files_of(self, role: FileRole) -> tuple[SourceFile, ...]:
        """The published files that hold ``role``; one of them is enough."""
        return tuple(file for file in self.files if file.role == role)


def _in_range(values: Sequence[int], stop: int) -> bool:
    return all(0 <= value < stop for value in values)
