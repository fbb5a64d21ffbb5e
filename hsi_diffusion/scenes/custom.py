"""Loading scenes of your own: images and labels, whatever holds them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.defaults import default_palette, default_rgb_bands
from hsi_diffusion.scenes.grids import has_coordinates, read_labels
from hsi_diffusion.scenes.info import SceneInfo
from hsi_diffusion.scenes.joining import join_and_drop
from hsi_diffusion.scenes.labels import check_class_names, close_gaps
from hsi_diffusion.scenes.nodata import refuse_empty_bands, warn_of_nodata
from hsi_diffusion.scenes.opening import Source, open_raster
from hsi_diffusion.scenes.readers import parse_location
from hsi_diffusion.scenes.resampling import resample_bands
from hsi_diffusion.scenes.scene import Scene, shorten
from hsi_diffusion.scenes.vector import Labels, is_vector, read_vector
from hsi_diffusion.scenes.windows import draw_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.scenes.raster import Raster


MANY_BANDS = 600
"""More than any imaging spectrometer has: AVIRIS-NG has 425, EMIT 285, PRISMA 239."""


def load_custom_scene(
    cube: Any,
    labels: Any = None,
    *,
    name: str = "custom",
    train_labels: Any = None,
    test_labels: Any = None,
    label_attribute: str | None = None,
    nodata: float | None = None,
    axes: str | None = None,
    class_names: Sequence[str] | None = None,
    wavelengths: Sequence[float] | str | Path | None = None,
    rgb_bands: tuple[int, int, int] | None = None,
    resample: bool = False,
    sample: int | None = None,
) -> Scene:
    """Make a scene of your own files or arrays.

    Gaps in the class values are closed: the classes become 1..K in ascending order, and
    ``info.class_ids`` keeps the values of the file.

    Args:
        cube: The image, whatever :func:`~hsi_diffusion.scenes.open_raster` opens; or a list of
            files, whose images are joined, see :func:`~hsi_diffusion.scenes.join_scenes`.
        labels: A label map, whatever holds one (:func:`~hsi_diffusion.scenes.read_labels`), or
            polygons and points; 0 and nodata are unlabelled. None: a scene without labels, or with
            those of a torchgeo sample. For several images a list of as many, with None for an image
            without labels, or one for all that has coordinates: polygons, points or a raster.
        name: Short name.
        train_labels: A fixed split: the training pixels, whatever holds labels. Without ``labels``
            it holds their classes.
        test_labels: Likewise the test pixels.
        label_attribute: For polygons and points: the column that holds the class; label maps beside
            them have none, and masks beside ``labels`` need none.
        nodata: The value that means "no data here" in the image, if its file doesn't say it.
        axes: Order of the image's axes, such as "CHW"; None: HWC.
        class_names: One name per class that occurs in the labels of all images together, or one
            per value from 1 to the highest; None: those of the label file.
        wavelengths: Band centres in nm or micrometres, or a text file of them; None: those of the
            image file.
        rgb_bands: Bands (from 0) to show as red, green and blue; chosen sensibly by default.
        resample: Resample further images to the wavelengths of the first, see
            :func:`~hsi_diffusion.scenes.resample_bands`.
        sample: For an image that is too large for memory: take windows of about so many pixels,
            which are all that is read; None: the whole image. The windows lie on a grid, are read
            with a margin of 12 pixels, and are kept apart by pixels without data, so that no patch
            up to 25 x 25 sees two of them. Three quarters of them are windows with labels, as far
            as there are so many, each class in turn; the others are drawn at random from the rest.
            Of a field that several windows cut, the scene's ``fields`` know the pieces as one. A
            split into blocks keeps its distance inside of the sampled scene, where neighbours need
            not be neighbours on the ground.

    Raises:
        SceneError: The arrays or the facts don't fit together.
        FileFormatError: A file can't be read, or it is not clear which array is meant.
        MissingDependencyError: A format needs another package.
    """
    given = _Given(
        nodata=nodata,
        axes=axes,
        wavelengths=wavelengths,
        resample=resample,
        attribute=label_attribute,
        class_names=class_names,
        rgb_bands=rgb_bands,
        sample=sample,
    )
    if isinstance(cube, list | tuple) and all(isinstance(one, str | Path) for one in cube):
        if train_labels is not None or test_labels is not None:
            raise SceneError(
                "train_labels and test_labels belong to one image; for several, give labels, and "
                "a split such as images"
            )
        return _load_several(cube, labels, given)
    raster = open_raster(cube, nodata=nodata, axes=axes, wavelengths=wavelengths)
    if labels is None and isinstance(cube, Mapping) and "mask" in cube:
        labels = cube
    if (train_labels is None) != (test_labels is None):
        raise SceneError(
            "train_labels and test_labels (--train_mask, --test_mask) go together: give both or "
            "neither"
        )
    masks = () if train_labels is None else (train_labels, test_labels)
    found, fixed = _labels_of(raster, labels, given, masks)
    if class_names:
        found = found._replace(names=_names_of(found.names, class_names))
    return _scene_of(raster, found, given, name, fixed)


@dataclass(frozen=True)
class _Given:
    """What the user says of images and labels, see :func:`load_custom_scene`."""

    nodata: float | None
    axes: str | None
    wavelengths: Sequence[float] | str | Path | None
    resample: bool
    attribute: str | None
    class_names: Sequence[str] | None
    rgb_bands: tuple[int, int, int] | None
    sample: int | None


def _labels_of(
    image: Raster, labels: Any, given: _Given, masks: Sequence[Any] = ()
) -> tuple[Labels, list[NDArray[np.int64]]]:
    """Labels and the masks of a fixed split, on the pixels of an image.

    Returns:
        The labels with a name for each class, "" where the file has none; and a map of the pixels
        of each mask.
    """
    sources = [*masks, *([] if labels is None else [labels])]

    def read(source: Any) -> Labels:
        return read_labels(source, image, _attribute_for(source, sources, given), given.axes)

    parts = [
        # beside labels the classes of masks say nothing
        read_vector(mask, image, classes=False)
        if labels is not None and is_vector(mask)
        else read(mask)
        for mask in masks
    ]
    fixed = [part.values for part in parts]
    if parts and (shared := int(np.count_nonzero((fixed[0] > 0) & (fixed[1] > 0)))):
        raise SceneError(f"train_labels and test_labels must be disjoint, they share {shared}")
    if labels is not None:
        found = read(labels)
    elif parts:
        found = _both(*parts)
    else:
        found = Labels(np.zeros(image.shape[:2], dtype=np.int64), {}, {})
    names = {
        value: found.names.get(value, "")
        for value in np.unique(found.values[found.values > 0]).tolist()
    }
    if any(map(is_vector, masks if labels is None else [labels])):
        check_class_names(given.class_names, found.names)
        names |= found.names
    return found._replace(names=names), fixed


def _attribute_for(source: Any, sources: Sequence[Any], given: _Given) -> str | None:
    """The class column for one of several label files: none for rasters beside polygons."""
    return given.attribute if is_vector(source) or not any(map(is_vector, sources)) else None


def _scene_of(
    image: Raster,
    found: Labels,
    given: _Given,
    name: str,
    fixed: Sequence[NDArray[np.int64]] = (),
) -> Scene:
    """Read an image, and put it together with its labels."""
    maps = [found.values, *([] if found.polygons is None else [found.polygons]), *fixed]
    values, valid, maps, fields = _read(image, maps, given.sample)
    if given.nodata is None:
        warn_of_nodata(values, valid)
    if given.axes is None and image.wavelengths is None and image.height < MANY_BANDS < image.bands:
        warnings.warn(
            f"the image has {image.height} rows and {image.bands} bands, more than any imaging "
            "spectrometer; if its bands come first, give axes='CHW' (--axes CHW)",
            stacklevel=3,
        )
    label_map = maps[0]
    masks = [one > 0 for one in maps[len(maps) - len(fixed) :]]
    train, test = [one & (label_map > 0) for one in masks] or (None, None)
    if lost := sum(int(np.count_nonzero(one & (label_map == 0))) for one in masks):
        warnings.warn(f"{lost} pixels of the masks are unlabelled and left out", stacklevel=3)
    class_ids = tuple(np.unique(label_map[label_map > 0]).tolist())
    palette = zip(class_ids, default_palette(len(class_ids)), strict=True)
    info = SceneInfo(
        name=name,
        title=name,
        height=values.shape[0],
        width=values.shape[1],
        bands=image.bands,
        wavelengths=image.wavelengths,
        fwhm=image.fwhm,
        class_names=tuple(found.names[value] or f"Class {value}" for value in class_ids),
        class_ids=class_ids,
        palette=tuple(found.palette.get(value, usual) for value, usual in palette),
        rgb_bands=given.rgb_bands or default_rgb_bands(image.bands, image.wavelengths),
        sensor=image.sensor,
        default_split="fixed" if fixed else "0.1",
    )
    return Scene(
        values,
        close_gaps(label_map, class_ids),
        info,
        fixed_train=train,
        fixed_test=test,
        valid=None if valid.all() else valid,
        georeference=image.georeference if given.sample is None else None,
        polygons=None if found.polygons is None else maps[1],
        fields=fields,
    )


def _read(
    image: Raster, maps: Sequence[NDArray[np.int64]], sample: int | None
) -> tuple[NDArray[Any], NDArray[np.bool_], list[NDArray[np.int64]], NDArray[np.int64] | None]:
    """Values, which pixels hold data, and maps; of the whole image or of windows, with fields."""
    if sample is not None:
        try:
            return draw_windows(image, maps, pixels=sample)
        except SceneError:
            _refuse_empty_bands(image)
            raise
    values, valid = image.read()
    if not valid.any():
        _refuse_empty_bands(image)
    return values, valid, [np.where(valid, one, 0) for one in maps], None


def _refuse_empty_bands(image: Raster) -> None:
    refuse_empty_bands(image.empty_bands(), image.path, image.bands)


def _both(train: Labels, test: Labels) -> Labels:
    """Labels of training and test pixels as one; a name has one class in both."""
    pairs = {*train.names.items(), *test.names.items()}
    names = dict(pairs)
    if not len(pairs) == len(names) == len(set(names.values())):
        names = dict(enumerate(sorted({name for _, name in pairs}), 1))
        numbers = {name: value for value, name in names.items()}
        for part in (train, test):
            known, where = np.unique(part.values, return_inverse=True)
            renamed = [numbers[part.names[v]] if v in part.names else v for v in known.tolist()]
            part.values[:] = np.array(renamed)[where].reshape(part.values.shape)
    if bool(train.names) != bool(test.names):
        bare, part = ("test", test) if train.names else ("train", train)
        taken = [f"{value} = {names[value]}" for value in sorted(names) if value in part.values]
        warnings.warn(
            f"numbers of {bare}_labels (--{bare}_mask), which names no classes, are taken as "
            f"{', '.join(taken) or 'further classes'}, the numbers that the other labels' classes "
            "have; if that is wrong, give labels that name their classes alike",
            stacklevel=4,
        )
    return Labels(train.values + test.values, names, test.palette | train.palette)


def _load_several(cubes: Sequence[Source], labels: Any, given: _Given) -> Scene:
    if given.sample is not None:
        given = replace(given, sample=max(1, given.sample // max(1, len(cubes))))
    labels = list(labels) if isinstance(labels, list | tuple) else [labels]
    shared = len(labels) == 1 < len(cubes) and labels[0] is not None
    located = not shared or has_coordinates(labels[0])
    if len(labels) == 1:
        labels *= len(cubes)
    if len(labels) != len(cubes):
        raise SceneError(
            f"labels must be one file with coordinates for all images, or one for each of "
            f"{len(cubes)}, got {len(labels)}"
        )
    # polygons of one file keep their numbers, so that one that several images show stays one
    files = [Path(one).resolve() if isinstance(one, str | Path) else None for one in labels]
    sources = [place if one is None else files.index(one) for place, one in enumerate(files)]
    scenes: list[Scene] = []
    names: list[dict[int, str]] = []
    for cube, own in zip(cubes, labels, strict=True):
        further = bool(scenes) and given.resample
        wavelengths = None if further else given.wavelengths
        raster = open_raster(cube, nodata=given.nodata, axes=given.axes, wavelengths=wavelengths)
        if not located or (shared and raster.georeference is None):
            told = own if isinstance(own, str | Path) else "the label map"
            raise SceneError(
                f"labels of {len(cubes)} images must be one for each, or one with coordinates for "
                f"images that have them too, got {told} alone, and "
                f"{cube if located else 'it'} has none; give labels (--labels) once per image"
            )
        if further:
            raster = _resampled(raster, scenes[0], cubes[0])
        column = _attribute_for(own, labels, given)
        found, _ = _labels_of(raster, own, replace(given, attribute=column))
        names.append(found.names)
        if given.class_names:  # which are given to the classes of all images at once
            found = found._replace(names=dict.fromkeys(found.names, ""))
        name = parse_location(cube)[0].stem
        scenes.append(_scene_of(raster, found, given, name))
    if given.class_names:
        known = _names_of({value for one in names for value in one}, given.class_names)
        for place, one in enumerate(scenes):
            own_names = tuple(known[value] for value in one.info.class_ids)
            scenes[place] = replace(one, info=replace(one.info, class_names=own_names))
    else:
        _warn_of_mixed_names([one.name for one in scenes], names)
    return join_and_drop(scenes, sources=sources)


def _resampled(image: Raster, first: Scene, source: Source) -> Raster:
    """A further image with the bands of the first."""
    if first.info.wavelengths is None:
        raise SceneError(
            f"{source} has no wavelengths to which others could be resampled; give them "
            "(--wavelengths)"
        )
    if image.wavelengths is None:
        raise SceneError(
            f"{image.path} has no wavelengths, so its bands can't be resampled; wavelengths "
            "(--wavelengths) are those of the first image, and a further one needs its own in its "
            "file, such as an ENVI header"
        )
    _refuse_empty_bands(image)  # resampled, they can't be told any more
    return resample_bands(image, first.info.wavelengths, first.info.fwhm)


def _warn_of_mixed_names(images: Sequence[str], names: Sequence[dict[int, str]]) -> None:
    """Warn where some images have class names and others numbers, which are joined as others."""
    labelled = [(image, own) for image, own in zip(images, names, strict=True) if own]
    named = [image for image, own in labelled if any(own.values())]
    bare = [image for image, own in labelled if not any(own.values())]
    if named and bare:
        warnings.warn(
            f"labels of {shorten(bare)} name no classes, and those of {shorten(named)} do, so that "
            "they are joined as different classes; give class_names (--class_names) for all, or "
            "labels that name their classes alike",
            stacklevel=4,
        )


def _names_of(classes: Iterable[int], names: Sequence[str]) -> dict[int, str]:
    """The user's names of class values: one for each, or one per value from 1 to the highest."""
    class_ids = sorted(classes)
    if isinstance(names, str):
        raise SceneError(f"class_names must be a list such as ['soil', 'maize'], got {names!r}")
    if len(names) == len(class_ids):
        return dict(zip(class_ids, names, strict=True))
    if class_ids and len(names) == class_ids[-1]:
        return {class_id: names[class_id - 1] for class_id in class_ids}
    raise SceneError(
        f"class_names must have {len(class_ids)} entries, one per class that occurs "
        f"({', '.join(map(str, class_ids)) or 'none'}), or one per value from 1 to the highest, "
        f"got {len(names)}"
    )
