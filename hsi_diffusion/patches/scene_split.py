"""The split of a scene that a setting names: a share, a number, blocks, masks, a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import ConfigurationError, SplitError
from hsi_diffusion.patches.fields import validation_fields
from hsi_diffusion.patches.split import Split
from hsi_diffusion.patches.splits import fixed_split, make_split
from hsi_diffusion.scenes import Scene, read_mask
from hsi_diffusion.scenes.labels import field_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

# int before float, so that a parser leaves a 10 as it is
SplitSetting = str | int | float | Path | Split
"""What names a split, see :func:`scene_split`."""


def scene_split(
    scene: Scene,
    split: SplitSetting | None = None,
    *,
    train_mask: str | Path | NDArray[Any] | None = None,
    test_mask: str | Path | NDArray[Any] | None = None,
    guard: int | None = None,
    patch_size: int,
    val_fraction: float = 0.2,
    seed: int = 0,
) -> Split | None:
    """Make the split of a scene that a setting names, or read it.

    Args:
        scene: The scene.
        split: ``"0.1"`` (fraction of every class), ``"10"`` (pixels per class), ``"blocks"``
            (spatially disjoint), ``"fields"`` or ``"fields:0.2"`` (whole fields), ``"polygons"``
            or ``"polygons:0.2"`` (whole polygons of the labels), ``"images"`` or
            ``"images:line2"`` (of several images the last one, or those that are named, with commas
            between them, are tested, and all others learned), ``"fixed"`` (the masks, or the
            scene's published split),
            the path of a stored split (.npz), or a :class:`Split`. Numbers may be given as
            numbers: 0.1, 10. None: ``"fixed"`` with masks, else ``scene.info.default_split``.
        train_mask: For ``"fixed"``: the training pixels, ``"FILE[:key]"`` or an array of shape
            (H, W).
        test_mask: Likewise the test pixels.
        guard: Pixels between training and test pixels, for ``"blocks"`` only; None: the radius of
            ``patch_size``.
        patch_size: Side of the largest patches that will be cut.
        val_fraction: Fraction of each class's label budget that becomes validation pixels.
        seed: Names the draw.

    Returns:
        The split; None for a scene without labels.

    Raises:
        ConfigurationError: The settings contradict each other, or ``scene`` is none.
        SplitError: ``split`` is none of these, is one of another scene, or can't be made.
    """
    if not isinstance(scene, Scene):
        raise ConfigurationError(
            f"scene must be a Scene, got {type(scene).__name__}; make_split takes a label map"
        )
    check_split_settings(split, train_mask, test_mask, guard)
    if not scene.labels.any():
        return None
    if split is None:
        split = "fixed" if train_mask is not None else scene.info.default_split
    split = _read_stored(split)
    if isinstance(split, Split):
        split.check_fits(scene.labels)
        return split
    if _is(split, "fixed"):
        train, test = _fixed_masks(scene, train_mask, test_mask)
        return fixed_split(scene.labels, train, test, val_fraction=val_fraction, seed=seed)
    if isinstance(split, str) and split.strip().partition(":")[0] == "images":
        return _image_split(scene, split.partition(":")[2], val_fraction, seed)
    return make_split(
        scene.labels,
        str(split) if isinstance(split, Path) else split,
        patch_size=patch_size,
        guard=guard,
        val_fraction=val_fraction,
        seed=seed,
        polygons=scene.polygons,
        fields=scene.fields,
    )


def kind_of(split: SplitSetting) -> str:
    """The kind of a split, which decides which parts of a preset apply.

    Args:
        split: What :func:`scene_split` takes.

    Returns:
        A number (``"0.1"``, ``"10"``) or a name (``"blocks"``, ``"fields"``); of a stored split,
        that of the split that was stored.

    Raises:
        SplitError: A stored split can't be read.
    """
    split = _read_stored(split)
    if isinstance(split, Split):
        named = (split.settings.get(name) for name in ("count", "fraction", "kind"))
        return str(next((value for value in named if value is not None), ""))
    return str(split).strip().partition(":")[0]


def check_split_settings(
    split: SplitSetting | None, train_mask: object, test_mask: object, guard: int | None
) -> None:
    """Raise a ConfigurationError where these settings of :func:`scene_split` contradict."""
    if (train_mask is None) != (test_mask is None):
        raise ConfigurationError("train_mask and test_mask go together: give both or neither")
    kind = "one that is given" if isinstance(split, Split) else repr(split)
    if train_mask is not None and not (split is None or _is(split, "fixed")):
        raise ConfigurationError(f"train_mask and test_mask need split='fixed', got split={kind}")
    if guard is not None and not _is(split, "blocks"):
        raise ConfigurationError(
            f"guard is the distance that split='blocks' keeps; got guard={guard} with "
            f"split={kind}, which would not heed it: leave out guard, or take blocks"
        )


def _is(split: SplitSetting | None, name: str) -> bool:
    return isinstance(split, str) and split.strip() == name


def _image_split(scene: Scene, names: str, val_fraction: float, seed: int) -> Split:
    """Test whole images of several that were joined; whole fields of the others validate."""
    images = scene.images or {}
    tested = [name.strip() for name in names.split(",")] if names else list(images)[-1:]
    unknown = [name for name in tested if name not in images]
    if len(images) < 2 or unknown or len(set(tested)) == len(images):
        given, there = ", ".join(unknown or tested) or "none", ", ".join(images) or "a single image"
        raise SplitError(
            "split 'images' tests the last of several images, or those that it names "
            f"(images:NAME,NAME), and learns the others; got {given} of {there}: give several "
            "images (--cube twice), and leave one to learn from"
        )
    test = np.zeros(scene.labels.shape, dtype=np.bool_)
    for name in tested:
        test[images[name]] = True
    known, learned = scene.labels > 0, np.where(test, 0, scene.labels)
    fields, notes = scene.fields, []
    if scene.polygons is not None:
        fields = scene.polygons
        both = np.isin(fields, fields[learned > 0]) & known & test
        if both.any():
            notes.append(
                f"{len(np.unique(fields[both]))} polygons lie in learned and in tested images: "
                f"{int(both.sum())} of {int((known & test).sum())} test pixels are of land that is "
                "learned in another image"
            )
            warnings.warn(f"{notes[0]}; --split polygons keeps them apart", stacklevel=3)
    elif fields is None:
        fields = field_map(learned)
    val = validation_fields(learned, fields, val_fraction=val_fraction, seed=seed)
    split = fixed_split(scene.labels, known & ~test, known & test, val_fraction=0, seed=seed)
    return Split.from_labels(
        scene.labels,
        train=np.setdiff1d(split.train, np.flatnonzero(val)),
        val=np.flatnonzero(val),
        test=split.test,
        settings={
            **split.settings,
            "kind": "images",
            "tested": tested,
            "val_fraction": val_fraction,
            "notes": [*split.settings["notes"], *notes],
        },
    )


def _read_stored(split: SplitSetting) -> SplitSetting:
    """The split that lies in a file, where the setting names one."""
    if not isinstance(split, str | Path) or not str(split).endswith(".npz"):
        return split
    try:
        return Split.load(split)
    except OSError as error:
        raise SplitError(
            f"can't read the stored split {split}: {error.strerror or error}; give the split.npz "
            "of an earlier run on this scene, or another split such as '0.1'"
        ) from error


def _fixed_masks(
    scene: Scene,
    train_mask: str | Path | NDArray[Any] | None,
    test_mask: str | Path | NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    if train_mask is not None and test_mask is not None:
        train, test = (
            mask if isinstance(mask, np.ndarray) else read_mask(mask, (scene.height, scene.width))
            for mask in (train_mask, test_mask)
        )
        return train, test
    if scene.fixed_train is None or scene.fixed_test is None:
        raise SplitError(
            f"scene {scene.info.name!r} has no published split built in; give train_mask and "
            "test_mask, or another split: a share such as '0.1', pixels per class such as '10', "
            "'blocks', 'fields' or 'polygons'"
        )
    return scene.fixed_train, scene.fixed_test
